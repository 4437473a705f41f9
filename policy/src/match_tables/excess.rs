//! The limits of the match tables of one kernel function.

use gatewatch_abi::consts::{ADDR_SLOTS, FOLLOW_SLOTS, INT_SLOTS, MAX_SELECTORS, TEXT_BYTES, TEXT_SLOTS};

/// Intervals that one integer can be divided into: the BPF programs bisect ten times.
pub(super) const MAX_BREAKS: usize = 1024;

/// Why policies don't fit on one kernel function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Too many selectors.
    #[error("the policies on this function have more than {MAX_SELECTORS} selectors in total")]
    Selectors,
    /// Too many integers.
    #[error("the policies on this function filter on more than {INT_SLOTS} integers in total")]
    Integers,
    /// Too many strings.
    #[error("the policies on this function filter on more than {TEXT_SLOTS} strings or paths in total")]
    Texts,
    /// Too many addresses.
    #[error("the policies on this function filter on more than {ADDR_SLOTS} addresses in total")]
    Addresses,
    /// Too many sets of programs.
    #[error(
        "the policies on this function follow the children of more than {FOLLOW_SLOTS} program sets in total"
    )]
    FollowSets,
    /// Too many ranges of one integer.
    #[error("the policies on this function split one integer into more than {} ranges", MAX_BREAKS)]
    Ranges,
    /// A string that is too long for a table.
    #[error(
        "a string has more than {TEXT_BYTES} bytes (a suffix more than 127), which the kernel's match tables cannot \
         hold"
    )]
    TextLength,
}
