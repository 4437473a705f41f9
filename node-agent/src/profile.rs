//! The profile of this node's kernel as bytes, for the gate, which compiles policies for the kernels of all nodes.
//!
//! Reading everything that the kernel offers takes some ten times the memory that the agent needs otherwise, once. So
//! another process does it, and gives the result.

use std::{
    io::{self, Write as _},
    process::{Command, Stdio},
};

use gatewatch_kernel::{HostError, host};

/// A profile that is ready to be given away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedProfile {
    /// [`Profile::hash`](gatewatch_kernel::Profile::hash).
    pub hash: String,
    /// What [`Profile::from_bytes`](gatewatch_kernel::Profile::from_bytes) reads.
    pub bytes: Vec<u8>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The kernel doesn't say what it offers.
    #[error("cannot create the kernel's profile: {0}")]
    Host(#[from] HostError),
    /// The other process can't be had, or not be read.
    #[error("cannot create the kernel's profile in another process: {0}")]
    Process(#[from] io::Error),
    /// It didn't give one.
    #[error("cannot create the kernel's profile: {0}")]
    Failed(String),
}

/// The argument with which the agent's program does [`print`] and nothing else.
pub const PRINT: &str = "--print-profile";

/// Writes the profile of this kernel to standard output: its hash as a line, then its bytes.
pub fn print() -> Result<(), ProfileError> {
    let profile = host()?.profile;
    let bytes = profile.to_bytes()?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", profile.hash())?;
    out.write_all(&bytes)?;
    Ok(out.flush()?)
}

/// Has another process make the profile. Takes seconds.
pub fn make() -> Result<SavedProfile, ProfileError> {
    let output =
        Command::new("/proc/self/exe").arg(PRINT).stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        return Err(ProfileError::Failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    split(&output.stdout).ok_or_else(|| ProfileError::Failed("its output is not a profile".to_owned()))
}

fn split(written: &[u8]) -> Option<SavedProfile> {
    let end = written.iter().position(|byte| *byte == b'\n')?;
    let hash = std::str::from_utf8(&written[..end]).ok()?.to_owned();
    (hash.len() == 64).then(|| SavedProfile { hash, bytes: written[end + 1..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn hash_and_bytes() {
        let hash = "0f".repeat(32);
        let saved = split(format!("{hash}\nGWPROFIL\n\n").as_bytes()).unwrap();
        assert_eq!((saved.hash, saved.bytes.as_slice()), (hash, &b"GWPROFIL\n\n"[..]));
        assert_eq!(split(b"nothing"), None);
        assert_eq!(split(b"short\nGWPROFIL"), None);
    }
}
