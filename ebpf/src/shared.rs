//! The maps that all objects of the BPF programs share (pinned by name; the agent puts them in one folder), and
//! the numbers of [`STATS`].

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, Queue},
};
use gatewatch_abi::{
    Binary, CountKey, CountPlace, Process, Task,
    consts::{self, PLACES, STAT_LOST},
};

/// `BPF_NOEXIST`, include/uapi/linux/bpf.h.
pub const NOEXIST: u64 = 1;

/// The index of each count in [`VALUES`].
#[map]
pub static COUNTS: HashMap<CountKey, CountPlace> = HashMap::pinned(PLACES, 0);

/// The counts.
#[map]
pub static VALUES: PerCpuArray<u64> = PerCpuArray::pinned(PLACES, 0);

/// Places that are free: entered by the agent.
#[map]
pub static FREE: Queue<u32> = Queue::pinned(PLACES, 0);

/// What is remembered of tasks.
#[map]
pub static TASKS: PerCpuArray<Task> = PerCpuArray::pinned(consts::TASKS, 0);

/// For how long it holds, see [`generation_slot`](gatewatch_abi::generation_slot).
#[map]
pub static GENERATIONS: Array<[u64; consts::GENERATIONS]> = Array::pinned(1, 0);

/// What each process runs, by its id in the initial pid namespace. The agent sizes it by the node.
#[map]
pub static PROCESSES: HashMap<u32, Process> = HashMap::pinned(32_768, 0);

/// The paths of programs, by their ids.
#[map]
pub static BINARIES: HashMap<u64, Binary> = HashMap::pinned(8_192, 0);

/// The policy set of each known cgroup: which policies select it. A policy set is a row of every matcher.
#[map]
pub static CGROUPS: HashMap<u64, u32> = HashMap::pinned(16_384, 0);

/// What had to be left out: counted here, exported by the agent.
#[map]
pub static STATS: PerCpuArray<u64> = PerCpuArray::pinned(consts::STATS, 0);

/// `MODE_*`: what all policies of the node may do, at `ENFORCEMENT_IN_FORCE`. One write changes it for all of them, with or
/// without an agent. It is `MODE_OFF` until an agent writes it.
#[map]
pub static ENFORCEMENT: Array<u32> = Array::pinned(3, 0);

/// Adds one to a statistic.
#[inline(always)]
pub fn note(stat: u32) {
    if let Some(value) = STATS.get_ptr_mut(stat) {
        // SAFETY: this CPU's own slot.
        unsafe { *value += 1 }
    }
}

/// Adds one to the count at a place.
#[inline(always)]
pub fn add(place: u32) {
    match VALUES.get_ptr_mut(place) {
        // SAFETY: this CPU's own slot.
        Some(value) => unsafe { *value += 1 },
        None => note(STAT_LOST),
    }
}
