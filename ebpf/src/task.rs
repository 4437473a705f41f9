//! What is known of the task that an event happens in.

use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_task};
use gatewatch_abi::{Task, consts::POLICY_SET_PENDING, generation_slot, task_slot};

use crate::{
    counting::count_unknown,
    frozen,
    globals::CONFIG,
    memory,
    shared::{CGROUPS, GENERATIONS, PROCESSES, TASKS},
    shares::container_of_current,
};

/// What is known of the current task: remembered from its last event on this CPU, or looked up; where nothing may be
/// remembered, into `own`. `point` is the index of the event's hook point.
///
/// What is remembered can't be torn: only this CPU writes it. A program that interrupts another one, in the same task,
/// finds `task` to be 0 and writes all of it; what the other one then writes over it is as old as the generation that it
/// writes with it.
#[inline(always)]
pub fn current(own: *mut Task, point: u32) -> Option<*mut Task> {
    // SAFETY: no preconditions.
    let task = unsafe { bpf_get_current_task() };
    if frozen!(CONFIG.remember) == 0 {
        look_up(own, task, 0, point);
        return Some(own);
    }
    let generations = GENERATIONS.get_ptr(0)?.cast::<u64>();
    // SAFETY: inside the array; read before anything that it vouches for.
    let generation = unsafe { core::ptr::read_volatile(generations.add(generation_slot(task) as usize)) };
    let known = TASKS.get_ptr_mut(task_slot(task))?;
    // SAFETY: this CPU's own.
    if unsafe { (*known).task != task || (*known).generation != generation } {
        look_up(known, task, generation, point);
    }
    Some(known)
}

#[inline(never)]
fn look_up(known: *mut Task, task: u64, generation: u64, point: u32) {
    // SAFETY: no preconditions.
    let mut cgroup = unsafe { bpf_get_current_cgroup_id() };
    // SAFETY: a u32 that is copied at once.
    let mut policy_set = unsafe { CGROUPS.get(cgroup) }.copied();
    if policy_set.is_none() {
        // One that a container has made in its own is the container's. The agent doesn't know it.
        let container = container_of_current();
        if container != 0 {
            cgroup = container;
            // SAFETY: as above.
            policy_set = unsafe { CGROUPS.get(cgroup) }.copied();
        }
    }
    let policy_set = policy_set.unwrap_or(POLICY_SET_PENDING);
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: copied at once.
    let process = unsafe { PROCESSES.get(process) }.copied();
    // What isn't known isn't remembered, so that each of its events comes here and is counted as such.
    let task = if process.is_some() { task } else { 0 };
    let process = process.unwrap_or_default();
    if task == 0 && (frozen!(CONFIG.binary) != 0 || frozen!(CONFIG.follow[0].mask) != 0) {
        count_unknown(point);
    }
    // SAFETY: a map's value, or on the stack.
    unsafe {
        core::ptr::write_volatile(&raw mut (*known).task, 0);
        core::ptr::write_volatile(&raw mut (*known).cgroup, cgroup);
        core::ptr::write_volatile(&raw mut (*known).binary, process.binary);
        core::ptr::write_volatile(&raw mut (*known).follow, process.follow);
        core::ptr::write_volatile(&raw mut (*known).policy_set, policy_set);
        let hot = (&raw mut (*known).hot).cast::<u64>();
        core::ptr::write_volatile(hot, 0);
        core::ptr::write_volatile(hot.add(1), 0);
        // After what it vouches for: a program that comes in between may have read a newer one.
        core::ptr::write_volatile(&raw mut (*known).generation, generation);
        core::ptr::write_volatile(&raw mut (*known).task, task);
    }
}

/// What is remembered of this task holds no longer.
#[inline(always)]
pub fn forget(task: u64) {
    if let Some(generations) = GENERATIONS.get_ptr_mut(0) {
        let slot = generation_slot(task) as usize;
        // SAFETY: inside the array.
        unsafe { memory::add(generations.cast::<u64>().add(slot), 1) }
    }
}

/// What is remembered of any task holds no longer.
#[inline(always)]
pub fn forget_all() {
    if let Some(generations) = GENERATIONS.get_ptr_mut(0) {
        for slot in 0..gatewatch_abi::consts::GENERATIONS {
            // SAFETY: inside the array.
            unsafe { memory::add(generations.cast::<u64>().add(slot), 1) }
        }
    }
}
