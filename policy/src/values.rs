//! Parsers for the values of filters. The checker and the compiler share them, so that both accept the same values
//! with the same meaning. All of them are pure and total.

pub mod address;
pub mod constants;
pub mod programs;

use thiserror::Error;

/// Why a value can't be read: a sentence without a full stop, that names the value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Not an integer at all.
    #[error("invalid integer {0:?}: expected decimal, `0x` hexadecimal, `0` octal or `0b` binary")]
    NotInteger(String),
    /// An integer of more than 127 bits.
    #[error("{0:?} is larger than any kernel integer")]
    Huge(String),
    /// An integer outside its type.
    #[error("{text:?} is out of range: {} integer of {bits} bits holds {min} to {max}", if *.signed { "a signed" } else { "an unsigned" })]
    Outside {
        /// The value as written.
        text: String,
        /// Bits of the type.
        bits: u8,
        /// Whether the type is signed.
        signed: bool,
        /// Least value of the type.
        min: i128,
        /// Greatest value of the type.
        max: i128,
    },
    /// A range without its colon.
    #[error("invalid range {0:?}: expected `min:max`, both inclusive")]
    NotRange(String),
    /// A range whose end is before its beginning.
    #[error("empty range {text:?}: {min} is greater than {max}")]
    Reversed {
        /// The value as written.
        text: String,
        /// The first number.
        min: i128,
        /// The second number.
        max: i128,
    },
    /// Not a port.
    #[error("invalid port {0:?}: expected 0 to 65535")]
    NotPort(String),
    /// Not an address or network.
    #[error("invalid IP address or CIDR {text:?}: {reason}")]
    NotNetwork {
        /// The value as written.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A name that isn't in its table.
    #[error("unknown {what} {text:?}{}", .nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// The value as written.
        text: String,
        /// What it should be: "capability", "address family".
        what: &'static str,
        /// The known name that is most like it.
        nearest: Option<&'static str>,
    },
    /// Neither `host_ns` nor an inode number.
    #[error("invalid namespace {0:?}: expected an inode number, or `host_ns` for the host's own")]
    NotNamespace(String),
    /// A rate limit that isn't `N`, `Ns`, `Nm` or `Nh`.
    #[error("invalid interval {0:?}: expected a number of seconds, or a number with `s`, `m` or `h`")]
    NotInterval(String),
}

impl ValueError {
    /// The value as written.
    pub fn text(&self) -> &str {
        match self {
            Self::NotInteger(text)
            | Self::Huge(text)
            | Self::NotRange(text)
            | Self::NotPort(text)
            | Self::NotNamespace(text)
            | Self::NotInterval(text)
            | Self::Outside { text, .. }
            | Self::Reversed { text, .. }
            | Self::NotNetwork { text, .. }
            | Self::Unknown { text, .. } => text,
        }
    }
}

/// Reads an integer as Go's `strconv.ParseInt(text, 0, …)` does: an optional sign, then decimal, `0x`, `0o` or `0`
/// and octal, `0b` binary; underscores may separate digits.
pub fn integer(text: &str) -> Result<i128, ValueError> {
    let not = || ValueError::NotInteger(text.to_owned());
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let prefixed = |lower, upper| rest.strip_prefix(lower).or_else(|| rest.strip_prefix(upper));
    let (radix, digits) = if let Some(hex) = prefixed("0x", "0X") {
        (16, hex)
    } else if let Some(octal) = prefixed("0o", "0O") {
        (8, octal)
    } else if let Some(binary) = prefixed("0b", "0B") {
        (2, binary)
    } else if rest.len() > 1 && rest.starts_with('0') {
        (8, &rest[1..])
    } else {
        (10, rest)
    };
    // An underscore may follow the base's prefix, but neither begin a decimal nor end a number, nor be doubled.
    let prefix_free = radix == 10;
    if digits.is_empty()
        || digits.ends_with('_')
        || digits.contains("__")
        || (prefix_free && digits.starts_with('_'))
        || !digits.chars().all(|c| c == '_' || c.is_digit(radix))
    {
        return Err(not());
    }
    let mut value = 0_i128;
    for digit in digits.chars().filter_map(|c| c.to_digit(radix)) {
        value = value
            .checked_mul(i128::from(radix))
            .and_then(|v| v.checked_add(i128::from(digit)))
            .ok_or_else(|| ValueError::Huge(text.to_owned()))?;
    }
    Ok(if negative { -value } else { value })
}

/// Least and greatest value of an integer type.
///
/// `bits` is 1 to 64; more counts as 64.
pub fn bounds(bits: u8, signed: bool) -> (i128, i128) {
    let bits = u32::from(bits.clamp(1, 64));
    if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// Says if a value that was written as `text` is outside its type.
pub fn fits(value: i128, text: &str, bits: u8, signed: bool) -> Result<i128, ValueError> {
    let (min, max) = bounds(bits, signed);
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(ValueError::Outside { text: text.to_owned(), bits, signed, min, max })
}

/// Reads an integer of a type.
pub fn integer_of(text: &str, bits: u8, signed: bool) -> Result<i128, ValueError> {
    fits(integer(text)?, text, bits, signed)
}

/// Reads a mask of a type, as the kernel compares it: the bits of a negative value are sign-extended to the type's
/// width, and one of all bits may be written for a signed type too.
pub fn mask_of(text: &str, bits: u8, signed: bool) -> Result<u64, ValueError> {
    let value = integer(text)?;
    let value = if value < 0 {
        fits(value, text, bits, signed)? & bounds(bits, false).1
    } else {
        fits(value, text, bits, false)?
    };
    Ok(u64::try_from(value).unwrap_or(u64::MAX))
}

/// Reads `min:max`, both included; an empty range is an error.
pub fn range(text: &str) -> Result<(i128, i128), ValueError> {
    let (min, max) = text.split_once(':').ok_or_else(|| ValueError::NotRange(text.to_owned()))?;
    let (min, max) = (integer(min)?, integer(max)?);
    if min > max {
        return Err(ValueError::Reversed { text: text.to_owned(), min, max });
    }
    Ok((min, max))
}

/// Reads `min:max` of a type.
pub fn range_of(text: &str, bits: u8, signed: bool) -> Result<(i128, i128), ValueError> {
    let (min, max) = range(text)?;
    Ok((fits(min, text, bits, signed)?, fits(max, text, bits, signed)?))
}

/// Reads an integer, or a range as [`range`] does.
pub fn integer_or_range(text: &str) -> Result<(i128, i128), ValueError> {
    if text.contains(':') { range(text) } else { integer(text).map(|n| (n, n)) }
}

/// Reads a port or a range of ports.
pub fn ports(text: &str) -> Result<(u16, u16), ValueError> {
    let not = |_| ValueError::NotPort(text.to_owned());
    let (min, max) = match integer_or_range(text) {
        Err(ValueError::NotInteger(_) | ValueError::Huge(_)) => {
            return Err(ValueError::NotPort(text.to_owned()));
        }
        other => other?,
    };
    Ok((u16::try_from(min).map_err(not)?, u16::try_from(max).map_err(not)?))
}

/// A value of `matchNamespaces`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceValue {
    /// `host_ns`: the namespace of process 1 of the node.
    Host,
    /// The number that `readlink /proc/PID/ns/KIND` shows, which differs from node to node and boot to boot.
    Inode(u32),
}

/// The value of `matchNamespaces` for the host's namespace.
pub const HOST_NAMESPACE: &str = "host_ns";

/// Reads a value of `matchNamespaces`.
pub fn namespace(text: &str) -> Result<NamespaceValue, ValueError> {
    if text == HOST_NAMESPACE {
        return Ok(NamespaceValue::Host);
    }
    match integer(text).map(u32::try_from) {
        Ok(Ok(inode)) => Ok(NamespaceValue::Inode(inode)),
        _ => Err(ValueError::NotNamespace(text.to_owned())),
    }
}

/// Reads an interval of `rateLimit`, in seconds: `N`, `Ns`, `Nm` or `Nh`.
pub fn interval(text: &str) -> Result<u64, ValueError> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b's' | b'S') => (&text[..text.len() - 1], 1),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 60),
        Some(b'h' | b'H') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    // `parse` would take a sign too.
    let number =
        Some(digits).filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse::<u32>().ok());
    number.map(|n| u64::from(n) * unit).ok_or_else(|| ValueError::NotInterval(text.to_owned()))
}

/// Sorts ranges and joins those that touch.
pub(crate) fn merge(mut ranges: Vec<(i128, i128)>) -> Vec<(i128, i128)> {
    ranges.sort_unstable();
    let mut merged: Vec<(i128, i128)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match merged.last_mut() {
            Some((_, last)) if low <= last.saturating_add(1) => *last = high.max(*last),
            _ => merged.push((low, high)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers() {
        for (text, value) in [
            ("0", 0),
            ("42", 42),
            ("-1", -1),
            ("+7", 7),
            ("0x10", 16),
            ("0XfF", 255),
            ("-0x1", -1),
            ("0755", 493),
            ("0o17", 15),
            ("0b101", 5),
            ("1_000", 1000),
            ("0x_ff", 255),
            ("18446744073709551615", u64::MAX.into()),
        ] {
            assert_eq!(integer(text), Ok(value), "{text}");
        }
        for text in [
            "", "-", "0x", "08", "1.5", " 1", "1 ", "one", "--1", "1e3", "_1", "1_", "1__0", "٣", "0xg", "-é",
        ] {
            assert!(matches!(integer(text), Err(ValueError::NotInteger(_))), "{text}");
        }
        assert!(matches!(integer(&"9".repeat(60)), Err(ValueError::Huge(_))));
    }

    #[test]
    fn types_have_bounds() {
        assert_eq!(integer_of("-128", 8, true), Ok(-128));
        assert!(integer_of("128", 8, true).is_err());
        assert!(integer_of("-1", 32, false).is_err());
        assert_eq!(integer_of("0xffffffffffffffff", 64, false), Ok(u64::MAX.into()));
        let sentence = integer_of("300", 8, false).unwrap_err().to_string();
        assert_eq!(sentence, "\"300\" is out of range: an unsigned integer of 8 bits holds 0 to 255");
    }

    #[test]
    fn ranges() {
        assert_eq!(range("1:5"), Ok((1, 5)));
        assert_eq!(range("-5:-1"), Ok((-5, -1)));
        assert_eq!(range("0x10:0x10"), Ok((16, 16)));
        assert!(matches!(range("5:1"), Err(ValueError::Reversed { .. })));
        assert!(matches!(range("5"), Err(ValueError::NotRange(_))));
        assert!(range("1:2:3").is_err());
        assert!(range(":").is_err());
        assert!(range_of("0:256", 8, false).is_err());
    }

    #[test]
    fn port_numbers() {
        assert_eq!(ports("443"), Ok((443, 443)));
        assert_eq!(ports("1024:65535"), Ok((1024, 65535)));
        for bad in ["65536", "-1", "http", "1:70000", ""] {
            assert!(matches!(ports(bad), Err(ValueError::NotPort(_))), "{bad}");
        }
        assert!(matches!(ports("9:1"), Err(ValueError::Reversed { .. })));
    }

    #[test]
    fn namespaces_and_intervals() {
        assert_eq!(namespace("host_ns"), Ok(NamespaceValue::Host));
        assert_eq!(namespace("4026531836"), Ok(NamespaceValue::Inode(4_026_531_836)));
        assert!(namespace("host").is_err());
        assert!(namespace("-1").is_err());
        for (text, seconds) in [("5", 5), ("5s", 5), ("2m", 120), ("1h", 3600), ("0", 0)] {
            assert_eq!(interval(text), Ok(seconds));
        }
        for bad in ["", "s", "5d", "-5", "1.5m", "5 m", "99999999999", "5é", "+5"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn written_integers_are_read_back(n in any::<i64>()) {
            prop_assert_eq!(integer(&n.to_string()), Ok(i128::from(n)));
            prop_assert_eq!(integer(&format!("{:#x}", n.unsigned_abs())), Ok(i128::from(n.unsigned_abs())));
            prop_assert_eq!(integer(&format!("0{:o}", n.unsigned_abs())), Ok(i128::from(n.unsigned_abs())));
        }

        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = (integer(&text), range(&text), ports(&text), namespace(&text), interval(&text));
            let _ = address::network(&text);
        }
    }
}
