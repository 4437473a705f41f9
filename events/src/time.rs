//! Times in records.

use std::fmt;

use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const SECOND: i64 = 1_000_000_000;

/// A time: nanoseconds since 1970-01-01T00:00:00Z, which suffices until the year 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads RFC 3339, with any offset; digits below a nanosecond are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let time: jiff::Timestamp = text.parse().ok()?;
        i64::try_from(time.as_nanosecond()).ok().map(Self)
    }
}

/// RFC 3339 in UTC with a fraction of 0, 3, 6 or 9 digits, as protojson writes it.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.0.rem_euclid(SECOND) {
            0 => 0,
            fraction if fraction % 1_000_000 == 0 => 3,
            fraction if fraction % 1_000 == 0 => 6,
            _ => 9,
        };
        let time = jiff::Timestamp::from_nanosecond(self.0.into()).map_err(|_| fmt::Error)?;
        let mut text = String::with_capacity(32);
        DateTimePrinter::new()
            .precision(Some(digits))
            .print_timestamp(&time, &mut text)
            .map_err(|_| fmt::Error)?;
        formatter.write_str(&text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a time as 2026-01-02T03:04:05.678Z")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).ok_or_else(|| E::custom(format_args!("invalid time {text:?}")))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_have_0_3_6_or_9_digits() {
        let second = 1_767_323_045 * SECOND;
        for (nanoseconds, text) in [
            (0, "2026-01-02T03:04:05Z"),
            (678_000_000, "2026-01-02T03:04:05.678Z"),
            (600_000_000, "2026-01-02T03:04:05.600Z"),
            (678_901_000, "2026-01-02T03:04:05.678901Z"),
            (1, "2026-01-02T03:04:05.000000001Z"),
            (678_901_230, "2026-01-02T03:04:05.678901230Z"),
        ] {
            let time = Timestamp(second + nanoseconds);
            assert_eq!(time.to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(time));
        }
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(Timestamp::parse("2026-01-02T04:04:05+01:00"), Some(Timestamp(second)));
        for extreme in [i64::MIN, i64::MAX] {
            assert_eq!(Timestamp::parse(&Timestamp(extreme).to_string()), Some(Timestamp(extreme)));
        }
    }
}
