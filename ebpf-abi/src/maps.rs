//! Keys and values of the maps.

use crate::consts::{BINARY_PATH_BYTES, ENFORCING_ACTIONS, MODE_OFF, OUTCOMES, TEXT_BYTES};

/// Key of `COUNTS`. Its values contain *places*: indices of `VALUES`, which holds the numbers. The place of a task's last
/// event is remembered, see [`Task`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CountKey {
    /// Id of the cgroup (v2) that the process was in: the inode number of its directory.
    pub cgroup: u64,
    /// [`binary_id`](crate::binary_id) of its program, 0 where it isn't known.
    pub binary: u64,
    /// The policy hook, as numbered by the agent.
    pub hook: u32,
    /// Always 0.
    pub pad: u32,
}

/// Value of `COUNTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountPlace {
    /// Whose share it is of: the id of a pod's cgroup, [`SHARE_OF_HOST`](crate::SHARE_OF_HOST), or
    /// [`OVERFLOW`](crate::consts::OVERFLOW) where it is of none.
    pub owner: u64,
    /// Its index in `VALUES`.
    pub place: u32,
    /// Always 0.
    pub pad: u32,
}

/// Value of `PROCESSES`; the key is the thread group id in the initial pid namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// [`binary_id`](crate::binary_id) of its program.
    pub binary: u64,
    /// Address of its `task_struct`: tells a process from an earlier one of the same id.
    pub task: u64,
    /// The `followChildren` sets that it or an ancestor belongs to, a bit each.
    pub follow: u64,
}

/// What `track_running` reports of a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct Running {
    /// [`binary_id`](crate::binary_id) of its program, 0 where it has none.
    pub binary: u64,
    /// Its id in the initial pid namespace.
    pub id: u32,
    /// Its parent's.
    pub parent: u32,
}

/// What a matcher remembers of a task between two of its events on one CPU: a value of `TASKS`. It holds as long as
/// `task` and `generation` do, see [`task_slot`](crate::task_slot).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Address of the `task_struct`; 0 while the rest is being written.
    pub task: u64,
    /// Its number in `GENERATIONS` when this was written.
    pub generation: u64,
    /// Id of its cgroup.
    pub cgroup: u64,
    /// [`Process::binary`] of its process.
    pub binary: u64,
    /// [`Process::follow`] of its process.
    pub follow: u64,
    /// The policy set of its cgroup.
    pub policy_set: u32,
    /// The index of the hook point of the event that is being matched, if the matcher has several points.
    pub point: u32,
    /// Where its last matches were counted: the hook in the upper 32 bits, its place and 1 in the lower ones. A hook is
    /// remembered at its number's parity.
    pub hot: [u64; 2],
}

/// Value of `BINARIES`; the key is the [`binary_id`](crate::binary_id).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binary {
    /// Whose share it is of, as in [`CountPlace`].
    pub owner: u64,
    /// Length of the path, which may be more than is kept.
    pub len: u32,
    /// Always 0.
    pub pad: u32,
    /// The path, absolute as the process saw it, filled with zeros.
    pub path: [u8; BINARY_PATH_BYTES],
}

impl Binary {
    /// The path, cut where it is longer than what is kept.
    pub fn path(&self) -> &[u8] {
        &self.path[..(self.len as usize).min(BINARY_PATH_BYTES)]
    }
}

/// Key of `EXACT`: one value of one integer slot. The map's value is a row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExactKey {
    /// The value, sign-extended to 64 bits.
    pub value: u64,
    /// Number of the slot.
    pub slot: u32,
    /// Always 0.
    pub pad: u32,
}

/// Value of `PREFIX`: a step by one byte of a string. The entries are a tree, kept as a double array (Aoe, "An efficient
/// digital search algorithm by using a double-array structure", 1989): behind step `s` comes the one by byte `b` at
/// `s.to + b`, if it says that it comes `from` there. A prefix is its bytes; a whole string is its bytes and a NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The number of the step before it, for the first byte that of no step; 0: there is no such step.
    pub from: u32,
    /// Where the steps behind it are; 0 where no entry continues.
    pub to: u32,
    /// The row of the entry that ends with it.
    pub row: u32,
    /// Not 0: an entry ends with it.
    pub ends: u32,
}

/// Key data of `POSTFIX` (an LPM trie; the map's value is a row): a postfix is its bytes from the last to the first.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextKey {
    /// Number of the slot.
    pub slot: u8,
    /// The text.
    pub text: [u8; TEXT_BYTES],
}

/// Key data of `ADDRESSES` (an LPM trie; the map's value is a row).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddrKey {
    /// Number of the slot.
    pub slot: u32,
    /// An IPv6 address; IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
}

/// Value of `ACTIONS`, one for each bit of the bitmaps: what a selector that matches does.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
pub struct BitAction {
    /// The selectors of this word that belong to the same policy hook: the first one that matches takes the
    /// event from the others.
    pub siblings: u64,
    /// The policy hook to count for.
    pub hook: u32,
    /// `ACTION_*`, a signal and an error.
    pub flags: u32,
}

/// Value of `ENFORCED`, one for each bit of the bitmaps: how the actions of a selector are performed, and where their
/// outcomes are counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// `MODE_*`: that of the selector's policy.
    pub mode: u32,
    /// Not 0: the container runtime is spared while it sets up a container.
    pub spares_setup: u32,
    /// The index in `VALUES` of each outcome of the signal, and then of the override.
    pub places: [u32; (OUTCOMES * ENFORCING_ACTIONS) as usize],
}

impl Enforced {
    /// Nothing is performed and nothing is counted.
    pub const NONE: Self =
        Self { mode: MODE_OFF, spares_setup: 0, places: [u32::MAX; (OUTCOMES * ENFORCING_ACTIONS) as usize] };
}

/// [`CountKey::binary`] of an outcome. `at` is its index in [`Enforced::places`].
pub const fn outcome_code(selector: u32, at: u32) -> u64 {
    (selector as u64) << 32 | at as u64
}

/// The selector and the index of a code.
#[allow(clippy::cast_possible_truncation, reason = "both halves are 32 bits")]
pub const fn outcome_of_code(code: u64) -> (u32, u32) {
    ((code >> 32) as u32, code as u32)
}

#[cfg(feature = "user")]
mod user {
    #![allow(unsafe_code, reason = "aya::Pod is unsafe to implement")]
    use super::{
        AddrKey, Binary, BitAction, CountKey, CountPlace, Enforced, ExactKey, Process, Step, Task, TextKey,
    };

    macro_rules! pod {
        ($($type:ty),*) => {$(
            // SAFETY: `repr(C)`, `Copy`, only integers and arrays of them, no implicit padding.
            unsafe impl aya::Pod for $type {}
        )*};
    }
    pod!(AddrKey, Binary, BitAction, CountKey, CountPlace, Enforced, ExactKey, Process, Step, Task, TextKey);
}

const _: () = assert!(size_of::<CountKey>() == 24);
const _: () = assert!(size_of::<CountPlace>() == 16);
const _: () = assert!(size_of::<Process>() == 24);
// A cache line.
const _: () = assert!(size_of::<Task>() == 64);
const _: () = assert!(size_of::<Binary>() == 520);
const _: () = assert!(size_of::<ExactKey>() == 16);
const _: () = assert!(size_of::<TextKey>() == 256);
const _: () = assert!(size_of::<AddrKey>() == 20);
const _: () = assert!(size_of::<BitAction>() == 16);
const _: () = assert!(size_of::<Enforced>() == 72);
