//! Declared arguments: what filters on them read, and what follows if they are declared as something else.

use super::types::Readable;
use crate::{diagnostic::Severity, model::ArgType};

/// One declared argument.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared {
    /// Its number in the function's prototype.
    pub(super) index: u32,
    /// Its position in `args`.
    pub(super) position: usize,
    pub(super) ty: ArgType,
    pub(super) readable: Readable,
    /// Whether this function of a list does not have it, although others do.
    pub(super) absent: bool,
}

/// What follows from an argument that is declared as another type than it has, which is severe if a filter reads it.
pub(super) const fn misread(by_filter: bool) -> (Severity, &'static str) {
    if by_filter {
        (Severity::Error, "a filter would compare a different value")
    } else {
        (
            Severity::Warning,
            "no filter reads it, so the count is right, but an event would show a wrong value",
        )
    }
}
