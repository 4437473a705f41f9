//! Which pod the current task is of, and what it may still take of the tables. All of this is for the moments at which an
//! entry is made: nothing of it runs for an event that is counted where the one before was.

use aya_ebpf::{
    helpers::bpf_get_current_task,
    macros::map,
    maps::{Array, HashMap},
};
use gatewatch_abi::{
    Hierarchy, Limits, SHARE_OF_HOST, SHARE_OF_POOL, SHARED_TABLES, Share, one_more,
    shares::{POD_LEVELS, PODS as MOST_PODS},
};

use crate::memory;

/// The pods, by the ids of their cgroups: entered by the kernel when kubelet makes a pod's cgroup, and by the agent for
/// those that it finds.
#[map]
pub static PODS: HashMap<u64, Share> = HashMap::pinned(MOST_PODS, 0);

/// What came back of each pod's share: written by the agent.
#[map]
static RETURNED: HashMap<u64, [u64; SHARED_TABLES]> = HashMap::pinned(MOST_PODS, 0);

/// How much each may take, and where the kernel's fields are: written by the agent.
#[map]
static LIMITS: Array<Limits> = Array::pinned(1, 0);

/// The current task's cgroup, a `struct cgroup *`.
#[inline(always)]
fn current(fields: &Hierarchy) -> u64 {
    // SAFETY: no preconditions.
    cgroup_of(fields, unsafe { bpf_get_current_task() })
}

/// A task's cgroup, a `struct cgroup *`.
#[inline(always)]
fn cgroup_of(fields: &Hierarchy, task: u64) -> u64 {
    let set: u64 = memory::read(task + fields.task_cgroups);
    memory::read(set + fields.set_cgroup)
}

/// The id of the cgroup that is above a cgroup at a level; or its own.
#[inline(always)]
fn ancestor(fields: &Hierarchy, cgroup: u64, level: u32) -> u64 {
    let above: u64 = memory::read(cgroup + fields.ancestors + 8 * u64::from(level));
    if fields.ancestors_are_ids != 0 {
        return above;
    }
    let node: u64 = memory::read(above + fields.node);
    memory::read(node + fields.node_id)
}

/// The level of a cgroup; the root's is 0.
#[inline(always)]
fn level(fields: &Hierarchy, cgroup: u64) -> u32 {
    memory::read(cgroup + fields.level)
}

/// A cgroup's place in the hierarchy.
#[derive(Clone, Copy)]
pub struct Position {
    /// Its level.
    pub level: u32,
    /// The level of its pod's cgroup; 0: it is of no pod.
    pub pod: u32,
}

impl Position {
    /// Whether it is below a container's cgroup: such a one has no name of its own.
    #[inline(always)]
    pub fn is_nested(self) -> bool {
        self.pod != 0 && self.level > self.pod + 1
    }
}

/// The place of a `struct cgroup`.
#[inline(always)]
pub fn position(cgroup: u64) -> Position {
    let found = find(cgroup);
    Position { level: (found >> 32) as u32, pod: found as u32 }
}

/// [`position`], the level in the upper 32 bits. A function that other objects could call, so that the verifier checks it
/// once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn find(cgroup: u64) -> u64 {
    let Some(limits) = LIMITS.get(0) else { return 0 };
    let fields = &limits.hierarchy;
    let last = level(fields, cgroup);
    for at in 1..=POD_LEVELS {
        if at > last {
            break;
        }
        if PODS.get_ptr(ancestor(fields, cgroup, at)).is_some() {
            return u64::from(last) << 32 | u64::from(at);
        }
    }
    u64::from(last) << 32
}

/// The id of the cgroup above another one, 0 for the root.
#[inline(always)]
pub fn parent(cgroup: u64, position: Position) -> u64 {
    match (LIMITS.get(0), position.level.checked_sub(1)) {
        (Some(limits), Some(above)) => ancestor(&limits.hierarchy, cgroup, above),
        _ => 0,
    }
}

/// Where the name of a cgroup's directory is.
#[inline(always)]
pub fn name(cgroup: u64) -> u64 {
    let Some(limits) = LIMITS.get(0) else { return 0 };
    let node: u64 = memory::read(cgroup + limits.hierarchy.node);
    memory::read(node + limits.hierarchy.node_name)
}

/// The pod of the current task: the id of its cgroup, or the key of the host's share.
#[inline(always)]
pub fn pod_of_current() -> u64 {
    // SAFETY: no preconditions.
    pod_of(unsafe { bpf_get_current_task() })
}

/// The pod of a task, as [`pod_of_current`] gives it.
#[inline(always)]
pub fn pod_of(task: u64) -> u64 {
    let Some(limits) = LIMITS.get(0) else { return SHARE_OF_HOST };
    let cgroup = cgroup_of(&limits.hierarchy, task);
    let position = position(cgroup);
    if position.pod == 0 { SHARE_OF_HOST } else { ancestor(&limits.hierarchy, cgroup, position.pod) }
}

/// The container's cgroup, for a task in a cgroup below it; else 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn container_of_current() -> u64 {
    let Some(limits) = LIMITS.get(0) else { return 0 };
    let cgroup = current(&limits.hierarchy);
    let position = position(cgroup);
    if position.is_nested() { ancestor(&limits.hierarchy, cgroup, position.pod + 1) } else { 0 }
}

/// Takes an entry of a table from a pod's share. False: it has no more. Two processors may take the last one, which is room
/// that the tables have.
#[inline(always)]
pub fn take<const TABLE: usize>(pod: u64) -> bool {
    let (Some(limits), Some(share), Some(pool)) =
        (LIMITS.get(0), PODS.get_ptr_mut(pod), PODS.get_ptr_mut(SHARE_OF_POOL))
    else {
        return false;
    };
    let bound = if pod == SHARE_OF_HOST { limits.host[TABLE] } else { limits.pod[TABLE] };
    // SAFETY: maps' values.
    unsafe {
        let of_pool = (*pool).taken[TABLE].wrapping_sub(returned::<TABLE>(SHARE_OF_POOL));
        let taken = (*share).taken[TABLE];
        let more = one_more(taken, returned::<TABLE>(pod), bound, of_pool, limits.pool[TABLE]);
        let Some(of_pool) = more else {
            memory::add(&raw mut (*share).refused[TABLE], 1);
            return false;
        };
        if of_pool {
            memory::add(&raw mut (*pool).taken[TABLE], 1);
        }
        memory::add(&raw mut (*share).taken[TABLE], 1);
        true
    }
}

/// Gives back an entry that wasn't made after all. (What it was of the pool comes back when the agent counts.)
#[inline(always)]
pub fn give_back<const TABLE: usize>(pod: u64) {
    if let Some(share) = PODS.get_ptr_mut(pod) {
        // SAFETY: a map's value.
        unsafe { memory::add(&raw mut (*share).taken[TABLE], u64::MAX) }
    }
}

#[inline(always)]
fn returned<const TABLE: usize>(pod: u64) -> u64 {
    // SAFETY: a u64 that is copied at once.
    unsafe { RETURNED.get(pod) }.map_or(0, |tables| tables[TABLE])
}
