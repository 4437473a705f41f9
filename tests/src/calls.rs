//! Calls that policies watch, made by ourselves so that their number is known.

use std::{
    fs::File,
    io,
    net::{IpAddr, SocketAddr, TcpStream},
    os::unix::fs::FileExt as _,
    path::Path,
};

use rustix::thread::{Gid, Uid, set_thread_gid, set_thread_uid};

/// `setgid(id)`, `times` times, by this thread; that of the thread stays what it was last.
pub fn setgid(id: u32, times: u64) {
    for _ in 0..times {
        set_thread_gid(Gid::from_raw(id)).expect("setgid");
    }
}

/// `setuid(0)`, `times` times.
pub fn setuid_root(times: u64) {
    for _ in 0..times {
        set_thread_uid(Uid::ROOT).expect("setuid");
    }
}

/// Reads one byte of a file, `times` times: one `security_file_permission` each.
pub fn pread(file: &File, times: u64) {
    let mut byte = [0];
    for _ in 0..times {
        file.read_at(&mut byte, 0).expect("a byte");
    }
}

/// Opens a connection: one `tcp_connect`, whether somebody answers or not.
pub fn connect(address: IpAddr, port: u16) {
    // Nobody listens: refused at once.
    let _ = TcpStream::connect(SocketAddr::new(address, port));
}

/// `chdir` to a path that may not exist: one `sys_chdir`.
pub fn chdir(path: &Path) -> io::Result<()> {
    Ok(rustix::process::chdir(path)?)
}
