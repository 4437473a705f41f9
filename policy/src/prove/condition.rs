//! Conditions: what one filter allows of one key.

use super::set::Set;
use crate::{
    diagnostic::FieldPath,
    labels::Subject,
    model::{CapabilitySet, NamespaceKind},
    plan::SocketPart,
};

/// One condition of a selector.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The key that the filter reads.
    pub key: Key,
    /// What it may be.
    pub set: Set,
    /// The path of the filter.
    pub path: FieldPath,
}

/// What a filter reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A part of an argument, of data or of the result.
    Value(Source, Aspect),
    /// The program of the process.
    Program,
    /// The program of the parent.
    ParentProgram,
    /// The process id in the node's namespace, or in the process's own.
    Pid {
        /// In the process's own.
        namespaced: bool,
    },
    /// Whether a namespace is the host's.
    HostNamespace(NamespaceKind),
    /// The number of a namespace. Which one is the host's isn't known here, so nothing follows from one for the other.
    Namespace(NamespaceKind),
    /// A capability set; with the flag, one that counts in other user namespaces than the host's only.
    Capabilities(CapabilitySet, bool),
    /// The value of a label.
    Label(Subject, String),
    /// A filter of which nothing more is known than its text.
    Opaque(String),
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `args`, by position.
    Arg(u32),
    /// `data`, by position.
    Data(u32),
    /// `returnArg`.
    Return,
}

/// Which part of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The integer, string or path itself.
    Whole,
    /// Type of a file.
    FileType,
    /// A part of a socket.
    Socket(SocketPart),
}
