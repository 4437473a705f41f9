//! Profiles that come with the program, so that policies can be checked on any machine.

use crate::Profile;

macro_rules! shipped {
    ($($name:literal),*) => {
        &[$(($name, include_bytes!(concat!("../profiles/", $name, ".profile")))),*]
    };
}

/// Debian's cloud kernels for amd64: bullseye, bookworm, trixie, trixie-backports.
const PROFILES: &[(&str, &[u8])] = shipped!("5.10", "6.1", "6.12", "7.3");

impl Profile {
    /// Names of the shipped profiles.
    pub fn shipped_names() -> impl Iterator<Item = &'static str> {
        PROFILES.iter().map(|(name, _)| *name)
    }

    /// A shipped profile by its name: `6.12`. `None` if no profile has this name.
    pub fn shipped(name: &str) -> Option<Self> {
        let (_, bytes) = PROFILES.iter().find(|(other, _)| *other == name)?;
        // A test reads all of them.
        Self::from_bytes(bytes).ok()
    }
}
