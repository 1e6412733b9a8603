//! Sizes (`64MiB`) and times (`250ms`), read and written.

use std::time::Duration;

/// Why a size or a time cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScalarError {
    /// No number.
    #[error("expected a whole number and a unit, such as {example}")]
    NoNumber {
        /// A good one.
        example: &'static str,
    },
    /// A number without a unit, where it needs one.
    #[error("a unit is missing; write `{number}s` or `{number}ms`")]
    NoUnit {
        /// The number.
        number: u64,
    },
    /// An unknown unit.
    #[error("`{unit}` is not a unit here; the units are {units}")]
    Unit {
        /// As written.
        unit: String,
        /// The known ones.
        units: &'static str,
    },
    /// More than 2⁶⁴.
    #[error("the number is too large")]
    TooLarge,
}

const SIZE_UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];
const TIME_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The number at the start and the unit behind it.
fn split<'a>(text: &'a str, example: &'static str) -> Result<(u64, &'a str), ScalarError> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(ScalarError::NoNumber { example });
    }
    number
        .parse()
        .map(|number| (number, unit.trim_start()))
        .map_err(|_| ScalarError::TooLarge)
}

/// Bytes: `4096`, `64KiB`, `16MiB`, `1GiB`, `1TiB`.
///
/// # Errors
/// Anything else, with what to write.
pub fn parse_size(text: &str) -> Result<u64, ScalarError> {
    let (number, unit) = split(text, "64MiB")?;
    if unit.is_empty() {
        return Ok(number);
    }
    let known = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
    let (_, bytes) = known.ok_or_else(|| ScalarError::Unit {
        unit: unit.chars().take(20).collect(),
        units: "KiB, MiB, GiB and TiB (1 KiB = 1024 bytes)",
    })?;
    number.checked_mul(*bytes).ok_or(ScalarError::TooLarge)
}

/// Times: `250ms`, `5s`, `10m`, `1h`, `30d`, and `0`.
///
/// # Errors
/// Anything else, with what to write.
pub fn parse_duration(text: &str) -> Result<Duration, ScalarError> {
    let (number, unit) = split(text, "5s")?;
    if unit.is_empty() {
        return if number == 0 {
            Ok(Duration::ZERO)
        } else {
            Err(ScalarError::NoUnit { number })
        };
    }
    let known = TIME_UNITS.iter().find(|(name, _)| *name == unit);
    let (_, millis) = known.ok_or_else(|| ScalarError::Unit {
        unit: unit.chars().take(20).collect(),
        units: "ms, s, m, h and d",
    })?;
    number
        .checked_mul(*millis)
        .map(Duration::from_millis)
        .ok_or(ScalarError::TooLarge)
}

/// The shortest way to write a size exactly.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let unit = SIZE_UNITS
        .iter()
        .find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(
        || bytes.to_string(),
        |(name, unit)| format!("{}{name}", bytes / unit),
    )
}

/// The shortest way to write a time exactly, in whole milliseconds.
#[must_use]
pub fn show_duration(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let unit = TIME_UNITS
        .iter()
        .find(|(_, unit)| millis > 0 && millis.is_multiple_of(*unit));
    unit.map_or_else(
        || "0s".to_owned(),
        |(name, unit)| format!("{}{name}", millis / unit),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64KiB", 65_536),
            ("16 MiB", 16 << 20),
            ("1GiB", 1 << 30),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bytes in [0, 1, 1000, 1024, 3 << 20, 1 << 40] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn times_are_read_and_written() {
        for (text, millis) in [
            ("0", 0),
            ("250ms", 250),
            ("5s", 5_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for millis in [0, 1, 1_500, 60_000, 86_400_000] {
            let time = Duration::from_millis(millis);
            assert_eq!(parse_duration(&show_duration(time)), Ok(time));
        }
    }

    #[test]
    fn what_is_no_size_or_time_says_what_to_write() {
        for (text, error) in [
            (
                "64MB",
                "`MB` is not a unit here; the units are KiB, MiB, GiB and TiB (1 KiB = 1024 bytes)",
            ),
            ("much", "expected a whole number and a unit, such as 64MiB"),
            ("-1", "expected a whole number and a unit, such as 64MiB"),
            ("", "expected a whole number and a unit, such as 64MiB"),
            ("99999999999999999999", "the number is too large"),
            ("99999999TiB", "the number is too large"),
        ] {
            assert_eq!(parse_size(text).expect_err(text).to_string(), error);
        }
        for (text, error) in [
            ("5", "a unit is missing; write `5s` or `5ms`"),
            (
                "1.5s",
                "`.5s` is not a unit here; the units are ms, s, m, h and d",
            ),
            (
                "1h30m",
                "`h30m` is not a unit here; the units are ms, s, m, h and d",
            ),
            ("soon", "expected a whole number and a unit, such as 5s"),
        ] {
            assert_eq!(parse_duration(text).expect_err(text).to_string(), error);
        }
    }
}
