//! What the agent enters for a recorder.

use aya_ebpf::{macros::map, maps::Array};
use gatewatch_abi::{RecordBit, RecordHook};

/// What is recorded of each selector.
#[map]
pub static RECORD_BITS: Array<RecordBit> = Array::with_max_entries(1, 0);
/// What is recorded of each hook.
#[map]
pub static RECORD_HOOKS: Array<RecordHook> = Array::with_max_entries(1, 0);
