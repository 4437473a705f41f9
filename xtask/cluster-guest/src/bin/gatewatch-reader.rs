//! A pod that lives for a moment: reads one byte of `/etc/hosts` a given number of times, and ends.

use std::{env, fs::File, io, os::unix::fs::FileExt as _, process::ExitCode};

fn main() -> ExitCode {
    let Some(count) = env::args().nth(1).and_then(|count| count.parse().ok()) else {
        eprintln!("usage: gatewatch-reader COUNT");
        return ExitCode::FAILURE;
    };
    match read(count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gatewatch-reader: cannot read {FILE}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// From kubelet, mounted from the node's own file system. (Of a file in the container's image each read would be two calls
/// of the function that is hooked: one of overlayfs' file, one of the file that it lies over, with the same path.)
const FILE: &str = "/etc/hosts";

/// Exactly `count` reads: each is one call of the kernel's `security_file_permission` with this file.
fn read(count: u32) -> io::Result<()> {
    let file = File::open(FILE)?;
    for _ in 0..count {
        file.read_exact_at(&mut [0], 0)?;
    }
    Ok(())
}
