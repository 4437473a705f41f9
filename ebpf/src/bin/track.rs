//! Follows processes and cgroups.
#![no_std]
#![no_main]
#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a value of 512 bytes has no place on the stack"
)]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_F_NO_PREALLOC,
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_probe_read_kernel_str, bpf_seq_write},
    },
    macros::{btf_tracepoint, map},
    maps::HashMap,
    programs::BtfTracePointContext,
};
use gatewatch_abi::{
    Binary, HOST_PROGRAM, Process, Running, SHARE_OF_HOST, SHARE_PROGRAMS, Share,
    consts::{
        FOLLOW_AGENT, PLACES, STAT_BINARIES_FULL, STAT_CGROUPS_FULL, STAT_PODS_FULL, STAT_PROCESSES_FULL,
    },
};
use gatewatch_ebpf::{
    memory, offset, program,
    scratch::{Buffer, with_scratch},
    shared::{BINARIES, NOEXIST, PROCESSES, note},
    shares::{self, PODS, Position, pod_of, pod_of_current},
    task,
};

/// `followChildren` sets of programs: by the program's id, a bit for each set that names it.
#[map]
static FOLLOW: HashMap<u64, u64> = HashMap::pinned(2_048, 0);

/// Places whose counts were removed and that aren't free yet: for the agent alone.
#[map]
static RELEASED: HashMap<u32, u32> = HashMap::pinned(PLACES, BPF_F_NO_PREALLOC);

/// Cgroups in which kubelet makes those of pods, and how long such a name is at least: entered by the agent.
#[map]
static POD_PARENTS: HashMap<u64, u32> = HashMap::pinned(gatewatch_abi::shares::POD_PARENTS, 0);

/// Paths of cgroups that were made since the agent last read them. A cgroup that was removed before then still has its
/// path here. Memory is taken as needed: these programs run where the kernel may allocate.
#[map]
static CGROUP_PATHS: HashMap<u64, [u8; 512]> = HashMap::pinned(8_192, BPF_F_NO_PREALLOC);

/// Cgroups that were removed since the agent last read them.
#[map]
static CGROUPS_GONE: HashMap<u64, u32> = HashMap::pinned(8_192, BPF_F_NO_PREALLOC);

/// The id of the parent of the kernel's threads (`rest_init` in init/main.c).
const KTHREADD: u32 = 2;

/// A new task: `TP_PROTO(struct task_struct *parent, struct task_struct *child)`.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn track_fork(ctx: BtfTracePointContext) -> i32 {
    let (parent, child): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let from: u32 = memory::read(parent + offset!(task_tgid));
    let to: u32 = memory::read(child + offset!(task_tgid));
    if from == to {
        return 0; // a thread
    }
    // SAFETY: copied at once.
    let Some(mut process) = unsafe { PROCESSES.get(from) }.copied() else {
        // Nor is anything known of its child. (While an agent starts, it finds both.)
        return 0;
    };
    process.task = child;
    if PROCESSES.insert(to, process, 0).is_err() {
        note(STAT_PROCESSES_FULL);
    }
    0
}

/// A process runs another program: `TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`.
/// `bprm->file` is what is run; of a script that is its interpreter.
#[btf_tracepoint(function = "sched_process_exec")]
pub fn track_exec(ctx: BtfTracePointContext) -> i32 {
    let (task, binprm): (u64, u64) = (ctx.arg(0), ctx.arg(2));
    let id: u32 = memory::read(task + offset!(task_tgid));
    // SAFETY: copied at once.
    let old = unsafe { PROCESSES.get(id) }.copied().unwrap_or_default();
    let mut process = Process { binary: 0, task, follow: old.follow };
    let host = of_host(task, old.binary);
    with_scratch(|buffer| process.binary = executed(task, binprm, host, buffer));
    // SAFETY: a u64 that is copied at once.
    process.follow |= unsafe { FOLLOW.get(process.binary) }.copied().unwrap_or(0);
    if PROCESSES.insert(id, process, 0).is_err() {
        note(STAT_PROCESSES_FULL);
    }
    task::forget(number(&ctx));
    0
}

/// Argument 0 as a number: the verifier, which knows the type of the pointer, rejects arithmetic on it.
#[inline(always)]
fn number(ctx: &BtfTracePointContext) -> u64 {
    memory::read(ctx.as_ptr() as u64)
}

/// [`HOST_PROGRAM`] for a process that runs a program of the host: it is in the host's mount namespace, and ran one of the
/// host before. A container's process that enters that namespace later (nsenter) did not; nor did one of which nothing is
/// known.
#[inline(always)]
fn of_host(task: u64, before: u64) -> u64 {
    if program::in_host_mounts(task) { before & HOST_PROGRAM } else { 0 }
}

/// The id of the program of a `struct linux_binprm` that the current task runs; its path is kept. 0 where there is none.
#[inline(always)]
fn executed(task: u64, binprm: u64, host: u64, buffer: Buffer) -> u64 {
    let id = program::identify(task, memory::read(binprm + offset!(binprm_file)), buffer);
    if id == 0 {
        return 0;
    }
    let id = id | host;
    let binary = program::found(buffer);
    // SAFETY: a map's value, which no other program has now.
    unsafe {
        (*binary).owner = pod_of_current();
        if BINARIES.get_ptr(id).is_none() && !keep(id, binary) {
            note(STAT_BINARIES_FULL);
        }
    }
    id
}

/// Keeps the path of a program, if its pod has a share left for it.
///
/// # Safety
///
/// `binary` is a map's value.
#[inline(always)]
unsafe fn keep(id: u64, binary: *const Binary) -> bool {
    // SAFETY: the caller's promise.
    let binary = unsafe { &*binary };
    if !shares::take::<SHARE_PROGRAMS>(binary.owner) {
        return false;
    }
    let kept = BINARIES.insert(id, binary, 0).is_ok();
    if !kept {
        shares::give_back::<SHARE_PROGRAMS>(binary.owner);
    }
    kept
}

/// A task that exists, one after the other: `struct bpf_iter__task`, with the iterator's state and the task (a null pointer
/// after the last one). Enters the task's process if it isn't known, and reports it. Only the tasks that the agent's pid
/// namespace shows come here, with the ids that they have in the initial one.
///
/// The kernel's own entries are newer and stay. A process that was freed before this can't be entered after it: a task that
/// still has its `struct pid` is freed after this program's end, since that waits for programs that run (`release_task` in
/// kernel/exit.c takes the one away before it lets the other be done by RCU).
///
/// # Safety
///
/// To be called by the kernel.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub unsafe extern "C" fn track_running(ctx: *const [*const u64; 2]) -> i32 {
    // SAFETY: the kernel's context.
    let meta = unsafe { (*ctx)[0] };
    // As a number, see `number`.
    let task: u64 = memory::read(ctx as u64 + 8);
    if task == 0 {
        return 0;
    }
    let id: u32 = memory::read(task + offset!(task_tgid));
    let leader: u64 = memory::read(task + offset!(task_group_leader));
    // SAFETY: copied at once.
    let known = unsafe { PROCESSES.get(id) }.copied();
    let process = match known {
        Some(process) => process,
        None if memory::read::<u64>(leader + offset!(task_thread_pid)) == 0 => return 0,
        None => match found(task, leader) {
            Some(process) => {
                // An error means that the kernel has entered it meanwhile, or that the table is full.
                if PROCESSES.insert(id, process, NOEXIST).is_err() && PROCESSES.get_ptr(id).is_none() {
                    note(STAT_PROCESSES_FULL);
                }
                process
            }
            None => return 0,
        },
    };
    // This runs for the one who reads the iterator, which is the agent.
    if id == (bpf_get_current_pid_tgid() >> 32) as u32 && process.follow & FOLLOW_AGENT == 0 {
        let marked = Process { follow: process.follow | FOLLOW_AGENT, ..process };
        if PROCESSES.insert(id, marked, 0).is_err() {
            note(STAT_PROCESSES_FULL);
        }
    }
    if task != leader && known.is_some() {
        return 0;
    }
    let parent: u64 = memory::read(leader + offset!(task_real_parent));
    let parent = memory::read(parent + offset!(task_tgid));
    let running = Running { binary: process.binary, id, parent };
    // SAFETY: the iterator's state is the first member of the context's first pointer, and the program has what is written.
    unsafe {
        bpf_seq_write(*meta as *mut _, (&raw const running).cast(), size_of::<Running>() as u32);
    }
    0
}

/// What a process runs: by one of its threads, since the first one may have ended before the others. `None`: it has no
/// memory any more.
#[inline(always)]
fn found(task: u64, leader: u64) -> Option<Process> {
    let memory_of = || memory::read::<u64>(task + offset!(task_mm));
    let mut process = Process { binary: 0, task: leader, follow: 0 };
    let mm = memory_of();
    if mm == 0 {
        // A thread of the kernel runs no program.
        let of_kernel = |task: u64| memory::read::<u32>(task + offset!(task_tgid)) == KTHREADD;
        return (of_kernel(task) || of_kernel(memory::read(task + offset!(task_real_parent))))
            .then_some(process);
    }
    let mut ended = false;
    with_scratch(|buffer| {
        let file = memory::read(mm + offset!(mm_exe_file));
        let id = program::identify(task, file, buffer);
        let host = of_host_already(task);
        // What ends meanwhile may have given its memory to another.
        ended = memory_of() != mm;
        if id == 0 || ended {
            return;
        }
        let id = id | host;
        process.binary = id;
        let binary = program::found(buffer);
        // SAFETY: a map's value, which no other program has now.
        unsafe {
            (*binary).owner = pod_of(task);
            if BINARIES.get_ptr(id).is_none() && !keep(id, binary) {
                note(STAT_BINARIES_FULL);
            }
        }
    });
    if ended {
        return None;
    }
    // SAFETY: a u64 that is copied at once.
    process.follow = unsafe { FOLLOW.get(process.binary) }.copied().unwrap_or(0);
    Some(process)
}

/// [`HOST_PROGRAM`] for a process that already runs a program of the host: it is in the host's mount namespace, and in no
/// pod's cgroup. What it ran before isn't known. A container's process that has entered that namespace (nsenter) is still in
/// its pod's cgroup. One of the container runtime in a pod's cgroup looks the same, and isn't of the host either.
#[inline(always)]
fn of_host_already(task: u64) -> u64 {
    if program::in_host_mounts(task) && pod_of(task) == SHARE_OF_HOST { HOST_PROGRAM } else { 0 }
}

/// A task is freed: `TP_PROTO(struct task_struct *p)`. Not at its exit: a process still closes its files and sockets
/// then, and those are its events too.
#[btf_tracepoint(function = "sched_process_free")]
pub fn track_free(ctx: BtfTracePointContext) -> i32 {
    let task: u64 = ctx.arg(0);
    // Its address may be another's next.
    task::forget(number(&ctx));
    let id: u32 = memory::read(task + offset!(task_tgid));
    if id != memory::read::<u32>(task + offset!(task_pid)) {
        return 0; // a thread
    }
    // The id may belong to another process already.
    // SAFETY: copied at once.
    if unsafe { PROCESSES.get(id) }.is_some_and(|process| process.task == task) {
        let _ = PROCESSES.remove(id);
    }
    0
}

/// Tasks go to another cgroup: `TP_PROTO(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool
/// threadgroup)`. Of a process with threads only one is named.
#[btf_tracepoint(function = "cgroup_attach_task")]
pub fn track_cgroup_attach(_ctx: BtfTracePointContext) -> i32 {
    task::forget_all();
    0
}

/// A cgroup is made: `TP_PROTO(struct cgroup *cgrp, const char *path)`.
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn track_cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    let (cgroup, path) = (number(&ctx), ctx.arg::<u64>(1));
    let Some(id) = cgroup_id(cgroup) else { return 0 };
    let position = shares::position(cgroup);
    // What a container makes in its cgroup belongs to it, and takes no entry of any table.
    if is_nested(cgroup, position) {
        return 0;
    }
    with_scratch(|buffer| {
        // SAFETY: a field of a map's value, which no other program has now.
        unsafe {
            let text = (&raw mut (*buffer.as_ptr()).data).cast::<[u8; 512]>();
            if is_pod(cgroup, position, text) && PODS.insert(id, Share::default(), NOEXIST).is_err() {
                note(STAT_PODS_FULL);
            }
            bpf_probe_read_kernel_str(text.cast(), 512, path as *const _);
            if CGROUP_PATHS.insert(id, &*text, 0).is_err() {
                note(STAT_CGROUPS_FULL);
            }
        }
    });
    0
}

/// Whether a cgroup is one that a container has made in its own. crun makes one, `container`, for the container itself
/// (`libcrun_cgroup_enter_systemd`): that is a container's cgroup as well, of which there is one.
#[inline(always)]
fn is_nested(cgroup: u64, position: Position) -> bool {
    const CONTAINER: [u8; 10] = *b"container\0";
    if !position.is_nested() {
        return false;
    }
    position.level != position.pod + 2 || memory::read::<[u8; 10]>(shares::name(cgroup)) != CONTAINER
}

/// Whether kubelet has made a cgroup for a pod.
///
/// # Safety
///
/// `buffer` is a map's value.
#[inline(always)]
unsafe fn is_pod(cgroup: u64, position: Position, buffer: *mut [u8; 512]) -> bool {
    if position.pod != 0 {
        return false;
    }
    // SAFETY: a u32 that is copied at once.
    let Some(shortest) = (unsafe { POD_PARENTS.get(shares::parent(cgroup, position)) }).copied() else {
        return false;
    };
    // Of classes of service, whose names are short, there are cgroups in the same place.
    // SAFETY: the caller's promise.
    let bytes = unsafe { bpf_probe_read_kernel_str(buffer.cast(), 512, shares::name(cgroup) as *const _) };
    bytes > i64::from(shortest)
}

/// A cgroup is removed: `TP_PROTO(struct cgroup *cgrp, const char *path)`.
#[btf_tracepoint(function = "cgroup_rmdir")]
pub fn track_cgroup_rmdir(ctx: BtfTracePointContext) -> i32 {
    let cgroup = number(&ctx);
    if let Some(id) = cgroup_id(cgroup)
        && !is_nested(cgroup, shares::position(cgroup))
        && CGROUPS_GONE.insert(id, 1, 0).is_err()
    {
        note(STAT_CGROUPS_FULL);
    }
    0
}

/// The id of a cgroup of the v2 hierarchy, as `bpf_get_current_cgroup_id` gives it.
#[inline(always)]
fn cgroup_id(cgroup: u64) -> Option<u64> {
    let root: u64 = memory::read(cgroup + offset!(cgroup_root));
    if memory::read::<u32>(root + offset!(cgroup_root_hierarchy)) != 0 {
        return None;
    }
    let node: u64 = memory::read(cgroup + offset!(cgroup_kn));
    Some(memory::read(node + offset!(kernfs_id)))
}

gatewatch_ebpf::object!();
