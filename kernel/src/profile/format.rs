//! What makes a file a profile, and the reasons why one is not.

/// The first bytes of a file.
pub(super) const MAGIC: &[u8; 8] = b"GWPROFIL";
/// The version of the format.
pub(super) const VERSION: u8 = 2;
/// The first version, which has no tracepoints. It is still read.
pub(super) const FIRST: u8 = 1;
/// Maximum bytes of an unpacked file. A profile of Linux 7.3 has 3 MB.
pub(super) const UNPACKED: u64 = 16 << 20;

/// The reason why a file is not a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes do not start with the magic number.
    #[error(
        "not a kernel profile: the file does not start with \"GWPROFIL\"; create one with `gatewatch profile`"
    )]
    NotAProfile,
    /// It has a later version.
    #[error(
        "the kernel profile has format {0}, but this program reads format {VERSION}; create it again with `gatewatch \
         profile` of this version"
    )]
    Version(u8),
    /// It is truncated or damaged.
    #[error("the kernel profile is damaged; create it again with `gatewatch profile`")]
    Damaged,
    /// It unpacks to more than any profile.
    #[error("the kernel profile unpacks to more than {} MiB, so it is not valid", UNPACKED >> 20)]
    TooLarge,
}
