//! Records of processes: made, running another program, ended.

use aya_ebpf::helpers::{bpf_get_current_task, generated::bpf_ktime_get_boot_ns};
use gatewatch_abi::{
    BudgetKey, Layout, RecordExec,
    consts::{
        NS_CGROUP, NS_IPC, NS_MNT, NS_NET, NS_PID, NS_PID_FOR_CHILDREN, NS_TIME, NS_TIME_FOR_CHILDREN,
        NS_USER, NS_UTS, STAT_PROCESS_RECORDS,
    },
    record::consts::{
        ARG_UNREADABLE, AS_BYTES, AS_PATH, AS_STRING, NAMESPACES, RECORD_EXEC, RECORD_EXIT, RECORD_FORK,
    },
};
use gatewatch_ebpf::{frozen, globals::LAYOUT, integer, memory, offset, path, shared::note};

use crate::{
    limits,
    space::{self, NO_SPACE, Space},
    values,
};

/// Claims a space for a record of the current process, and sends it, unless `fill` finds that there is nothing to record.
#[inline(always)]
fn with_record(kind: u32, fill: impl FnOnce(u32, *mut Space)) {
    let budget = BudgetKey { policy: limits::PROCESSES, pod: space::record_pod() };
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if !limits::has(&budget, now) {
        return note(STAT_PROCESS_RECORDS);
    }
    let level = space::claim();
    if level == NO_SPACE {
        return note(STAT_PROCESS_RECORDS);
    }
    if let Some(space) = space::at(level) {
        space::begin(space, kind, space::cgroup(), budget.pod);
        fill(level, space);
        if space::send(space) {
            limits::take(&budget, now);
        } else {
            note(STAT_PROCESS_RECORDS);
        }
    }
    space::release(level);
}

/// The current process has made another one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fork(parent: u64, child: u64) -> u32 {
    let id: u32 = memory::read(child + offset!(task_tgid));
    if id == memory::read::<u32>(parent + offset!(task_tgid)) {
        return 0; // a thread
    }
    with_record(RECORD_FORK, |_, space| {
        let head = space::head_of(space);
        // SAFETY: a map's value.
        unsafe {
            (*head).hook = id;
            (*head).more = memory::read(child + offset!(task_start));
        }
    });
    0
}

/// The last thread of the current process ends.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn exit(task: u64) -> u32 {
    let signal: u64 = memory::read(task + offset!(task_signal));
    if memory::read::<u32>(signal + offset!(signal_live)) != 0 {
        return 0;
    }
    with_record(RECORD_EXIT, |_, space| {
        let of_group: u32 = memory::read(signal + offset!(signal_group_exit_code));
        let own: u32 = memory::read(task + offset!(task_exit_code));
        // SAFETY: a map's value.
        unsafe { (*space::head_of(space)).selector = if of_group == 0 { own } else { of_group } }
    });
    0
}

/// The current process runs the program of a `struct linux_binprm`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn exec(binprm: u64) -> u32 {
    with_record(RECORD_EXEC, |level, space| {
        // SAFETY: no preconditions.
        let task = unsafe { bpf_get_current_task() };
        // SAFETY: a map's value.
        unsafe { (*space::head_of(space)).args = 3 }
        credentials(level);
        values::string(level, AS_STRING, memory::read(binprm + offset!(binprm_filename)), 0);
        let fs: u64 = memory::read(task + offset!(task_fs));
        let pwd = path::place(fs + offset!(fs_pwd));
        values::path_of(level, AS_PATH, pwd.mount, pwd.dentry);
        let mm: u64 = memory::read(task + offset!(task_mm));
        let (start, end): (u64, u64) =
            (memory::read(mm + offset!(mm_arg_start)), memory::read(mm + offset!(mm_arg_end)));
        if start == 0 || end < start {
            values::none(level, AS_BYTES, ARG_UNREADABLE.into());
        } else {
            values::bytes(level, AS_BYTES, start, end - start);
        }
    });
    0
}

/// Who the current process is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn credentials(level: u32) -> u32 {
    let Some(space) = space::at(level) else { return 0 };
    let to: *mut RecordExec = space::part(space);
    // SAFETY: there is room.
    unsafe {
        let task = bpf_get_current_task();
        let leader: u64 = memory::read(task + offset!(task_group_leader));
        let parent: u64 = memory::read(leader + offset!(task_real_parent));
        let parent: u64 = memory::read(parent + offset!(task_group_leader));
        let cred: u64 = memory::read(task + offset!(task_cred));
        (*to).parent_start = memory::read(parent + offset!(task_start));
        (*to).parent = memory::read(parent + offset!(task_tgid));
        (*to).effective = memory::read(cred + offset!(cred_cap_effective));
        (*to).permitted = memory::read(cred + offset!(cred_cap_permitted));
        (*to).inheritable = memory::read(cred + offset!(cred_cap_inheritable));
        (*to).ns_pid = integer::ns_pid() as u32;
        (*to).auid = if frozen!(LAYOUT.task_auid) == Layout::ABSENT {
            u32::MAX
        } else {
            memory::read(task + offset!(task_auid))
        };
        (*to).ids = memory::read(cred + offset!(cred_uid));
        (*to).securebits = memory::read(cred + offset!(cred_securebits));
        macro_rules! namespaces {
            ($($kind:expr)*) => {$(
                const { assert!(($kind as usize) < NAMESPACES) };
                (*to).namespaces[$kind as usize] = integer::namespace($kind) as u32;
            )*};
        }
        namespaces!(NS_UTS NS_IPC NS_MNT NS_PID NS_PID_FOR_CHILDREN NS_NET NS_TIME NS_TIME_FOR_CHILDREN NS_CGROUP NS_USER);
    }
    0
}
