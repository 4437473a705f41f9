//! The index of a task in the tables that all tasks share.

/// Spreads addresses of `task_struct`s, which are multiples of 64, over 32 bits.
#[inline]
const fn spread(task: u64) -> u32 {
    ((task >> 6 & 0xffff_ffff) as u32).wrapping_mul(0x9E37_79B1)
}

/// Its index in `TASKS`.
#[inline]
pub const fn task_slot(task: u64) -> u32 {
    spread(task) >> (32 - crate::consts::TASKS.trailing_zeros())
}

/// Its index in `GENERATIONS`. The number there changes with everything that a [`Task`](crate::Task) remembers: when a task
/// runs another program, goes to another cgroup or ends, and when the agent assigns policy sets to cgroups, removes counts
/// or corrects what processes run. It never comes back to what it was.
#[inline]
pub const fn generation_slot(task: u64) -> u32 {
    spread(task) >> (32 - crate::consts::GENERATIONS.trailing_zeros())
}

/// The index of a cgroup in a hook's table of those that no policy watches. Ids count a directory's files too, of which a
/// cgroup has dozens: their lowest bits tell nothing, and without them this is a single operation on the id.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "what is left fits")]
pub const fn unwatched_slot(cgroup: u64) -> usize {
    (cgroup as usize & UNWATCHED_MASK) / size_of::<u64>()
}

/// The bits of an id that say where it stands, in bytes.
pub const UNWATCHED_MASK: usize = (crate::consts::UNWATCHED - 1) * size_of::<u64>();

#[cfg(test)]
mod tests {
    use super::{generation_slot, task_slot};
    use crate::consts::{GENERATIONS, TASKS};

    #[test]
    fn tasks_are_spread_over_both_tables() {
        // Three in 32 KiB is how they lie on Debian's kernels.
        let tasks = (0..600_u64).map(|i| 0xffff_8880_0400_0000 + i / 3 * 0x8000 + i % 3 * 0x2640);
        let (mut slots, mut generations) = ([0_u32; TASKS as usize], [0_u32; GENERATIONS]);
        for task in tasks {
            slots[task_slot(task) as usize] += 1;
            generations[generation_slot(task) as usize] += 1;
        }
        assert!(slots.iter().filter(|tasks| **tasks > 0).count() > 150, "{slots:?}");
        assert!(generations.iter().all(|tasks| *tasks < 40), "{generations:?}");
    }
}
