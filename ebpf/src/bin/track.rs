//! Follows processes and cgroups.
#![no_std]
#![no_main]
#![allow(
    clippy::needless_borrows_for_generic_args,
    reason = "a value of 512 bytes has no place on the stack"
)]
#![allow(clippy::cast_ptr_alignment, reason = "the path in a `Binary` begins at 16")]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_F_NO_PREALLOC,
    helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str},
    macros::{btf_tracepoint, map},
    maps::HashMap,
    programs::BtfTracePointContext,
};
use gatewatch_abi::{
    Binary, HOST_PROGRAM, Process, SHARE_PROGRAMS, Share,
    consts::{
        BINARY_PATH_BYTES, PLACES, STAT_BINARIES_FULL, STAT_CGROUPS_FULL, STAT_PODS_FULL, STAT_PROCESSES_FULL,
    },
    mix, named,
};
use gatewatch_ebpf::{
    frozen,
    globals::{HASH_KEY, HOST_MOUNTS},
    memory::{self, masked},
    offset, path,
    scratch::{Buffer, with_scratch},
    shared::{BINARIES, NOEXIST, PROCESSES, note},
    shares::{self, PODS, Position, pod_of_current},
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
    with_scratch(|buffer| process.binary = program(binprm, host, buffer));
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
    let nsproxy: u64 = memory::read(task + offset!(task_nsproxy));
    let mounts: u64 = memory::read(nsproxy + offset!(nsproxy_mnt));
    let inside = u64::from(memory::read::<u32>(mounts + offset!(mnt_inum))) == frozen!(HOST_MOUNTS);
    if inside { before & HOST_PROGRAM } else { 0 }
}

/// The id of the program of a `struct linux_binprm`; its path is kept. 0 where there is none.
#[inline(always)]
fn program(binprm: u64, host: u64, buffer: Buffer) -> u64 {
    let file: u64 = memory::read(binprm + offset!(binprm_file));
    if !path::walk(file + offset!(file_path), buffer) {
        return 0;
    }
    let Some(len) = path::whole(buffer) else { return 0 };
    // SAFETY: a field of a map's value.
    let binary = unsafe { &raw mut (*buffer.as_ptr()).binary };
    // SAFETY: fields of a map's value, which no other program has now; the length is bounded.
    unsafe {
        let words = (&raw mut (*binary).path).cast::<u64>();
        for i in 0..BINARY_PATH_BYTES / 8 {
            // Volatile, or the compiler makes a memset of it, which is a loop over bytes here.
            core::ptr::write_volatile(words.add(i), 0);
        }
        (*binary).owner = pod_of_current();
        (*binary).len = len;
        let kept = if len > BINARY_PATH_BYTES as u32 { BINARY_PATH_BYTES as u32 } else { len };
        let from = (&raw const (*buffer.as_ptr()).data).cast();
        let kept = masked::<0x1ff>(u64::from(kept));
        bpf_probe_read_kernel((&raw mut (*binary).path).cast(), kept as u32, from);
        let mut id = mix(frozen!(HASH_KEY), u64::from(len));
        for i in 0..BINARY_PATH_BYTES / 8 {
            if i * 8 >= kept as usize {
                break;
            }
            id = mix(id, core::ptr::read_volatile(words.add(i)));
        }
        id = named(id) | host;
        if BINARIES.get_ptr(id).is_none() && !keep(id, binary) {
            note(STAT_BINARIES_FULL);
        }
        id
    }
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
    if unsafe { PROCESSES.get(id) }.is_some_and(|process| process.task == task || process.task == 0) {
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
