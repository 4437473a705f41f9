//! What Kubernetes accepts as names: of objects (DNS-1123), of label keys (qualified names) and of label values.
//! The rules are those of `k8s.io/apimachinery/pkg/util/validation`.

use thiserror::Error;

/// Most bytes of a DNS-1123 subdomain.
pub const MAX_SUBDOMAIN: usize = 253;
/// Most bytes of a DNS-1123 label, of the name part of a label key and of a label value.
pub const MAX_LABEL: usize = 63;

/// The reason why a text isn't a name of the required kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Too many bytes.
    #[error("it has {len} bytes, but at most {max} are allowed")]
    TooLong {
        /// Bytes it has.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character that isn't allowed anywhere.
    #[error("it contains {found:?}, but only {allowed} are allowed")]
    Character {
        /// The first such character.
        found: char,
        /// The allowed ones, for a person.
        allowed: &'static str,
    },
    /// A character that isn't allowed at an end.
    #[error("it starts or ends with {found:?} instead of a letter or digit")]
    End {
        /// That character.
        found: char,
    },
    /// `a..b`, or a part that begins or ends with `-`.
    #[error("each part between dots must start and end with a letter or digit")]
    Part,
    /// More than one `/`.
    #[error("it contains more than one \"/\"")]
    Slashes,
    /// What is before the `/` is wrong.
    #[error("its prefix {prefix:?} is not a valid DNS name: {reason}")]
    Prefix {
        /// The text before the `/`.
        prefix: String,
        /// What is wrong with it.
        reason: Box<NameError>,
    },
    /// What is after the `/` is wrong.
    #[error("in the part after the \"/\": {0}")]
    AfterPrefix(Box<NameError>),
}

const LOWER: &str = "lowercase letters, digits, \"-\" and \".\"";
const ANY: &str = "letters, digits, \"-\", \"_\" and \".\"";

/// Checks a DNS-1123 subdomain, as `metadata.name` must be: parts of lower-case letters, digits and `-`, joined by
/// dots, at most 253 bytes.
pub fn subdomain(text: &str) -> Result<(), NameError> {
    length(text, MAX_SUBDOMAIN)?;
    characters(text, LOWER, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')?;
    ends(text)?;
    let part = |part: &str| !part.is_empty() && !part.starts_with('-') && !part.ends_with('-');
    if text.split('.').all(part) { Ok(()) } else { Err(NameError::Part) }
}

/// Checks a DNS-1123 label, as a namespace's or a container's name must be.
pub fn dns_label(text: &str) -> Result<(), NameError> {
    length(text, MAX_LABEL)?;
    characters(text, "lowercase letters, digits and \"-\"", |c| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
    })?;
    ends(text)
}

/// Checks a label key: a name, or `prefix/name` with a DNS-1123 subdomain as prefix.
pub fn label_key(text: &str) -> Result<(), NameError> {
    match text.split_once('/') {
        None => key_name(text),
        Some((_, rest)) if rest.contains('/') => Err(NameError::Slashes),
        Some((prefix, name)) => {
            subdomain(prefix).map_err(|reason| NameError::Prefix {
                prefix: prefix.to_owned(),
                reason: Box::new(reason),
            })?;
            key_name(name).map_err(|e| NameError::AfterPrefix(Box::new(e)))
        }
    }
}

/// Checks a label value: empty, or at most 63 letters, digits, `-`, `_` and `.` with a letter or digit at both ends.
pub fn label_value(text: &str) -> Result<(), NameError> {
    if text.is_empty() { Ok(()) } else { key_name(text) }
}

fn key_name(text: &str) -> Result<(), NameError> {
    length(text, MAX_LABEL)?;
    characters(text, ANY, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))?;
    ends(text)
}

fn length(text: &str, max: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty),
        len if len > max => Err(NameError::TooLong { len, max }),
        _ => Ok(()),
    }
}

fn characters(text: &str, allowed: &'static str, ok: impl Fn(char) -> bool) -> Result<(), NameError> {
    match text.chars().find(|c| !ok(*c)) {
        Some(found) => Err(NameError::Character { found, allowed }),
        None => Ok(()),
    }
}

fn ends(text: &str) -> Result<(), NameError> {
    let wrong = |c: &char| !c.is_ascii_alphanumeric();
    match text.chars().next().filter(wrong).or_else(|| text.chars().next_back().filter(wrong)) {
        Some(found) => Err(NameError::End { found }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for good in ["app", "a", "App_1.x-y", "app.kubernetes.io/name", "a.b/C", &"x".repeat(63)] {
            assert_eq!(label_key(good), Ok(()), "{good}");
        }
        let long_prefix = format!("{}/a", "a".repeat(254));
        for bad in [
            "",
            "/a",
            "a/",
            "a/b/c",
            "-a",
            "a-",
            "a b",
            "ä",
            "App.io/x",
            "a..b/x",
            "a:b",
            &"x".repeat(64),
            &long_prefix,
        ] {
            assert!(label_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values() {
        for good in ["", "a", "1.2-3_x", "Yes"] {
            assert_eq!(label_value(good), Ok(()), "{good}");
        }
        for bad in [" ", "a/b", ".a", "a_", "ü", &"x".repeat(64)] {
            assert!(label_value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn object_names() {
        for good in ["a", "a-b.c", "1", &"a".repeat(253)] {
            assert_eq!(subdomain(good), Ok(()), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a.", "a.-b", "a..b", &"a".repeat(254)] {
            assert!(subdomain(bad).is_err(), "{bad}");
        }
        assert!(dns_label("a.b").map_err(|e| e.to_string()).unwrap_err().contains("'.'"));
    }
}
