//! Files, sockets and buffers as values of arguments.

use serde::{Deserialize, Serialize};

use crate::json::{bytes, decimal, unset};

/// A set of capabilities as an argument has it: 16 hexadecimal digits.
pub fn capability_digits(set: u64) -> String {
    format!("{set:016x}")
}

/// A cut buffer, as Tetragon's `KprobeTruncatedBytes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TruncatedBytes {
    /// The beginning.
    #[serde(with = "bytes", skip_serializing_if = "unset")]
    pub bytes_arg: Vec<u8>,
    /// The length of the whole buffer.
    #[serde(with = "decimal", skip_serializing_if = "unset")]
    pub orig_size: u64,
}

/// A file or path, as Tetragon's `KprobeFile`, `KprobePath` and `KprobeLinuxBinprm`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct File {
    /// Tetragon's schema has it, but nothing sets it.
    #[serde(skip_serializing_if = "unset")]
    pub mount: String,
    /// The path from the root of the process's mount namespace.
    #[serde(skip_serializing_if = "unset")]
    pub path: String,
    /// `unresolvedPathComponents` if the beginning of the path is missing.
    #[serde(skip_serializing_if = "unset")]
    pub flags: String,
    /// The mode as `ls -l` writes it: [`permission`] makes it.
    #[serde(skip_serializing_if = "unset")]
    pub permission: String,
}

/// The mode of an inode (`i_mode`) as `ls -l` writes it, such as `-rw-r--r--`.
pub fn permission(mode: u16) -> String {
    const KINDS: [(u16, char); 7] =
        [(0o14, 's'), (0o12, 'l'), (0o10, '-'), (0o6, 'b'), (0o4, 'd'), (0o2, 'c'), (0o1, 'p')];
    let kind = KINDS.iter().find(|(kind, _)| mode >> 12 == *kind).map_or('?', |(_, letter)| *letter);
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, false) => letter.to_ascii_uppercase(),
            (true, true) => letter,
        });
    }
    text
}

/// A socket, as Tetragon's `KprobeSock`. Names are the kernel's (`AF_INET`, `SOCK_STREAM`, `IPPROTO_TCP`,
/// `TCP_ESTABLISHED`); a number without a name is decimal text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields of the kernel's struct sock")]
pub struct Sock {
    #[serde(skip_serializing_if = "unset")]
    pub family: String,
    #[serde(rename = "type", skip_serializing_if = "unset")]
    pub kind: String,
    #[serde(skip_serializing_if = "unset")]
    pub protocol: String,
    #[serde(skip_serializing_if = "unset")]
    pub mark: u32,
    #[serde(skip_serializing_if = "unset")]
    pub priority: u32,
    #[serde(skip_serializing_if = "unset")]
    pub saddr: String,
    #[serde(skip_serializing_if = "unset")]
    pub daddr: String,
    #[serde(skip_serializing_if = "unset")]
    pub sport: u32,
    #[serde(skip_serializing_if = "unset")]
    pub dport: u32,
    #[serde(with = "decimal", skip_serializing_if = "unset")]
    pub cookie: u64,
    #[serde(skip_serializing_if = "unset")]
    pub state: String,
}

/// A packet, as Tetragon's `KprobeSkb`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields of the kernel's struct sk_buff")]
pub struct Skb {
    #[serde(skip_serializing_if = "unset")]
    pub hash: u32,
    #[serde(skip_serializing_if = "unset")]
    pub len: u32,
    #[serde(skip_serializing_if = "unset")]
    pub priority: u32,
    #[serde(skip_serializing_if = "unset")]
    pub mark: u32,
    #[serde(skip_serializing_if = "unset")]
    pub saddr: String,
    #[serde(skip_serializing_if = "unset")]
    pub daddr: String,
    #[serde(skip_serializing_if = "unset")]
    pub sport: u32,
    #[serde(skip_serializing_if = "unset")]
    pub dport: u32,
    #[serde(skip_serializing_if = "unset")]
    pub proto: u32,
    #[serde(skip_serializing_if = "unset")]
    pub sec_path_len: u32,
    #[serde(skip_serializing_if = "unset")]
    pub sec_path_olen: u32,
    #[serde(skip_serializing_if = "unset")]
    pub protocol: String,
    #[serde(skip_serializing_if = "unset")]
    pub family: String,
}

/// An address of IPv4 or IPv6, as Tetragon's `KprobeSockaddr`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields of the kernel's struct sockaddr_in")]
pub struct Sockaddr {
    #[serde(skip_serializing_if = "unset")]
    pub family: String,
    #[serde(skip_serializing_if = "unset")]
    pub addr: String,
    #[serde(skip_serializing_if = "unset")]
    pub port: u32,
}

/// An address of a unix socket, as Tetragon's `KprobeSockaddrUn`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SockaddrUn {
    /// `AF_UNIX`.
    #[serde(skip_serializing_if = "unset")]
    pub family: String,
    /// The path; `@` and the name for an abstract address.
    #[serde(skip_serializing_if = "unset")]
    pub path: String,
}

/// A capability, as Tetragon's `KprobeCapability`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CapabilityValue {
    /// Its number.
    #[serde(skip_serializing_if = "unset")]
    pub value: Option<i32>,
    /// Its name, `CAP_…`.
    #[serde(skip_serializing_if = "unset")]
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_by_ls() {
        for (mode, text) in [
            (0o100_644, "-rw-r--r--"),
            (0o040_755, "drwxr-xr-x"),
            (0o104_755, "-rwsr-xr-x"),
            (0o102_745, "-rwxr-Sr-x"),
            (0o041_777, "drwxrwxrwt"),
            (0o120_777, "lrwxrwxrwx"),
            (0o140_755, "srwxr-xr-x"),
            (0o060_660, "brw-rw----"),
            (0o020_620, "crw--w----"),
            (0o010_600, "prw-------"),
        ] {
            assert_eq!(permission(mode), text);
        }
        assert_eq!(capability_digits(0x1_0000_0021), "0000000100000021");
    }
}
