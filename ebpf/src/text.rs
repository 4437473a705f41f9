//! Strings: where they are put together, and their look-up in the tries.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::{
        bpf_get_current_task,
        generated::{
            bpf_map_lookup_elem, bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user_str,
        },
    },
    maps::{Array, LpmTrie},
};
use gatewatch_abi::{
    Step, TextKey, TextSlot,
    consts::{
        BINARY_PATH_BYTES, FROM_NOWHERE, LENGTH_UNKNOWN, MOUNT_OF_ROOT, PATH_BYTES, POSTFIX_BYTES,
        STAT_STRINGS_UNREADABLE, TEXT_BINARY, TEXT_BINPRM, TEXT_BYTES, TEXT_DENTRY, TEXT_DESCRIPTOR,
        TEXT_DEVICE, TEXT_FIELD, TEXT_FILE, TEXT_HAS_POSTFIX, TEXT_KERNEL, TEXT_UNIX, TEXT_USER, TYPED_NOT,
        TYPED_TASK,
    },
    is_path,
};

use crate::{
    context::{Context, any_arg, syscall_arg},
    descriptor, frozen,
    globals::{CONFIG, LAYOUT},
    memory::{self, masked},
    offset, path,
    scratch::{Buffer, LONGEST},
    shape::Shaped,
    shared::{BINARIES, note},
    sockaddr, way,
};

/// A trie of strings' ends.
pub type Ends = LpmTrie<TextKey, u32>;

/// The head of an LPM key: prefix length (4 bytes) and slot (1 byte).
const HEAD: u32 = 5;
/// Whether a slot's string is a path of which only the beginning is asked for: then names are copied while it is looked up.
#[inline(always)]
fn is_lazy<S: Shaped>(slot: &'static TextSlot) -> bool {
    S::SHAPE.beginnings || is_path(frozen!(slot.source)) && frozen!(slot.tables) & TEXT_HAS_POSTFIX == 0
}

/// Brings the string of a slot into the buffer, and gives its length; of a path of which only the beginning is asked for, no
/// more than the names' addresses, and 0. `None`: there is no such string.
#[inline(always)]
pub fn fetch<C: Context, S: Shaped>(
    ctx: C,
    slot: &'static TextSlot,
    binary: u64,
    buffer: Buffer,
) -> Option<u32> {
    let source = frozen!(slot.source);
    let index = frozen!(slot.arg);
    let found = if C::TYPED && frozen!(slot.typed) != TYPED_NOT {
        let inside = if source == TEXT_FILE { frozen!(LAYOUT.file_path) } else { 0 };
        // SAFETY: the agent has seen the function's prototype, and the verifier sees it, too.
        unsafe {
            let path = ctx.typed_arg(index).add(inside as usize);
            path::walk_typed(path, frozen!(slot.typed) == TYPED_TASK, buffer)
        }
    } else {
        let arg = if frozen!(slot.way_from) != FROM_NOWHERE && !S::SHAPE.beginnings {
            way::address(ctx, frozen!(slot.way_from), &slot.way)?
        } else if source == TEXT_BINARY && !S::SHAPE.beginnings {
            if let Some(len) = from_binary(binary, buffer) {
                return Some(len);
            }
            own_program()
        } else if frozen!(CONFIG.syscall) != 0 {
            syscall_arg(ctx, index)
        } else if source == TEXT_DENTRY {
            ctx.arg_as_number(index)
        } else {
            ctx.arg(index)
        };
        let arg = match source {
            TEXT_FIELD if C::FIELDS => ctx.fields() + (arg & 0xffff),
            TEXT_DESCRIPTOR if !S::SHAPE.beginnings => descriptor::file(arg),
            _ => arg,
        };
        if arg == 0 {
            return None;
        }
        // One walk for all of them: each would have a copy of its code.
        let path = match source {
            TEXT_KERNEL | TEXT_USER | TEXT_FIELD if !S::SHAPE.beginnings => {
                return copy(arg, source == TEXT_USER, buffer);
            }
            TEXT_UNIX if !S::SHAPE.beginnings => {
                let beside = frozen!(slot.len_arg);
                let length = if beside == LENGTH_UNKNOWN { u32::MAX } else { any_arg(ctx, beside) as u32 };
                return sockaddr::name(arg, length, buffer);
            }
            TEXT_DEVICE if !S::SHAPE.beginnings => {
                return copy(arg + offset!(net_device_name), false, buffer);
            }
            TEXT_DENTRY => 0,
            TEXT_FILE | TEXT_DESCRIPTOR | TEXT_BINARY => arg + offset!(file_path),
            TEXT_BINPRM => memory::read::<u64>(arg + offset!(binprm_file)) + offset!(file_path),
            _ => arg,
        };
        let place = if source == TEXT_DENTRY {
            let beside = frozen!(slot.mount_arg);
            let mount = if beside == MOUNT_OF_ROOT {
                0
            } else {
                memory::read(ctx.arg_as_number(beside) + offset!(path_mnt))
            };
            path::Place { mount, dentry: arg }
        } else {
            path::place(path)
        };
        path::walk_from(place, buffer)
    };
    if !found {
        return None;
    }
    if is_lazy::<S>(slot) { Some(0) } else { path::whole(buffer) }
}

/// A C string. The type `string` doesn't say whose memory it is in: the likelier one is tried first.
#[inline(always)]
fn copy(address: u64, user: bool, buffer: Buffer) -> Option<u32> {
    // SAFETY: a field of a map's value.
    let target = unsafe { (&raw mut (*buffer.as_ptr()).data).cast::<u8>() }.cast::<c_void>();
    let source = address as *const c_void;
    // SAFETY: `target` has room for PATH_BYTES; the helpers check `source`.
    let read = unsafe {
        let from_user = || bpf_probe_read_user_str(target, PATH_BYTES as u32, source);
        let from_kernel = || bpf_probe_read_kernel_str(target, PATH_BYTES as u32, source);
        let first = if user { from_user() } else { from_kernel() };
        if first > 0 {
            first
        } else if user {
            from_kernel()
        } else {
            from_user()
        }
    };
    if read <= 0 {
        note(STAT_STRINGS_UNREADABLE);
        return None;
    }
    Some((read as u32 - 1) & LONGEST)
}

/// The file of the process's own program, for a path that isn't kept: its pod has no share left for it.
#[inline(always)]
fn own_program() -> u64 {
    // SAFETY: no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let memory: u64 = memory::read(task + offset!(task_mm));
    // A kernel thread has no memory of its own, and no program.
    if memory == 0 { 0 } else { memory::read(memory + offset!(mm_exe_file)) }
}

/// The path of the process's own program.
#[inline(always)]
fn from_binary(binary: u64, buffer: Buffer) -> Option<u32> {
    // SAFETY: the value is copied at once; an element that is deleted meanwhile is only reused, not freed.
    let stored = unsafe { BINARIES.get(binary) }?;
    // SAFETY: both are in maps' values and long enough.
    unsafe {
        let data = (&raw mut (*buffer.as_ptr()).data).cast::<u8>();
        bpf_probe_read_kernel(data.cast(), BINARY_PATH_BYTES as u32, stored.path.as_ptr().cast());
        *data.add(BINARY_PATH_BYTES) = 0;
    }
    let len = if stored.len > BINARY_PATH_BYTES as u32 { BINARY_PATH_BYTES as u32 } else { stored.len };
    Some(len)
}

/// The row of the longest entry of `PREFIX` that the string begins with which [`fetch`] has found. It ends with the first
/// byte that no entry has there: of most paths one name is copied.
#[inline(always)]
pub fn prefix_row<S: Shaped>(map: &'static Array<Step>, slot: &'static TextSlot, buffer: Buffer) -> u32 {
    let lazy = is_lazy::<S>(slot);
    let scratch = buffer.as_ptr();
    // SAFETY: fields of a map's value; what is read of `data` is inside it.
    unsafe {
        let text = (&raw const (*scratch).data).cast::<u8>();
        // In the buffer for the same reason as the state of the walk.
        core::ptr::write_volatile(&raw mut (*scratch).next, u64::from(frozen!(slot.skip)));
        core::ptr::write_volatile(&raw mut (*scratch).from, u64::from(frozen!(slot.from)));
        core::ptr::write_volatile(&raw mut (*scratch).to, u64::from(frozen!(slot.to)));
        core::ptr::write_volatile(&raw mut (*scratch).row, frozen!(slot.begin_row));
        // A turn for each byte; no more than the entries here have, since the verifier goes through all turns.
        let longest = frozen!(slot.longest) as usize;
        for turn in 0..TEXT_BYTES {
            if turn >= longest {
                break;
            }
            let to = core::ptr::read_volatile(&raw const (*scratch).to);
            if to == 0 {
                break;
            }
            let next = core::ptr::read_volatile(&raw const (*scratch).next);
            // A name brings a byte at least, the slash or NUL behind it.
            if lazy
                && next >= core::ptr::read_volatile(&raw const (*scratch).known)
                && !path::copy_name(scratch)
            {
                break;
            }
            let place = to + u64::from(text.add(masked::<0xff>(next) as usize).read_volatile());
            let Some(step) = map.get(place as u32) else { break };
            if u64::from(step.from) != core::ptr::read_volatile(&raw const (*scratch).from) {
                break;
            }
            if step.ends != 0 {
                core::ptr::write_volatile(&raw mut (*scratch).row, step.row);
            }
            core::ptr::write_volatile(&raw mut (*scratch).from, place);
            core::ptr::write_volatile(&raw mut (*scratch).to, u64::from(step.to));
            core::ptr::write_volatile(&raw mut (*scratch).next, next + 1);
        }
        core::ptr::read_volatile(&raw const (*scratch).row)
    }
}

/// The row of the longest entry of `POSTFIX` that the text ends with.
#[inline(always)]
pub fn postfix_row(map: &'static Ends, slot: u32, longest: u32, len: u32, buffer: Buffer) -> Option<u32> {
    // SAFETY: every index is masked to the size of its array.
    unsafe {
        let data = (&raw const (*buffer.as_ptr()).data).cast::<u8>();
        let key = (&raw mut (*buffer.as_ptr()).reversed).cast::<u8>();
        for i in 0..POSTFIX_BYTES as u32 {
            // No entry is compared with the bytes of the key after that.
            if i >= longest {
                break;
            }
            let byte = if i < len { *data.add(((len - 1 - i) & LONGEST) as usize) } else { 0 };
            // Masked, since the compiler knows that this is `len` where the string ends, and the verifier doesn't know that.
            *key.add(HEAD as usize + masked::<{ POSTFIX_BYTES as u32 }>(u64::from(i)) as usize) = byte;
            if byte == 0 {
                break;
            }
        }
        lookup(map, key, slot)
    }
}

/// Writes the head of the key and looks it up. What follows the string's NUL in the key doesn't matter: no entry
/// has a byte after a NUL.
///
/// # Safety
///
/// 260 bytes of the same map value begin at `key`.
#[inline(always)]
unsafe fn lookup(map: &'static Ends, key: *mut u8, slot: u32) -> Option<u32> {
    const BITS: [u8; 4] = (8 * 256_u32).to_ne_bytes();
    // SAFETY: the caller's promise; rows are u32.
    unsafe {
        for (i, byte) in BITS.into_iter().enumerate() {
            *key.add(i) = byte;
        }
        *key.add(4) = slot as u8;
        let row = bpf_map_lookup_elem(core::ptr::from_ref(map).cast_mut().cast(), key.cast()).cast::<u32>();
        if row.is_null() { None } else { Some(*row) }
    }
}
