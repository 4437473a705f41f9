//! The commands of the system call `bpf` that aya has no function for: reading many entries of a map at once, and
//! programs for fprobe. The only place of the agent's kernel side that makes this call itself.
#![allow(unsafe_code, reason = "aya has no function for these commands")]

use std::{
    ffi::{CStr, CString},
    io,
    mem::zeroed,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    ptr::null,
};

use aya_obj::{
    Function, Program,
    generated::{BPF_F_UPROBE_MULTI_RETURN, bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_type},
};

/// Makes the call.
///
/// # Safety
///
/// Every pointer that the command reads from `attr` is valid for as many bytes as `attr` says, and for writing where the
/// kernel writes.
unsafe fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are as long as is said, and the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attr, size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The same for a command whose result is a new descriptor.
///
/// # Safety
///
/// As for [`call`]; and the command is one of those that make a descriptor.
unsafe fn call_for_fd(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { call(command, attr) }?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn nothing() -> bpf_attr {
    // SAFETY: all fields are numbers.
    unsafe { zeroed() }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    // The kernel's types differ between commands; a descriptor is never negative.
    fd.as_raw_fd().cast_unsigned()
}

fn length(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// Loads type information of an object's own.
pub(super) fn load_types(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = nothing();
    attr.__bindgen_anon_7.btf = bytes.as_ptr() as u64;
    attr.__bindgen_anon_7.btf_size = length(bytes.len());
    // SAFETY: `btf` points to as many bytes.
    unsafe { call_for_fd(bpf_cmd::BPF_BTF_LOAD, &mut attr) }
}

/// Loads a program for links of one of the types with many functions: a kprobe program that says when it is loaded that it will
/// be attached so. With room for a `log`, the kernel writes there what it thinks of the program.
pub(super) fn load_for_multi(
    name: &str,
    program: &Program,
    function: &Function,
    link_type: bpf_attach_type,
    types: Option<BorrowedFd<'_>>,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    let (lines, functions) = (function.line_info.line_info_bytes(), function.func_info.func_info_bytes());
    let mut attr = nothing();
    // SAFETY: all fields are numbers.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32;
    load.expected_attach_type = link_type as u32;
    // The last byte stays 0.
    let kept = load.prog_name.len() - 1;
    for (place, byte) in load.prog_name[..kept].iter_mut().zip(name.bytes()) {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    load.insns = function.instructions.as_ptr() as u64;
    load.insn_cnt = length(function.instructions.len());
    load.license = program.license.as_ptr() as u64;
    if let Some(types) = types {
        load.prog_btf_fd = raw(types);
        load.line_info = lines.as_ptr() as u64;
        load.line_info_cnt = length(function.line_info.len());
        load.line_info_rec_size = length(function.line_info_rec_size);
        load.func_info = functions.as_ptr() as u64;
        load.func_info_cnt = length(function.func_info.len());
        load.func_info_rec_size = length(function.func_info_rec_size);
    }
    if !log.is_empty() {
        load.log_level = 1;
        load.log_buf = log.as_mut_ptr() as u64;
        load.log_size = length(log.len());
    }
    // SAFETY: instructions, licence, line and function information live until the call has returned, and are as long as is
    // said; the kernel writes into the log alone.
    unsafe { call_for_fd(bpf_cmd::BPF_PROG_LOAD, &mut attr) }
}

/// Attaches a program that was loaded for it to the entries of functions by fprobe, each with its number as the cookie. The
/// link ends with the descriptor, unless it is pinned.
pub(super) fn attach_by_fprobe(program: BorrowedFd<'_>, symbols: &[CString]) -> io::Result<OwnedFd> {
    let cookies: Vec<u64> = (0..).take(symbols.len()).collect();
    let symbols: Vec<*const libc::c_char> = symbols.iter().map(|symbol| symbol.as_ptr()).collect();
    let mut attr = nothing();
    attr.link_create.__bindgen_anon_1.prog_fd = raw(program);
    attr.link_create.attach_type = bpf_attach_type::BPF_TRACE_KPROBE_MULTI as u32;
    attr.link_create.__bindgen_anon_3.kprobe_multi.syms = symbols.as_ptr() as u64;
    attr.link_create.__bindgen_anon_3.kprobe_multi.cnt = length(symbols.len());
    attr.link_create.__bindgen_anon_3.kprobe_multi.cookies = cookies.as_ptr() as u64;
    // SAFETY: as many symbols, each of which ends with a 0, and as many cookies.
    unsafe { call_for_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr) }
}

/// Attaches a program that was loaded for it at an offset of a file, in every process. The link ends with the descriptor.
pub(super) fn attach_by_uprobe_multi(
    program: BorrowedFd<'_>,
    path: &CStr,
    offset: u64,
    on_return: bool,
) -> io::Result<OwnedFd> {
    let mut attr = nothing();
    attr.link_create.__bindgen_anon_1.prog_fd = raw(program);
    attr.link_create.attach_type = bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;
    attr.link_create.__bindgen_anon_3.uprobe_multi.path = path.as_ptr() as u64;
    attr.link_create.__bindgen_anon_3.uprobe_multi.offsets = &raw const offset as u64;
    attr.link_create.__bindgen_anon_3.uprobe_multi.cnt = 1;
    let flags = if on_return { BPF_F_UPROBE_MULTI_RETURN } else { 0 };
    attr.link_create.__bindgen_anon_3.uprobe_multi.flags = flags;
    // SAFETY: one offset, and a path that ends with a 0; both live until the call has returned.
    unsafe { call_for_fd(bpf_cmd::BPF_LINK_CREATE, &mut attr) }
}

/// Gives a program or a link a name in the bpf file system.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut attr = nothing();
    // SAFETY: all fields are numbers.
    let pin = unsafe { &mut attr.__bindgen_anon_4 };
    pin.bpf_fd = raw(object);
    pin.pathname = path.as_ptr() as u64;
    // SAFETY: the path ends with a 0.
    unsafe { call(bpf_cmd::BPF_OBJ_PIN, &mut attr) }.map(drop)
}

/// The object of this name in the bpf file system.
pub(super) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut attr = nothing();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    // SAFETY: the path ends with a 0.
    unsafe { call_for_fd(bpf_cmd::BPF_OBJ_GET, &mut attr) }
}

/// What the kernel says of a program or a link first: its type, its id, and of a link the id of its program (`struct
/// bpf_prog_info` and `struct bpf_link_info`, include/uapi/linux/bpf.h).
pub(super) fn info(object: BorrowedFd<'_>) -> io::Result<[u32; 3]> {
    let mut numbers = [0_u32; 3];
    let mut attr = nothing();
    attr.info.bpf_fd = raw(object);
    attr.info.info_len = length(size_of_val(&numbers));
    attr.info.info = numbers.as_mut_ptr() as u64;
    // SAFETY: there is room for as many bytes as is said.
    unsafe { call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(numbers)
}

/// A value of a map with keys and values of four bytes. Of a program array it is the program's id.
pub(super) fn lookup_number(map: BorrowedFd<'_>, key: u32) -> io::Result<u32> {
    let mut value = 0_u32;
    let mut attr = nothing();
    attr.__bindgen_anon_2.map_fd = raw(map);
    attr.__bindgen_anon_2.key = &raw const key as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = &raw mut value as u64;
    // SAFETY: the caller's map has keys and values of four bytes, and both are here until the call has returned.
    unsafe { call(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr) }?;
    Ok(value)
}

/// Where the reading of a map stands: a number of a bucket, or a key of an array, each of four bytes.
pub(super) type Place = [u8; 8];

/// Reads entries of a map from a place on, as many as there is room for keys: how many it has read, the place to
/// continue from, and whether it has come to the end. Of each key there are `values.len() / keys.len()` values, as many as the
/// kernel has processors where each has its own.
///
/// # Safety
///
/// `K` and `V` are as long as the map's keys and values, any bytes are a value of them, and there is room for as many
/// values as the kernel writes.
pub(super) unsafe fn lookup_batch<K, V>(
    map: BorrowedFd<'_>,
    from: Option<&Place>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, Place, bool)> {
    let mut next = Place::default();
    let mut attr = nothing();
    attr.batch.in_batch = from.map_or(null(), |place| place.as_ptr()) as u64;
    attr.batch.out_batch = next.as_mut_ptr() as u64;
    attr.batch.keys = keys.as_mut_ptr() as u64;
    attr.batch.values = values.as_mut_ptr() as u64;
    attr.batch.count = length(keys.len());
    attr.batch.map_fd = raw(map);
    // SAFETY: the caller's promise.
    let ended = match unsafe { call(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr) } {
        Ok(_) => false,
        // It has come to the end, and what it has read until there counts.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
        Err(error) => return Err(error),
    };
    // SAFETY: the kernel has written this field.
    Ok((unsafe { attr.batch.count } as usize, next, ended))
}
