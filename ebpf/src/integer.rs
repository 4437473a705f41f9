//! Integers: where each comes from.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_task};
use gatewatch_abi::{
    IntSlot, Layout,
    consts::{
        CAPS_EFFECTIVE, CAPS_PERMITTED, FILE_TYPE_SHIFT, FORK_LEVELS, INT_ARG, INT_CAPABILITIES,
        INT_CAPS_ARG, INT_CAPS_GAINED, INT_DESCENDS, INT_FILE_TYPE, INT_NAMESPACE, INT_NS_PID, INT_PID,
        INT_RETURN, INT_SKB, INT_SOCK, INT_SOCKADDR, INT_SOCKET, INT_SYSCALL, INT_WAY, NS_CGROUP, NS_IPC,
        NS_MNT, NS_NET, NS_PID, NS_PID_FOR_CHILDREN, NS_TIME, NS_TIME_FOR_CHILDREN, NS_USER, NS_UTS,
        SOCK_DPORT, SOCK_FAMILY, SOCK_PROTOCOL, SOCK_SPORT, SYSCALL_BY_32_BITS, TYPE_OF_DESCRIPTOR,
        TYPE_OF_FILE, VALUE_POINTER,
    },
};

use crate::{
    arch::calls_by_32_bits,
    context::{Context, any_arg, syscall_arg},
    descriptor, frozen,
    globals::{CONFIG, LAYOUT},
    internet::{AF_INET, AF_INET6, mapped},
    memory, offset, packet,
    shape::Shaped,
    sockaddr, way,
};

/// `sizeof(struct upid)`: an `int` and a pointer, include/linux/pid.h.
const UPID_SIZE: u64 = 16;

/// The value of a slot, sign-extended to 64 bits. `None`: there is no such value.
#[inline(always)]
pub fn value<C: Context, S: Shaped>(ctx: C, slot: &'static IntSlot) -> Option<u64> {
    let part = frozen!(slot.part);
    match frozen!(slot.source) {
        INT_ARG => {
            let index = frozen!(slot.arg);
            let raw = if frozen!(CONFIG.syscall) != 0 {
                syscall_arg(ctx, index)
            } else if part == VALUE_POINTER {
                ctx.arg_as_number(index)
            } else {
                ctx.arg(index)
            };
            Some(extend(raw, slot))
        }
        INT_RETURN => {
            let params = frozen!(CONFIG.params);
            let raw = if part == VALUE_POINTER { ctx.result_as_number(params) } else { ctx.result(params) };
            Some(extend(raw, slot))
        }
        _ if S::SHAPE.plain => None,
        INT_PID => Some(bpf_get_current_pid_tgid() >> 32),
        INT_NS_PID => Some(ns_pid()),
        INT_NAMESPACE => Some(namespace(part)),
        INT_CAPABILITIES => Some(capabilities(part)),
        INT_SOCK => socket(ctx.arg(frozen!(slot.arg)), part),
        INT_SKB if S::SHAPE.rare => packet::number(ctx.arg_as_number(frozen!(slot.arg)), part),
        INT_FILE_TYPE if S::SHAPE.rare && part == TYPE_OF_DESCRIPTOR => {
            file_type(descriptor::file(any_arg(ctx, frozen!(slot.arg))), TYPE_OF_FILE)
        }
        INT_FILE_TYPE if S::SHAPE.rare => file_type(ctx.arg(frozen!(slot.arg)), part),
        INT_SOCKET if S::SHAPE.rare => socket(sock_of(ctx.arg_as_number(frozen!(slot.arg))), part),
        INT_SOCKADDR if S::SHAPE.rare => sockaddr::number(any_arg(ctx, frozen!(slot.arg)), part),
        INT_SYSCALL if S::SHAPE.rare => Some(syscall(ctx.arg_as_number(frozen!(slot.arg)))),
        INT_CAPS_ARG if S::SHAPE.rare => capability_set(ctx.arg_as_number(frozen!(slot.arg))),
        INT_CAPS_GAINED if S::SHAPE.rare => {
            gained(ctx.arg_as_number(part), ctx.arg_as_number(frozen!(slot.arg)))
        }
        INT_WAY if S::SHAPE.rare => {
            let address = way::address(ctx, frozen!(slot.arg), &slot.values)?;
            way::number(address, frozen!(slot.bits), part).map(|value| extend(value, slot))
        }
        INT_DESCENDS if S::SHAPE.rare => {
            let pair = |i: usize| frozen!(slot.values[i]) | frozen!(slot.values[i + 1]) << 32;
            Some(u64::from(descends(part, pair(0), pair(2))))
        }
        _ => None,
    }
}

/// Takes the bits of the value's type out of the register.
#[inline(always)]
fn extend(raw: u64, slot: &'static IntSlot) -> u64 {
    let signed = frozen!(slot.signed) != 0;
    let bits = frozen!(slot.bits);
    match bits {
        32 if signed => raw as i32 as u64,
        32 => u64::from(raw as u32),
        // Seldom, so by two shifts, and not by a conversion for each width: the kernel would keep them all.
        _ => {
            let unused = u64::from(64 - bits) & 63;
            let upper = raw << unused;
            if signed { (upper as i64 >> unused) as u64 } else { upper >> unused }
        }
    }
}

/// The process's id as it sees it itself.
#[inline(never)]
pub fn ns_pid() -> u64 {
    // SAFETY: no preconditions.
    let task = unsafe { bpf_get_current_task() } as u64;
    let leader: u64 = memory::read(task + offset!(task_group_leader));
    let upid = innermost(leader);
    u64::from(memory::read::<u32>(upid + offset!(upid_nr)))
}

/// The `struct upid` of a task in its own pid namespace.
#[inline(always)]
fn innermost(task: u64) -> u64 {
    let pid: u64 = memory::read(task + offset!(task_thread_pid));
    let level = memory::read::<u32>(pid + offset!(pid_level)) & 31;
    upid(pid, level)
}

/// Whether the process or one of its ancestors has one of these ids, two in each word. With `namespaced` they are ids in
/// the process's own pid namespace, where an ancestor outside of it has the id 0, as `getppid` has it.
#[inline(never)]
fn descends(namespaced: u32, first: u64, second: u64) -> bool {
    // SAFETY: no preconditions.
    let task = unsafe { bpf_get_current_task() } as u64;
    let mut leader: u64 = memory::read(task + offset!(task_group_leader));
    let (mut level, mut namespace) = (0, 0_u64);
    if namespaced != 0 {
        let pid: u64 = memory::read(leader + offset!(task_thread_pid));
        level = memory::read::<u32>(pid + offset!(pid_level)) & 31;
        namespace = memory::read(upid(pid, level) + offset!(upid_ns));
    }
    for _ in 0..FORK_LEVELS {
        let id = if namespaced == 0 {
            memory::read(leader + offset!(task_tgid))
        } else {
            id_inside(leader, level, namespace)
        };
        // The idle task is not an ancestor. In a PID namespace, 0 is the id of every process outside it.
        if id == 0 && level == 0 {
            return false;
        }
        if id == first as u32
            || id == (first >> 32) as u32
            || id == second as u32
            || id == (second >> 32) as u32
        {
            return true;
        }
        if id == 0 {
            return false;
        }
        let parent: u64 = memory::read(leader + offset!(task_real_parent));
        leader = memory::read(parent + offset!(task_group_leader));
    }
    false
}

/// The id of a process in this pid namespace; 0 where it isn't in it.
#[inline(always)]
fn id_inside(leader: u64, level: u32, namespace: u64) -> u32 {
    let pid: u64 = memory::read(leader + offset!(task_thread_pid));
    if memory::read::<u32>(pid + offset!(pid_level)) < level {
        return 0;
    }
    let upid = upid(pid, level);
    if memory::read::<u64>(upid + offset!(upid_ns)) == namespace {
        memory::read(upid + offset!(upid_nr))
    } else {
        0
    }
}

/// The `struct upid` of a `struct pid` at a level.
#[inline(always)]
fn upid(pid: u64, level: u32) -> u64 {
    pid + offset!(pid_numbers) + u64::from(level) * UPID_SIZE
}

/// The type of a file. `None`: there is no file, or it isn't made yet.
#[inline(never)]
fn file_type(argument: u64, part: u32) -> Option<u64> {
    let inode: u64 = if part == TYPE_OF_FILE {
        memory::read(argument + offset!(file_inode))
    } else {
        let dentry: u64 = memory::read(argument + offset!(path_dentry));
        memory::read(dentry + offset!(dentry_inode))
    };
    if argument == 0 || inode == 0 {
        return None;
    }
    Some(u64::from(memory::read::<u16>(inode + offset!(inode_mode)) >> FILE_TYPE_SHIFT))
}

/// The inode number of one of the task's namespaces.
#[inline(never)]
pub fn namespace(part: u32) -> u64 {
    // SAFETY: no preconditions.
    let task = unsafe { bpf_get_current_task() } as u64;
    let through_nsproxy = |member: u64, inum: u64| {
        let nsproxy: u64 = memory::read(task + offset!(task_nsproxy));
        let ns: u64 = memory::read(nsproxy + member);
        memory::read::<u32>(ns + inum)
    };
    let inum = match part {
        NS_UTS => through_nsproxy(offset!(nsproxy_uts), offset!(uts_inum)),
        NS_IPC => through_nsproxy(offset!(nsproxy_ipc), offset!(ipc_inum)),
        NS_MNT => through_nsproxy(offset!(nsproxy_mnt), offset!(mnt_inum)),
        NS_PID => {
            let ns: u64 = memory::read(innermost(task) + offset!(upid_ns));
            memory::read::<u32>(ns + offset!(pidns_inum))
        }
        NS_PID_FOR_CHILDREN => through_nsproxy(offset!(nsproxy_pid_for_children), offset!(pidns_inum)),
        NS_NET => through_nsproxy(offset!(nsproxy_net), offset!(net_inum)),
        NS_TIME => through_nsproxy(offset!(nsproxy_time), offset!(time_inum)),
        NS_TIME_FOR_CHILDREN => through_nsproxy(offset!(nsproxy_time_for_children), offset!(time_inum)),
        NS_CGROUP => through_nsproxy(offset!(nsproxy_cgroup), offset!(cgroupns_inum)),
        NS_USER => {
            let cred: u64 = memory::read(task + offset!(task_cred));
            let ns: u64 = memory::read(cred + offset!(cred_user_ns));
            memory::read::<u32>(ns + offset!(user_inum))
        }
        _ => 0,
    };
    u64::from(inum)
}

/// One of the task's capability sets. 64 bits wide on every kernel: before 6.3 it was an array of two `u32`, with
/// the lower half first, which is the same on the little-endian machines that we run on.
#[inline(never)]
fn capabilities(part: u32) -> u64 {
    // SAFETY: no preconditions.
    let cred: u64 = memory::read(unsafe { bpf_get_current_task() } as u64 + offset!(task_cred));
    let member = match part {
        CAPS_EFFECTIVE => offset!(cred_cap_effective),
        CAPS_PERMITTED => offset!(cred_cap_permitted),
        _ => offset!(cred_cap_inheritable),
    };
    memory::read(cred + member)
}

/// The number of a system call, with the bit that tells the two kinds of calls apart.
#[inline(never)]
pub fn syscall(number: u64) -> u64 {
    // SAFETY: no preconditions.
    let task = unsafe { bpf_get_current_task() } as u64;
    if calls_by_32_bits(task) { number | SYSCALL_BY_32_BITS } else { number }
}

/// The capability set at an address. `None`: there is none.
#[inline(never)]
fn capability_set(address: u64) -> Option<u64> {
    memory::try_read(address)
}

/// The capabilities that the second set has and the first one has not. `None`: one of the sets can't be read.
#[inline(never)]
fn gained(old: u64, new: u64) -> Option<u64> {
    let old: u64 = memory::try_read(old)?;
    let new: u64 = memory::try_read(new)?;
    Some(new & !old)
}

/// A part of a socket. Ports exist for IPv4 and IPv6 only.
#[inline(never)]
fn socket(sock: u64, part: u32) -> Option<u64> {
    if sock == 0 {
        return None;
    }
    let family: u16 = memory::read(sock + offset!(sock_family));
    let internet = family == AF_INET || family == AF_INET6;
    match part {
        SOCK_SPORT if internet => Some(u64::from(memory::read::<u16>(sock + offset!(sock_num)))),
        SOCK_DPORT if internet => Some(u64::from(u16::from_be(memory::read(sock + offset!(sock_dport))))),
        SOCK_SPORT | SOCK_DPORT => None,
        SOCK_PROTOCOL => Some(u64::from(memory::read::<u16>(sock + offset!(sock_protocol)))),
        SOCK_FAMILY => Some(u64::from(family)),
        _ => Some(u64::from(memory::read::<u8>(sock + offset!(sock_state)))),
    }
}

/// The `struct sock` of a `struct socket`; 0 where there is none.
#[inline(always)]
pub fn sock_of(socket: u64) -> u64 {
    memory::read(socket + offset!(socket_sk))
}

/// An address of a socket, IPv4 as `::ffff:a.b.c.d`. `None`: it is neither IPv4 nor IPv6.
#[inline(always)]
pub fn address(sock: u64, source: bool) -> Option<[u8; 16]> {
    if sock == 0 {
        return None;
    }
    match memory::read::<u16>(sock + offset!(sock_family)) {
        AF_INET => {
            let member = if source { offset!(sock_rcv_saddr) } else { offset!(sock_daddr) };
            Some(mapped(memory::read(sock + member)))
        }
        AF_INET6 => {
            let member =
                if source { frozen!(LAYOUT.sock_v6_rcv_saddr) } else { frozen!(LAYOUT.sock_v6_daddr) };
            if member == Layout::ABSENT { None } else { Some(memory::read(sock + u64::from(member))) }
        }
        _ => None,
    }
}
