//! Says which file a uprobe is at. Two paths can lead to one file: containers of one image share its files below their
//! own file systems, and the kernel puts the breakpoint into the file below.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

use aya_ebpf::{
    bindings::bpf_pidns_info,
    helpers::generated::bpf_get_ns_current_pid_tgid,
    macros::{kprobe, map},
    maps::HashMap,
    programs::ProbeContext,
};

/// The device of the agent's pid namespace: the agent knows the numbers of its threads there. It writes both before the program
/// is loaded.
#[unsafe(no_mangle)]
static NAMESPACE_DEVICE: u64 = 0;
/// Its inode.
#[unsafe(no_mangle)]
static NAMESPACE_INODE: u64 = 0;

/// By thread: the address of the inode that its last uprobe was registered at. The agent makes the entries.
#[map]
static INODES: HashMap<u32, u64> = HashMap::with_max_entries(1_024, 0);

/// At `uprobe_register` (kernel/events/uprobes.c), whose first argument is the inode. It stays the same one, and no other has
/// its address, while a uprobe is registered at it.
#[kprobe]
pub fn uprobe_registered(ctx: ProbeContext) -> u32 {
    let mut thread = bpf_pidns_info { pid: 0, tgid: 0 };
    let length = core::mem::size_of::<bpf_pidns_info>() as u32;
    // SAFETY: read as the agent has written them; the helper writes into a local variable of this length.
    let result = unsafe {
        let device = (&raw const NAMESPACE_DEVICE).read_volatile();
        let inode = (&raw const NAMESPACE_INODE).read_volatile();
        bpf_get_ns_current_pid_tgid(device, inode, &raw mut thread, length)
    };
    if result != 0 {
        return 0;
    }
    let Some(place) = INODES.get_ptr_mut(thread.pid) else { return 0 };
    let Some(inode) = ctx.arg::<u64>(0) else { return 0 };
    // SAFETY: a map's value, that this thread alone writes.
    unsafe { *place = inode };
    0
}

// As in `attach`: the library's maps aren't wanted here.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel gives some helpers only to programs under a licence compatible with its own.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
