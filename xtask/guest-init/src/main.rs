//! The first process of a VM: makes a usual Linux system of what the initramfs brought, runs one command, sends what
//! it prints and how it ends to the machine outside, and powers off.
//!
//! Its own errors go to the console, which is shown when a VM does not come up.

mod boot;
mod supervise;

use std::{error::Error, fs, io::Write};

use gatewatch_guest_init::{CHANNEL, Kind, TASK_PATH, Task, encode};
use rustix::system::RebootCommand;

fn main() {
    if let Err(error) = run() {
        eprint!("init: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            eprint!(": {error}");
            cause = error.source();
        }
        eprintln!();
    }
    // Reached on errors, and where the machine outside did not end the VM at the exit frame.
    if let Err(error) = rustix::system::reboot(RebootCommand::PowerOff) {
        eprintln!("init: cannot power off: {error}");
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let task = Task::decode(&fs::read(TASK_PATH)?)?;
    fs::remove_file(TASK_PATH)?;
    boot::make_root_a_mount()?;
    boot::mount_all()?;
    boot::settle()?;
    let mut channel = boot::open_channel(CHANNEL)?;
    let release = rustix::system::uname().release().to_bytes().to_vec();
    send(&mut channel, Kind::Ready, &release)?;
    let code = supervise::run(&task, &mut channel)?;
    if task.collect {
        supervise::send_out_folder(&mut channel)?;
    }
    send(&mut channel, Kind::Exit, &code.to_le_bytes())?;
    rustix::termios::tcdrain(&channel)?;
    Ok(())
}

/// Writes one frame.
fn send(channel: &mut fs::File, kind: Kind, payload: &[u8]) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(payload.len() + 16);
    encode(kind, payload, &mut bytes);
    channel.write_all(&bytes)
}
