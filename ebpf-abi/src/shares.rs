//! Shares: how much of the kernel's tables each pod may take, so that no pod takes the entries of another.
//!
//! Every pod has entries of its own that no other pod can take. Beyond these, pods share a pool, of which one pod may take a
//! part. The kernel counts what was [taken](Share), the agent what came back; so neither overwrites the other's number.

use crate::consts::PLACES;

/// Tables of which pods have shares: an index into [`Share::taken`].
pub const SHARED_TABLES: usize = 3;
/// Counts under a pod's cgroup, program and hook.
pub const SHARE_COUNTS: usize = 0;
/// Counts of what a pod does beyond its share of counts or programs: under its cgroup and hook alone.
pub const SHARE_RESERVE: usize = 1;
/// Paths of programs.
pub const SHARE_PROGRAMS: usize = 2;

/// Key of the host's share in `PODS`; no cgroup has this id.
pub const SHARE_OF_HOST: u64 = 0;
/// Key of the pool.
pub const SHARE_OF_POOL: u64 = u64::MAX;

/// Pods that have an entry in `PODS`, those included that were deleted within the last minutes.
pub const PODS: u32 = 2_048;
/// Cgroups in which kubelet makes those of pods.
pub const POD_PARENTS: u32 = 64;
/// Levels of the hierarchy at which a pod's cgroup may be. Where a node is a container itself, it is at the seventh.
pub const POD_LEVELS: u32 = 10;

/// What a pod has taken: a value of `PODS`, whose key is the id of the pod's cgroup. The kernel alone writes it, and only
/// ever adds, but for an entry that it takes back at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Entries of each table that were made.
    pub taken: [u64; SHARED_TABLES],
    /// Entries that were not made, because the pod had no share left.
    pub refused: [u64; SHARED_TABLES],
}

/// Entries of one table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Those that no other pod can take.
    pub own: u64,
    /// The most, with those of the pool.
    pub most: u64,
}

/// Where the kernel has what leads from a task to its cgroup and from there to those above. Offsets in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hierarchy {
    /// `task_struct.cgroups`.
    pub task_cgroups: u64,
    /// `css_set.dfl_cgrp`.
    pub set_cgroup: u64,
    /// `cgroup.level`.
    pub level: u64,
    /// `cgroup.ancestors` (Linux 6.1 and later) or `cgroup.ancestor_ids`.
    pub ancestors: u64,
    /// Not 0: these are ids, not pointers.
    pub ancestors_are_ids: u64,
    /// `cgroup.kn`.
    pub node: u64,
    /// `kernfs_node.id`.
    pub node_id: u64,
    /// `kernfs_node.name`.
    pub node_name: u64,
}

/// The one value of `LIMITS`, which the agent writes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Each pod's.
    pub pod: [Bound; SHARED_TABLES],
    /// The host's.
    pub host: [Bound; SHARED_TABLES],
    /// The pool.
    pub pool: [u64; SHARED_TABLES],
    /// Where the kernel's fields are.
    pub hierarchy: Hierarchy,
}

/// How many entries the tables have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Pods that have shares.
    pub pods: u32,
    /// `COUNTS` and `VALUES`.
    pub places: u32,
    /// `BINARIES`.
    pub programs: u32,
}

/// Counts that each pod gets a table for.
const PLACES_PER_POD: u32 = 128;
/// Programs, likewise.
const PROGRAMS_PER_POD: u32 = 32;

impl Sizes {
    /// The tables of a node with so many pods.
    pub fn of(pods: u32) -> Self {
        let pods = pods.clamp(1, PODS / 2);
        let table = |each: u32, least: u32| (pods * each).next_power_of_two().max(least);
        Self { pods, places: table(PLACES_PER_POD, PLACES), programs: table(PROGRAMS_PER_POD, 8_192) }
    }
}

impl Limits {
    /// Divides tables into shares. What all pods and the host have of their own, the pools, and an eighth that the agent
    /// itself takes entries of (overflow counters of hooks, programs that policies name) is never more than a table.
    ///
    /// A pod takes an entry of its reserve for each hook and container, and a node's policies may have many more hooks than
    /// a pod's own entries: the rest comes from the pool, so that its events keep the pod's labels.
    pub fn of(sizes: Sizes) -> Self {
        let pods = u64::from(sizes.pods).max(1);
        let each = |entries: u64| (entries / pods).max(1);
        let (places, programs) = (u64::from(sizes.places), u64::from(sizes.programs));
        let bound = |own: u64, pool: u64| Bound { own, most: own + pool / 4 };
        let (counts_pool, reserve_pool, programs_pool) = (places / 8, places / 16, programs / 8);
        Self {
            pod: [
                bound(each(places * 7 / 16), counts_pool),
                bound(each(places / 16), reserve_pool),
                bound(each(programs / 2), programs_pool),
            ],
            host: [
                bound(places / 8, counts_pool),
                bound(places / 32, reserve_pool),
                bound(programs / 4, programs_pool),
            ],
            pool: [counts_pool, reserve_pool, programs_pool],
            hierarchy: Hierarchy::default(),
        }
    }
}

/// Whether one more entry may be made by who has `taken` so many and given `returned` back, and whether it is of the pool.
/// `pool` is how many of the pool are in use. `None`: it may not.
#[inline]
pub const fn one_more(taken: u64, returned: u64, bound: Bound, pool: u64, pool_size: u64) -> Option<bool> {
    // What came back is put right now and then, and may be too much by a few for a moment.
    let used = taken.wrapping_sub(returned).cast_signed();
    if used < bound.own.cast_signed() {
        Some(false)
    } else if used < bound.most.cast_signed() && pool.cast_signed() < pool_size.cast_signed() {
        Some(true)
    } else {
        None
    }
}

#[cfg(feature = "user")]
mod user {
    #![allow(unsafe_code, reason = "aya::Pod is unsafe to implement")]
    use super::{Limits, Share};

    // SAFETY: `repr(C)`, `Copy`, only integers and arrays of them, no padding.
    unsafe impl aya::Pod for Share {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Limits {}
}

#[cfg(test)]
mod tests {
    use super::{Limits, PODS, SHARE_COUNTS, SHARE_PROGRAMS, SHARE_RESERVE, Sizes, one_more};

    #[test]
    fn shares_fit_into_their_tables() {
        for pods in (1..PODS).chain([u32::MAX]) {
            let sizes = Sizes::of(pods);
            let limits = Limits::of(sizes);
            let pods = u64::from(sizes.pods);
            let all =
                |table: usize| pods * limits.pod[table].own + limits.host[table].own + limits.pool[table];
            let places = u64::from(sizes.places);
            assert!(all(SHARE_COUNTS) + all(SHARE_RESERVE) + places / 8 <= places, "{sizes:?}");
            let programs = u64::from(sizes.programs);
            assert!(all(SHARE_PROGRAMS) + programs / 8 <= programs, "{sizes:?}");
            assert!(limits.pod[SHARE_COUNTS].own >= 32 && limits.pod[SHARE_RESERVE].own >= 4, "{sizes:?}");
            assert!(limits.pod[SHARE_PROGRAMS].own >= 16, "{sizes:?}");
            // The shipped policies have 35 hooks; a pod with several containers, or a node with more policies, needs more.
            assert!(limits.pod[SHARE_RESERVE].most >= 256, "{sizes:?}");
        }
    }

    /// Pods that take all they can get, in any order: each gets what is its own, and the table has room for all.
    #[test]
    fn greedy_pods_leave_the_others_theirs() {
        let sizes = Sizes::of(250);
        let limits = Limits::of(sizes);
        let (mut pool, mut total) = (0, 0);
        for pod in 0..250_u64 {
            let mut taken = 0;
            while let Some(of_pool) =
                one_more(taken, 0, limits.pod[SHARE_COUNTS], pool, limits.pool[SHARE_COUNTS])
            {
                taken += 1;
                pool += u64::from(of_pool);
            }
            assert!(taken >= limits.pod[SHARE_COUNTS].own, "pod {pod} has {taken}");
            assert!(taken <= limits.pod[SHARE_COUNTS].most, "pod {pod} has {taken}");
            total += taken;
        }
        assert!(total + limits.host[SHARE_COUNTS].own <= u64::from(sizes.places) * 3 / 4, "{total}");
    }

    #[test]
    fn what_came_back_can_be_taken_again() {
        let bound = super::Bound { own: 2, most: 3 };
        assert_eq!(one_more(1, 0, bound, 0, 1), Some(false));
        assert_eq!(one_more(2, 0, bound, 0, 1), Some(true));
        assert_eq!(one_more(2, 0, bound, 1, 1), None);
        assert_eq!(one_more(3, 0, bound, 0, 1), None);
        assert_eq!(one_more(3, 3, bound, 1, 1), Some(false));
        // Too much came back: by an entry that was on its way.
        assert_eq!(one_more(3, 4, bound, 1, 1), Some(false));
    }
}
