//! Entries of `lists`, to be named as `list:NAME`.

use super::names::names;

names! {
    /// What a list is made of.
    pub enum ListType {
        Syscalls = "syscalls",
        GeneratedSyscalls = "generated_syscalls",
        GeneratedFtrace = "generated_ftrace",
    }
}

impl ListType {
    /// Whether the node makes the list's values.
    pub const fn is_generated(self) -> bool {
        matches!(self, Self::GeneratedSyscalls | Self::GeneratedFtrace)
    }
}

/// How a name of a list begins where a function, a value or an enforced call is expected.
const PREFIX: &str = "list:";

/// One entry of `lists`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List {
    /// `name`.
    pub name: String,
    /// `type`; none for a list of functions.
    pub ty: Option<ListType>,
    /// `values`.
    pub values: Vec<String>,
    /// `pattern`.
    pub pattern: Option<String>,
    /// `validated`: a mark that Tetragon sets for itself after it has checked the list.
    pub validated: bool,
}

impl List {
    /// The list that a text names: `NAME` of `list:NAME`.
    pub fn named_in(text: &str) -> Option<&str> {
        text.strip_prefix(PREFIX)
    }
}
