//! Holding enforcement to a mode by hand.

use std::path::{Path, PathBuf};

use crate::{
    bpf::{self, LoadError},
    enforcement::Mode,
};

/// The mode to which enforcement is held.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Hold {
    /// No action is performed or counted
    Off,
    /// Actions are counted only
    Monitor,
    /// As it is configured
    Configured,
}

/// Why it cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum CannotHold {
    /// There are no maps.
    #[error("no agent has run on this node since it started: {} has no maps", .0.display())]
    NoAgent(PathBuf),
    /// The map can't be used.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Hold {
    /// Holds it, whether an agent runs or not. `pins`: the directory of agents on the bpf file system. Gives what is in force
    /// then.
    #[allow(clippy::result_large_err, reason = "an error here ends the program")]
    pub fn apply(self, pins: &Path) -> Result<Mode, CannotHold> {
        let mode = match self {
            Self::Off => Some(Mode::Off),
            Self::Monitor => Some(Mode::Monitor),
            Self::Configured => None,
        };
        bpf::hold_enforcement(pins, mode)?.ok_or_else(|| CannotHold::NoAgent(pins.to_owned()))
    }
}
