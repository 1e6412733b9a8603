//! Connections of about the same age, which are told together that they are to end.
//!
//! One channel for each connection would be the largest thing an idle one has beside its buffers.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How many parts of the greatest age one cohort takes in.
const PART: u32 = 16;

/// What connections of one listener share that were accepted in the same part of an age.
#[derive(Debug)]
pub(crate) struct Cohort {
    close: watch::Sender<bool>,
    /// When the oldest of them is too old.
    pub(crate) old: Instant,
}

impl Cohort {
    fn new(age_max: Duration) -> Arc<Self> {
        Arc::new(Self {
            close: watch::Sender::new(false),
            old: Instant::now() + age_max,
        })
    }

    /// What turns true when its connections are to end.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.close.subscribe()
    }

    /// Tells all of them.
    pub(crate) fn close(&self) {
        self.close
            .send_if_modified(|closed| !std::mem::replace(closed, true));
    }
}

/// The cohort that takes in new connections.
#[derive(Debug)]
pub(crate) struct Cohorts {
    age_max: Duration,
    current: Arc<Cohort>,
}

impl Cohorts {
    /// Of connections that may be so old.
    pub(crate) fn new(age_max: Duration) -> Self {
        Self {
            age_max,
            current: Cohort::new(age_max),
        }
    }

    /// The one for a connection that begins now.
    pub(crate) fn current(&mut self) -> Arc<Cohort> {
        let left = self.current.old.saturating_duration_since(Instant::now());
        if left < self.age_max - self.age_max / PART {
            self.current = Cohort::new(self.age_max);
        }
        Arc::clone(&self.current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_of_one_part_of_an_age_end_together_and_none_is_too_old() {
        let age = Duration::from_secs(160);
        let mut cohorts = Cohorts::new(age);
        let begin = Instant::now();
        let first = cohorts.current();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(Arc::ptr_eq(&first, &cohorts.current()));
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = cohorts.current();
        assert!(!Arc::ptr_eq(&first, &second));
        assert_eq!(first.old, begin + age);
        assert_eq!(second.old, begin + Duration::from_secs(11) + age);
        let (one, other) = (first.closing(), second.closing());
        first.close();
        assert!(*one.borrow() && !*other.borrow());
    }
}
