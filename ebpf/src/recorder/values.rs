//! The values of a record: a function for each class, which reads it and puts it behind the ones before.

use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user_str,
};
use gatewatch_abi::record::consts::{
    ARG_CUT, ARG_NO_BUFFER, ARG_UNREADABLE, ARG_WHOLE, AS_BINPRM, AS_BYTES, AS_DENTRY, AS_FD,
    AS_FIELD_STRING, AS_FILE, AS_FILENAME, AS_KIOCB, AS_NOTHING, AS_NUMBER, AS_PATH, AS_POINTED, AS_SKB,
    AS_SOCK, AS_SOCKADDR, AS_SOCKET, AS_STRING, AS_SYSCALL, DIRECT, RECORD_ARGS, VALUE_BYTES,
};
use gatewatch_ebpf::{
    arch::read_bytes,
    descriptor,
    integer::{sock_of, syscall},
    memory::{self, masked, try_read},
    offset, path,
    scratch::with_scratch,
};

use crate::{
    hooks::RECORD_HOOKS,
    sockets,
    space::{self, Space},
};

/// Reads value `i` of a hook. As all functions here, one that the verifier checks once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn value(level: u32, of: u32, i: u32) -> u32 {
    let (Some(space), Some(hook)) = (space::at(level), RECORD_HOOKS.get(of)) else { return 0 };
    let arg = &hook.args[i as usize & (RECORD_ARGS - 1)];
    // SAFETY: a field of a map's value.
    let ctx = unsafe { (*space).ctx };
    let first: u64 = memory::read(ctx + u64::from(arg.offset));
    let mut raw = if arg.within == DIRECT { first } else { memory::read(first + u64::from(arg.within)) };
    if arg.half != 0 {
        raw &= u64::from(u32::MAX);
    }
    let class = arg.class;
    match class {
        AS_NUMBER => number(level, class, raw, ARG_WHOLE.into()),
        AS_SYSCALL => number(level, class, syscall(raw), ARG_WHOLE.into()),
        AS_POINTED => match try_read(raw) {
            Some(pointed) => number(level, class, pointed, ARG_WHOLE.into()),
            None => none(level, class, ARG_UNREADABLE.into()),
        },
        AS_STRING => string(level, class, raw, arg.user),
        AS_FIELD_STRING => string(level, class, ctx + (raw & 0xffff), 0),
        AS_FILENAME => string(level, class, memory::read(raw + offset!(filename_name)), 0),
        AS_BYTES => {
            let size: u64 = match (arg.beside, arg.within) {
                (DIRECT, _) => 0,
                (beside, DIRECT) => memory::read(ctx + u64::from(beside)),
                (beside, _) => memory::read(first + u64::from(beside)),
            };
            bytes(level, class, raw, if arg.half == 0 { size } else { size & u64::from(u32::MAX) })
        }
        AS_FILE => path_at(level, class, raw, raw + offset!(file_path)),
        AS_PATH => path_at(level, class, raw, raw),
        AS_BINPRM => {
            let file: u64 = memory::read(raw + offset!(binprm_file));
            path_at(level, class, file, file + offset!(file_path))
        }
        AS_KIOCB => {
            let file: u64 = memory::read(raw + offset!(kiocb_file));
            path_at(level, class, file, file + offset!(file_path))
        }
        AS_FD => {
            let file = descriptor::file(raw);
            path_at(level, class, file, file + offset!(file_path))
        }
        AS_DENTRY => {
            let beside: u64 = if arg.beside == DIRECT {
                0
            } else {
                let path: u64 = memory::read(ctx + u64::from(arg.beside));
                memory::read(path + offset!(path_mnt))
            };
            path_of(level, class, beside, raw)
        }
        AS_SOCK => sockets::sock(level, class, raw),
        AS_SOCKET => sockets::sock(level, class, sock_of(raw)),
        AS_SOCKADDR => sockets::sockaddr(level, raw),
        AS_SKB => sockets::skb(level, raw),
        _ => none(level, AS_NOTHING, ARG_UNREADABLE.into()),
    }
}

/// A value that can't be had.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn none(level: u32, class: u32, status: u32) -> u32 {
    if let Some(space) = space::at(level) {
        space::put_none(space, class, status as u16);
    }
    0
}

/// Eight bytes.
#[unsafe(no_mangle)]
#[inline(never)]
#[allow(clippy::cast_ptr_alignment, reason = "values begin at multiples of 8")]
extern "C" fn number(level: u32, class: u32, value: u64, status: u32) -> u32 {
    let Some(space) = space::at(level) else { return 0 };
    let to = space::room(space);
    if to.is_null() {
        space::put_no_room(space, class);
    } else {
        // SAFETY: there is room.
        unsafe { *to.cast::<u64>() = value }
        space::put(space, class, status as u16, 8, 8);
    }
    0
}

/// A C string. `user`: the program's memory is tried first.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn string(level: u32, class: u32, address: u64, user: u32) -> u32 {
    let Some(space) = space::at(level) else { return 0 };
    let to = space::room(space);
    if to.is_null() {
        space::put_no_room(space, class);
        return 0;
    }
    let from = address as *const _;
    // SAFETY: there is room for so many bytes; the helpers check `from`.
    let read = unsafe {
        let from_user = || bpf_probe_read_user_str(to.cast(), VALUE_BYTES, from);
        let from_kernel = || bpf_probe_read_kernel_str(to.cast(), VALUE_BYTES, from);
        let first = if user == 0 { from_kernel() } else { from_user() };
        if first > 0 {
            first
        } else if user == 0 {
            from_user()
        } else {
            from_kernel()
        }
    };
    if read <= 0 {
        space::put_none(space, class, ARG_UNREADABLE);
        return 0;
    }
    let len = masked::<0xfff>(read as u64 - 1);
    let status = if len == u64::from(VALUE_BYTES) - 1 { ARG_CUT } else { ARG_WHOLE };
    end(space, to, class, status, len as u32, len);
    0
}

/// Bytes of the program's memory, or of the kernel's.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn bytes(level: u32, class: u32, address: u64, size: u64) -> u32 {
    let Some(space) = space::at(level) else { return 0 };
    let to = space::room(space);
    if to.is_null() {
        space::put_no_room(space, class);
        return 0;
    }
    let most = u64::from(VALUE_BYTES) - 1;
    let len = masked::<0xfff>(if size > most { most } else { size });
    // SAFETY: there is room for so many bytes; the helpers check the address.
    let read = unsafe { read_bytes(to, len as u32, address) };
    if read {
        let status = if size > most { ARG_CUT } else { ARG_WHOLE };
        end(space, to, class, status, len as u32, size);
    } else {
        space::put(space, class, ARG_UNREADABLE, 0, size);
    }
    0
}

/// The path that a `struct path` names, which is of an object that is there.
#[inline(always)]
fn path_at(level: u32, class: u32, object: u64, path: u64) -> u32 {
    if object == 0 {
        return none(level, class, ARG_UNREADABLE.into());
    }
    let place = path::place(path);
    path_of(level, class, place.mount, place.dentry)
}

/// The path of a directory entry in a mount.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn path_of(level: u32, class: u32, mount: u64, dentry: u64) -> u32 {
    let Some(space) = space::at(level) else { return 0 };
    let to = space::room(space);
    if to.is_null() {
        space::put_no_room(space, class);
        return 0;
    }
    let mut found = false;
    let lent = with_scratch(|buffer| {
        if !path::walk_from(path::Place { mount, dentry }, buffer) {
            return;
        }
        let Some(len) = path::whole(buffer) else { return };
        let len = masked::<0xfff>(u64::from(len));
        // SAFETY: both are in maps' values and long enough.
        unsafe {
            let from = (&raw const (*buffer.as_ptr()).data).cast();
            bpf_probe_read_kernel(to.cast(), len as u32, from);
        }
        found = true;
        end(space, to, class, ARG_WHOLE, len as u32, len);
    });
    if !found {
        space::put_none(space, class, if lent { ARG_UNREADABLE } else { ARG_NO_BUFFER });
    }
    0
}

/// Ends a value whose bytes are at `to`. What follows them up to the next word is cleared, since words are compared.
#[inline(always)]
fn end(space: *mut Space, to: *mut u8, class: u32, status: u16, len: u32, of: u64) {
    // SAFETY: behind the bytes is room for a word.
    unsafe {
        let behind = to.add(masked::<0xfff>(u64::from(len)) as usize);
        for i in 0..8 {
            core::ptr::write_volatile(behind.add(i), 0);
        }
    }
    space::put(space, class, status, len, of);
}
