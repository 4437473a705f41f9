//! The limits of the match tables of one kernel function.

use gatewatch_abi::consts::{
    ADDR_SLOTS, FOLLOW_SLOTS, INT_SLOTS, MAX_LANES, MAX_SELECTORS, TEXT_BYTES, TEXT_SLOTS, WORD_BITS,
};

/// Intervals that one integer can be divided into: the BPF programs bisect ten times.
pub(crate) const MAX_BREAKS: usize = 1024;
/// Bounds the work where each interval is one value. (A hash map could hold more, but no policy has that many.)
pub(crate) const MAX_VALUES: usize = 65_536;

/// Why hooks don't fit into one matcher, or into all that a hook point may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Too many selectors.
    #[error("more than {WORD_BITS} selectors in one hook, or {MAX_SELECTORS} in one matcher")]
    Selectors,
    /// Too many integers.
    #[error("the hook filters on more than {INT_SLOTS} integers")]
    Integers,
    /// Too many strings.
    #[error("the hook filters on more than {TEXT_SLOTS} strings or paths")]
    Texts,
    /// Too many addresses.
    #[error("the hook filters on more than {ADDR_SLOTS} addresses")]
    Addresses,
    /// Too many sets of programs.
    #[error("the hook follows the children of more than {FOLLOW_SLOTS} program sets")]
    FollowSets,
    /// Too many ranges of one integer.
    #[error("the hook splits one integer into more than {MAX_BREAKS} ranges")]
    Ranges,
    /// More than all lanes of a hook point can hold.
    #[error(
        "the policies on this function need more than {MAX_LANES} matchers together: they filter on too many different \
         fields or have too many selectors"
    )]
    Lanes,
    /// A string that is too long for a table.
    #[error(
        "a string has more than {TEXT_BYTES} bytes (a suffix more than 127), which the kernel's match tables cannot \
         hold"
    )]
    TextLength,
}
