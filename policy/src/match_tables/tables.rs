//! The finished match tables of one kernel function.

use gatewatch_abi::{BitAction, ExactKey, MatcherConfig, RecordBit, RecordHook, Step};

use crate::plan::{Field, Network};

/// The tables, ready to be written into maps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    /// What the program reads. `follow[i].mask` is left to the caller, who numbers the sets.
    pub config: MatcherConfig,
    /// All rows, `config.words` words each. The first ones are those of the policy sets.
    pub rows: Vec<u64>,
    /// One for each bit.
    pub actions: Vec<BitAction>,
    /// Contents of `EXACT`.
    pub exact: Vec<(ExactKey, u32)>,
    /// Contents of `DIRECT`.
    pub direct: Vec<u32>,
    /// Contents of `BREAKS`.
    pub breaks: Vec<[u64; 2]>,
    /// Contents of `PREFIX`.
    pub prefixes: Vec<Step>,
    /// Contents of `POSTFIX`: slot, bytes backwards, row.
    pub postfixes: Vec<(u8, Vec<u8>, u32)>,
    /// Contents of `ADDRESSES`: slot, network, row.
    pub addresses: Vec<(u32, Network, u32)>,
    /// Contents of `BINARY_ROWS`: path, row.
    pub binaries: Vec<(Vec<u8>, u32)>,
    /// The `followChildren` set of each `config.follow`.
    pub follow: Vec<Vec<Vec<u8>>>,
    /// What is recorded of each selector, if anything is recorded: one for each bit.
    pub record_bits: Vec<RecordBit>,
    /// What is recorded of each hook. An argument's `offset`, `within` and `beside` are still numbers of arguments: the caller
    /// replaces them when it is known how the hook is attached.
    pub record_hooks: Vec<RecordHook>,
    /// The field of each integer slot in use.
    pub int_fields: Vec<Field>,
    /// The field of each string slot in use.
    pub text_fields: Vec<Field>,
    /// The field of each address slot in use.
    pub addr_fields: Vec<Field>,
}
