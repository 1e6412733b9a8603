//! A window's length, by which every check divides the time.

/// Nanoseconds that are divided by without the division a processor takes ten times as long for as for all else in a
/// check: the quotient is estimated with the inverse, which is known, and what the estimate lacks is seen in the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Length {
    nanos: u64,
    /// 2^64 by `nanos`, rounded down.
    inverse: u64,
}

impl Length {
    /// Of so many nanoseconds, at least one.
    pub(crate) fn new(nanos: u64) -> Self {
        let nanos = nanos.max(1);
        Self {
            nanos,
            inverse: u64::MAX / nanos,
        }
    }

    pub(crate) fn nanos(self) -> u64 {
        self.nanos
    }

    /// How often it goes into `time`, and what is left.
    pub(crate) fn divide(self, time: u64) -> (u64, u64) {
        let mut times = ((u128::from(time) * u128::from(self.inverse)) >> 64) as u64;
        let mut rest = time - times * self.nanos;
        // The estimate lacks two at most: one for its own rounding, one for the inverse's.
        while rest >= self.nanos {
            times += 1;
            rest -= self.nanos;
        }
        (times, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::Length;

    #[test]
    fn it_divides_exactly() {
        let mut random = fastrand::Rng::with_seed(1);
        let edges = |at: u64| [at.saturating_sub(1), at, at.saturating_add(1)];
        for _ in 0..10_000 {
            let nanos = match random.u8(0..3) {
                0 => 1 << random.u32(0..64),
                1 => random.u64(1..100),
                _ => random.u64(100_000_000..86_400_000_000_001),
            };
            let length = Length::new(nanos);
            let multiple = random.u64(0..=u64::MAX / nanos) * nanos;
            let times = edges(multiple).into_iter().chain(edges(u64::MAX));
            for time in times.chain([0, random.u64(..)]) {
                let (quotient, rest) = length.divide(time);
                assert_eq!((quotient, rest), (time / nanos, time % nanos));
            }
        }
    }
}
