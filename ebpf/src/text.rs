//! Strings: where they are put together, and their look-up in the tries.

use aya_ebpf::{
    helpers::generated::{
        bpf_map_lookup_elem, bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user_str,
    },
    maps::LpmTrie,
};
use core::ffi::c_void;
use gatewatch_abi::{
    TextKey, TextSlot,
    consts::{
        BINARY_PATH_BYTES, FILTER_BYTES, FILTER_FROM, PATH_BYTES, POSTFIX_BYTES, STAT_NESTED,
        STAT_STRINGS_UNREADABLE, TEXT_BINARY, TEXT_BINPRM, TEXT_FILE, TEXT_KERNEL, TEXT_PATH, TEXT_USER,
        TYPED_NOT, TYPED_TASK,
    },
};

use crate::{
    context::{Context, syscall_arg},
    frozen, memory, offset, path,
    shared::{BINARIES, NESTING, SCRATCH, note},
    spec::{LAYOUT, SPEC},
};

/// A trie of strings.
pub type Texts = LpmTrie<TextKey, u32>;

/// Buffers on each CPU: a program can be interrupted by another one.
pub const LEVELS: u32 = 4;
/// Where a string begins that is copied here whole: after the head of an LPM key.
pub const START: u32 = 8;
/// The head of an LPM key: prefix length (4 bytes) and slot (1 byte).
const HEAD: u32 = 5;
/// An offset in the buffer is kept below this by a mask.
const MASK: u32 = PATH_BYTES as u32 - 1;
/// Where a path ends that is put together from its end.
pub const END: u32 = START + MASK;

/// A buffer for one string, and the state of the loop that puts a path together.
#[repr(C)]
pub struct Scratch {
    /// Mount (`struct vfsmount *`) where the walk stands.
    pub mount: u64,
    /// The mount's root (`struct dentry *`).
    pub mount_root: u64,
    /// Directory entry where it stands.
    pub dentry: u64,
    /// The process's root: its mount.
    pub root_mount: u64,
    /// The process's root: its directory entry.
    pub root_dentry: u64,
    /// Offset in `data` of what has been put together.
    pub offset: u32,
    /// Not 0: the walk is at its end, see `path.rs`.
    pub done: u32,
    /// The string, with room for a key's head before it and for a whole key after it.
    pub data: [u8; PATH_BYTES + 512],
    /// The key of a postfix: the string backwards.
    pub reversed: [u8; 264],
}

/// A [`Scratch`] that was lent to us: see [`with_scratch`].
#[derive(Clone, Copy)]
pub struct Buffer(*mut Scratch);

impl Buffer {
    /// Its address, a map's value.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut Scratch {
        self.0
    }
}

/// A string in a [`Scratch`].
#[derive(Clone, Copy)]
pub struct Text {
    /// Where it begins in `data`.
    pub start: u32,
    /// Its length, without the NUL that follows it.
    pub len: u32,
}

/// Lends a buffer of this CPU to `f`; without one that is free, `f` isn't called.
#[inline(always)]
pub fn with_scratch(f: impl FnOnce(Buffer)) -> bool {
    let Some(nesting) = NESTING.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's own slot; whoever interrupts us puts it back before we go on.
    let level = unsafe { core::ptr::read_volatile(nesting) };
    if level >= LEVELS {
        note(STAT_NESTED);
        return false;
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(level) else { return false };
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(nesting, level + 1) };
    f(Buffer(scratch));
    // SAFETY: as above.
    unsafe { core::ptr::write_volatile(nesting, level) };
    true
}

/// Brings the string of a slot into the buffer. `None`: there is no such string.
#[inline(always)]
pub fn fetch<C: Context>(ctx: C, slot: &'static TextSlot, binary: u64, buffer: Buffer) -> Option<Text> {
    let source = frozen!(slot.source);
    let index = frozen!(slot.arg);
    if source == TEXT_BINARY {
        return from_binary(binary, buffer);
    }
    if C::TYPED && frozen!(slot.typed) != TYPED_NOT {
        let (arg, task) = (ctx.typed_arg(index), frozen!(slot.typed) == TYPED_TASK);
        // SAFETY: the user half has seen the function's prototype, and the verifier sees it, too.
        return unsafe {
            match source {
                TEXT_FILE => path::walk_typed(arg.add(frozen!(LAYOUT.file_path) as usize), task, buffer),
                TEXT_PATH => path::walk_typed(arg, task, buffer),
                _ => None,
            }
        };
    }
    let arg = if frozen!(SPEC.syscall) != 0 { syscall_arg(ctx, index) } else { ctx.arg(index) };
    if arg == 0 {
        return None;
    }
    match source {
        TEXT_FILE => path::walk(arg + offset!(file_path), buffer),
        TEXT_PATH => path::walk(arg, buffer),
        TEXT_BINPRM => {
            path::walk(memory::read::<u64>(arg + offset!(binprm_file)) + offset!(file_path), buffer)
        }
        TEXT_KERNEL | TEXT_USER => copy(arg, source == TEXT_USER, buffer),
        _ => None,
    }
}

/// A C string. The type `string` doesn't say whose memory it is in: the likelier one is tried first.
#[inline(always)]
fn copy(address: u64, user: bool, buffer: Buffer) -> Option<Text> {
    // SAFETY: a field of a map's value.
    let target = unsafe { (&raw mut (*buffer.0).data).cast::<u8>().add(START as usize) }.cast::<c_void>();
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
    Some(Text { start: START, len: (read as u32 - 1) & MASK })
}

/// The path of the process's own program.
#[inline(always)]
fn from_binary(binary: u64, buffer: Buffer) -> Option<Text> {
    // SAFETY: the value is copied at once; an element that is deleted meanwhile is only reused, not freed.
    let stored = unsafe { BINARIES.get(binary) }?;
    // SAFETY: both are in maps' values and long enough.
    unsafe {
        let data = (&raw mut (*buffer.0).data).cast::<u8>().add(START as usize);
        bpf_probe_read_kernel(data.cast(), BINARY_PATH_BYTES as u32, stored.path.as_ptr().cast());
        *data.add(BINARY_PATH_BYTES) = 0;
    }
    let len = if stored.len > BINARY_PATH_BYTES as u32 { BINARY_PATH_BYTES as u32 } else { stored.len };
    Some(Text { start: START, len })
}

/// The row of the longest entry of `PREFIX` that the text begins with.
#[inline(always)]
pub fn prefix_row(
    map: &'static Texts,
    slot: &'static TextSlot,
    number: u32,
    text: Text,
    buffer: Buffer,
) -> Option<u32> {
    let head = (text.start - HEAD) & (MASK | 0x1000);
    if head > END {
        return None;
    }
    // SAFETY: at most END - HEAD, and 260 bytes of key follow; `data` has 512 bytes of room.
    unsafe {
        let key = (&raw mut (*buffer.0).data).cast::<u8>().add(head as usize);
        if !may_begin(slot, key.add(HEAD as usize)) {
            return None;
        }
        lookup(map, key, number)
    }
}

/// Whether an entry of `PREFIX` may be what the text begins with. Most texts end here: this is a tenth of the cost of the
/// look-up in the trie.
///
/// # Safety
///
/// At least [`FILTER_BYTES`] and one bytes of a map's value are at `text`.
#[inline(always)]
unsafe fn may_begin(slot: &'static TextSlot, text: *const u8) -> bool {
    let filter = (&raw const slot.filter).cast::<u64>();
    for i in 0..FILTER_BYTES {
        // SAFETY: the caller's promise; four words for each byte.
        unsafe {
            let byte = text.add(FILTER_FROM + i).read_volatile();
            let word = filter.add(4 * i + usize::from(byte >> 6)).read_volatile();
            if word >> (byte & 63) & 1 == 0 {
                return false;
            }
        }
    }
    true
}

/// The row of the longest entry of `POSTFIX` that the text ends with.
#[inline(always)]
pub fn postfix_row(map: &'static Texts, slot: u32, text: Text, buffer: Buffer) -> Option<u32> {
    // SAFETY: every index is masked to the size of its array.
    unsafe {
        let data = (&raw const (*buffer.0).data).cast::<u8>();
        let key = (&raw mut (*buffer.0).reversed).cast::<u8>();
        let end = text.start + text.len;
        for i in 0..=POSTFIX_BYTES as u32 {
            let byte = if i < text.len { *data.add(((end - 1 - i) & 0x1fff).min(END) as usize) } else { 0 };
            *key.add((HEAD + i) as usize) = byte;
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
unsafe fn lookup(map: &'static Texts, key: *mut u8, slot: u32) -> Option<u32> {
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
