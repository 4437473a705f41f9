//! The programs that run policies, and which of them a finding is about.
//!
//! A [`Code`](crate::codes::Code) belongs to [`Targets`]. A [`Diagnostic`](crate::diagnostic::Diagnostic) takes them from
//! its code unless it sets its own. The user chooses [`Target`]s, and a [`Selection`](crate::selection::Selection) of them
//! decides what becomes of each diagnostic.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::placeholder;

/// A minor release of Tetragon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    major: u8,
    minor: u8,
}

impl Version {
    /// The oldest release that is known here.
    pub const OLDEST: Self = Self::new(1, 1);
    /// The newest release that is known here.
    pub const NEWEST: Self = Self::new(1, 8);

    /// `major.minor`.
    pub const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }

    /// The minor release before this one.
    #[must_use]
    pub const fn before(self) -> Self {
        Self { minor: self.minor.saturating_sub(1), ..self }
    }

    /// The minor release after this one.
    #[must_use]
    pub const fn after(self) -> Self {
        Self { minor: self.minor.saturating_add(1), ..self }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that names no target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadTarget {
    /// Another program.
    #[error("unknown target {0:?}: expected gatewatch, tetragon or tetragon=VERSION{hint}", hint = hint(.0))]
    Name(String),
    /// A version that is none, or of which nothing is known.
    #[error(
        "unknown version {0:?} of Tetragon: expected {oldest} to {newest}{hint}",
        oldest = Version::OLDEST,
        newest = Version::NEWEST,
        hint = hint(.0)
    )]
    Version(String),
}

/// What to do about a text, after the error: nothing if that is not clear.
fn hint(text: &str) -> String {
    if let Some(found) = placeholder::find(text) {
        return format!("; {}", placeholder::help(found));
    }
    let version = text.rsplit('=').next().unwrap_or(text);
    // `1.06` may be meant as `1.6` or as `1.0.6`.
    let padded = version.split('.').any(|part| part.len() > 1 && part.starts_with('0'));
    if padded { "; write the numbers without leading zeros".to_owned() } else { String::new() }
}

/// A part of a version: `0`, or digits without a leading zero.
fn version_part(text: &str) -> Option<u8> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

impl FromStr for Version {
    type Err = BadTarget;

    /// Reads `1.4`, `v1.4` and `1.4.2`: what a policy may hold does not depend on the patch release.
    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let bad = || BadTarget::Version(text.to_owned());
        let mut parts = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
        let mut number = || parts.next().and_then(version_part).ok_or_else(bad);
        let version = Self::new(number()?, number()?);
        if (Self::OLDEST..=Self::NEWEST).contains(&version) { Ok(version) } else { Err(bad()) }
    }
}

/// Releases of Tetragon from one to another, both of them included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Versions {
    first: Version,
    last: Version,
}

impl Versions {
    /// Every release that is known here.
    pub const ALL: Self = Self { first: Version::OLDEST, last: Version::NEWEST };

    /// This release and all later ones.
    pub const fn from(first: Version) -> Self {
        Self { first, ..Self::ALL }
    }

    /// This release and all earlier ones.
    pub const fn up_to(last: Version) -> Self {
        Self { last, ..Self::ALL }
    }

    /// The first of them.
    pub const fn first(self) -> Version {
        self.first
    }

    /// The last of them.
    pub const fn last(self) -> Version {
        self.last
    }

    /// Whether a release is one of them.
    pub fn contains(self, version: Version) -> bool {
        (self.first..=self.last).contains(&version)
    }
}

impl fmt::Display for Versions {
    /// `Tetragon`, `Tetragon 1.7 and later`, `Tetragon up to 1.6`, `Tetragon 1.2 to 1.6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first == Version::OLDEST, self.last == Version::NEWEST) {
            (true, true) => f.write_str("Tetragon"),
            (false, true) => write!(f, "Tetragon {} and later", self.first),
            (true, false) => write!(f, "Tetragon up to {}", self.last),
            (false, false) => write!(f, "Tetragon {} to {}", self.first, self.last),
        }
    }
}

/// The programs that a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Targets {
    gatewatch: bool,
    tetragon: Option<Versions>,
}

impl Targets {
    /// Gatewatch's agent and every release of Tetragon: the policy is wrong whichever program runs it, or the API
    /// server rejects it.
    pub const BOTH: Self = Self::both(Versions::ALL);
    /// Gatewatch's agent alone.
    pub const GATEWATCH: Self = Self { gatewatch: true, tetragon: None };
    /// Tetragon alone, in every release.
    pub const TETRAGON: Self = Self::tetragon(Versions::ALL);

    /// Gatewatch's agent and some releases of Tetragon.
    pub const fn both(versions: Versions) -> Self {
        Self { gatewatch: true, tetragon: Some(versions) }
    }

    /// Some releases of Tetragon alone.
    pub const fn tetragon(versions: Versions) -> Self {
        Self { gatewatch: false, tetragon: Some(versions) }
    }

    /// Whether a target is one of them.
    pub fn contain(self, target: Target) -> bool {
        match target {
            Target::Gatewatch => self.gatewatch,
            Target::Tetragon(version) => self.tetragon.is_some_and(|versions| versions.contains(version)),
        }
    }

    /// They for programs to read: `gatewatch`, `tetragon`, `tetragon>=1.7`, `tetragon<=1.6`.
    pub fn names(self) -> Vec<String> {
        let gatewatch = self.gatewatch.then(|| "gatewatch".to_owned());
        let tetragon = self.tetragon.map(|Versions { first, last }| {
            match (first == Version::OLDEST, last == Version::NEWEST) {
                (true, true) => "tetragon".to_owned(),
                (false, true) => format!("tetragon>={first}"),
                (true, false) => format!("tetragon<={last}"),
                (false, false) => format!("tetragon>={first},<={last}"),
            }
        });
        gatewatch.into_iter().chain(tetragon).collect()
    }

    /// The releases of Tetragon, where they are all there is.
    pub const fn tetragon_alone(self) -> Option<Versions> {
        if self.gatewatch { None } else { self.tetragon }
    }
}

/// A program that a policy is checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Gatewatch's own agent.
    Gatewatch,
    /// A release of Tetragon.
    Tetragon(Version),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gatewatch => f.write_str("gatewatch"),
            Self::Tetragon(version) => write!(f, "tetragon={version}"),
        }
    }
}

impl FromStr for Target {
    type Err = BadTarget;

    /// Reads `gatewatch`, `tetragon` (the newest release) and `tetragon=1.4`.
    fn from_str(text: &str) -> Result<Self, BadTarget> {
        match text.split_once('=') {
            None if text == "gatewatch" => Ok(Self::Gatewatch),
            None if text == "tetragon" => Ok(Self::Tetragon(Version::NEWEST)),
            Some(("tetragon", version)) => Ok(Self::Tetragon(version.parse()?)),
            _ => Err(BadTarget::Name(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_names() {
        let since = Versions::from(Version::new(1, 7));
        assert_eq!(Targets::BOTH.names(), ["gatewatch", "tetragon"]);
        assert_eq!(Targets::both(since).names(), ["gatewatch", "tetragon>=1.7"]);
        assert_eq!(Targets::tetragon(Versions::up_to(Version::new(1, 6))).names(), ["tetragon<=1.6"]);
        assert_eq!(since.to_string(), "Tetragon 1.7 and later");
    }

    #[test]
    fn targets_are_read() {
        let tetragon = |minor| Ok(Target::Tetragon(Version::new(1, minor)));
        assert_eq!("gatewatch".parse(), Ok(Target::Gatewatch));
        assert_eq!("tetragon".parse::<Target>(), tetragon(8));
        assert_eq!("tetragon=1.4".parse::<Target>(), tetragon(4));
        assert_eq!("tetragon=v1.6.2".parse::<Target>(), tetragon(6));
        for bad in [
            "",
            "falco",
            "gatewatch=1.0",
            "tetragon=",
            "tetragon=1",
            "tetragon=1.0",
            "tetragon=1.9",
            "tetragon=1.+6",
        ] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_likely_reason_is_in_the_error() {
        let error = |text: &str| text.parse::<Target>().unwrap_err().to_string();
        assert_eq!(
            error("tetragon=1.06"),
            "unknown version \"1.06\" of Tetragon: expected 1.1 to 1.8; write the numbers without leading zeros"
        );
        for (text, found) in
            [("tetragon=@@VERSION@@", "@@VERSION@@"), ("${TARGET}", "${TARGET}"), ("CHANGEME", "CHANGEME")]
        {
            assert!(error(text).ends_with(&format!("; {}", placeholder::help(found))), "{}", error(text));
        }
        assert!(error("tetragon=1.9").ends_with("expected 1.1 to 1.8"));
    }
}
