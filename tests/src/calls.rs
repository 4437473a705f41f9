//! Calls that policies watch, made by ourselves so that their number is known.

use std::{
    fs::File,
    io,
    net::{IpAddr, SocketAddr, TcpStream},
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::Path,
    time::Duration,
};

use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid, set_thread_gid, set_thread_uid};

/// `setgid(id)`, `times` times, by this thread; that of the thread stays what it was last.
pub fn setgid(id: u32, times: u64) {
    for _ in 0..times {
        set_thread_gid(Gid::from_raw(id)).expect("setgid");
    }
}

/// A function of a user program, for policies on such: twice the number. Not inlined, so that it has a symbol and is called.
#[allow(unsafe_code, reason = "policies name it by its symbol")]
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn gatewatch_counted(number: u64, text: *const libc::c_char) -> u64 {
    std::hint::black_box(text);
    std::hint::black_box(number).wrapping_mul(2)
}

/// Calls [`gatewatch_counted`], `times` times.
pub fn counted(number: u64, text: &std::ffi::CStr, times: u64) {
    // Read, so that its page is in memory.
    std::hint::black_box(text.to_bytes().first());
    for _ in 0..times {
        std::hint::black_box(gatewatch_counted(number, text.as_ptr()));
    }
}

/// The same, and lets another task run after each few calls.
pub fn setgid_yielding(id: u32, times: u64) {
    for call in 0..times {
        setgid(id, 1);
        if call % 16 == 0 {
            rustix::thread::sched_yield();
        }
    }
}

/// The same as a real-time task that sleeps for a moment after each few calls: when it wakes it interrupts whatever runs on
/// its processor, wherever that is.
pub fn setgid_interrupting(id: u32, times: u64) {
    interrupting(times, || setgid(id, 1));
}

/// Makes calls as a real-time task that sleeps for a moment after each few of them.
#[allow(unsafe_code, reason = "no maintained crate sets how a thread is scheduled")]
fn interrupting(times: u64, make: impl Fn()) {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the process is this one, and the structure lives until the call returns.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    assert_eq!(result, 0, "a real-time task: {}", io::Error::last_os_error());
    for call in 0..times {
        make();
        if call % 4 == 0 {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

/// `setuid(0)`, `times` times.
pub fn setuid_root(times: u64) {
    for _ in 0..times {
        set_thread_uid(Uid::ROOT).expect("setuid");
    }
}

/// `setuid(id)` as a 32-bit program calls it, `times` times. Whether it succeeds doesn't matter. The upper half of the register
/// is not part of the argument.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the call has no pointers")]
pub fn setuid_by_32_bits(id: u32, times: u64) {
    /// `setuid32` in `arch/x86/entry/syscalls/syscall_32.tbl`.
    const SETUID: i64 = 213;
    for _ in 0..times {
        // SAFETY: its one argument is a number.
        unsafe { by_32_bits(SETUID, 0xdead_u64 << 32 | u64::from(id), 0) };
    }
}

/// Other architectures have no such entry that a 64-bit program can use.
#[cfg(not(target_arch = "x86_64"))]
pub fn setuid_by_32_bits(_id: u32, _times: u64) {}

/// Enters the kernel like a 32-bit program, with two arguments. Returns the result, which is negative for an error.
///
/// # Safety
///
/// As for the system call: pointers among the arguments are to memory below 4 GiB that is as the call needs it.
#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    reason = "a 64-bit program enters the kernel like a 32-bit one only by an instruction of its own"
)]
unsafe fn by_32_bits(number: i64, first: u64, second: u64) -> i64 {
    let mut result = number;
    // SAFETY: the caller's. The compiler keeps ebx, in which the first argument goes, for itself and wants it back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}", "int 0x80", "xchg rbx, {first}",
            first = inout(reg) first => _, inout("rax") result, in("rcx") second,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result
}

/// As many processes, one after the other, each of which calls `setuid(0)` once and ends. For a process with one thread.
#[allow(unsafe_code, reason = "the standard library forks only to execute another program")]
pub fn fork_setuid(times: u64) {
    for _ in 0..times {
        // SAFETY: this process has one thread, so the child may do what its parent may.
        match unsafe { libc::fork() } {
            0 => {
                setuid_root(1);
                std::process::exit(0);
            }
            child => assert!(child > 0, "fork"),
        }
        let ended = rustix::process::wait(rustix::process::WaitOptions::empty()).expect("a child");
        assert!(ended.is_some_and(|(_, status)| status.exit_status() == Some(0)));
    }
}

/// `capset` of this thread: these sets, and the permitted one as it is. Both must be within that.
pub fn capset(effective: u64, inheritable: u64) {
    let permitted = rustix::thread::capabilities(None).expect("the sets of this thread").permitted;
    let set = CapabilitySet::from_bits_retain;
    let sets = CapabilitySets { effective: set(effective), permitted, inheritable: set(inheritable) };
    rustix::thread::set_capabilities(None, sets).expect("capset");
}

/// `capset` of this thread: all that it may have is effective, and nothing inheritable. Returns what is effective.
pub fn capset_root() -> u64 {
    let permitted = rustix::thread::capabilities(None).expect("the sets of this thread").permitted.bits();
    capset(permitted, 0);
    permitted
}

/// Reads one byte of a file, `times` times: one `security_file_permission` each.
pub fn pread(file: &File, times: u64) {
    let mut byte = [0];
    for _ in 0..times {
        file.read_at(&mut byte, 0).expect("a byte");
    }
}

/// The same, and lets another task run after each few calls.
pub fn pread_yielding(file: &File, times: u64) {
    for call in 0..times {
        pread(file, 1);
        if call % 16 == 0 {
            rustix::thread::sched_yield();
        }
    }
}

/// The same as a real-time task that sleeps for a moment after each few calls, see [`setgid_interrupting`].
pub fn pread_interrupting(file: &File, times: u64) {
    interrupting(times, || pread(file, 1));
}

/// Opens a connection: one `tcp_connect`, with or without an answer.
pub fn connect(address: IpAddr, port: u16) {
    // No program listens: the call fails at once.
    let _ = TcpStream::connect(SocketAddr::new(address, port));
}

/// `chdir` to a path that may not exist: one `sys_chdir`.
pub fn chdir(path: &Path) -> io::Result<()> {
    Ok(rustix::process::chdir(path)?)
}

/// Maps a file so that others see what is written, and writes to it.
#[allow(unsafe_code, reason = "the memory is unmapped before anything else knows of it")]
pub fn map_shared(path: &Path) {
    let file = File::options().read(true).write(true).open(path).expect("a file");
    // SAFETY: the kernel chooses where; the file has a byte there.
    unsafe {
        let (read, write) = (libc::PROT_READ, libc::PROT_WRITE);
        let at = libc::mmap(std::ptr::null_mut(), 1, read | write, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(at, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        at.cast::<u8>().write_volatile(b'y');
        libc::munmap(at, 1);
    }
}

/// `capset` as a 32-bit program calls it: all sets of this process are emptied.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "no library enters the kernel by its 32-bit entry")]
pub fn capset_by_32_bits() {
    /// `__NR_capset`, `arch/x86/entry/syscalls/syscall_32.tbl`.
    const CAPSET: i64 = 185;
    /// `_LINUX_CAPABILITY_VERSION_3`, include/uapi/linux/capability.h.
    const VERSION: u32 = 0x2008_0522;
    // SAFETY: the kernel chooses where, below 4 GiB; the structures are smaller than a page.
    unsafe {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT);
        let at = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
        assert_ne!(at, libc::MAP_FAILED, "mmap: {}", io::Error::last_os_error());
        at.cast::<u32>().write_volatile(VERSION);
        let result = by_32_bits(CAPSET, at.addr() as u64, at.addr() as u64 + 8);
        assert_eq!(result, 0, "capset");
    }
}

/// `finit_module` of a file of which it says that it is compressed. It is not.
#[allow(unsafe_code, reason = "no maintained crate has this call")]
pub fn read_compressed_module(path: &Path) {
    /// `MODULE_INIT_COMPRESSED_FILE`, include/uapi/linux/module.h.
    const COMPRESSED: libc::c_int = 4;
    let file = File::open(path).expect("a file");
    // SAFETY: the string lives until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), COMPRESSED) };
    assert_eq!(result, -1, "a module that is not compressed");
}
