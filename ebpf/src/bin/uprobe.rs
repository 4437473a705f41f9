//! Says which file a uprobe is at. Two paths can lead to one file: containers of one image share its files below their
//! own file systems, and the kernel puts the breakpoint into the file below.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "aya's macros drop the documentation of programs")]

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{kprobe, map},
    maps::HashMap,
    programs::ProbeContext,
};

/// By thread: the address of the inode that its last uprobe was registered at. The agent makes the entries.
#[map]
static INODES: HashMap<u32, u64> = HashMap::with_max_entries(1_024, 0);

/// At `uprobe_register` (kernel/events/uprobes.c), whose first argument is the inode. It stays the same one, and no other has
/// its address, while a uprobe is registered at it.
#[kprobe]
pub fn uprobe_registered(ctx: ProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid() as u32;
    let Some(place) = INODES.get_ptr_mut(thread) else { return 0 };
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
