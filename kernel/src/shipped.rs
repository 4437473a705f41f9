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
    /// Names of the profiles that come with the program.
    pub fn shipped_names() -> impl Iterator<Item = &'static str> {
        PROFILES.iter().map(|(name, _)| *name)
    }

    /// A profile that comes with the program, by its name: `6.12`. `None` where there is none of that name.
    pub fn shipped(name: &str) -> Option<Self> {
        let (_, bytes) = PROFILES.iter().find(|(other, _)| *other == name)?;
        // That they can be read is tested.
        Self::from_bytes(bytes).ok()
    }
}
