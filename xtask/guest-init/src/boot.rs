//! From an unpacked initramfs to a usual system: a root that is a mount of its own, the kernel's file systems, cgroups,
//! loopback.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, symlink},
    path::Path,
    process::Command,
};

use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_move},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};
use thiserror::Error;

/// A step that failed; without it the VM would not be what its users expect, so it does not come up.
#[derive(Debug, Error)]
pub(crate) enum BootError {
    /// A mount, or a change of one.
    #[error("cannot mount {0}")]
    Mount(String, #[source] Errno),
    /// A file that could not be made, read or written.
    #[error("{0}")]
    File(String, #[source] io::Error),
    /// `ip` did not bring loopback up.
    #[error("cannot bring up loopback: ip ended with {0}")]
    Loopback(std::process::ExitStatus),
    /// The serial line to the machine outside.
    #[error("cannot set up the serial line {0}")]
    Channel(String, #[source] io::Error),
}

/// What is mounted: file system, place, options. In this order.
const MOUNTS: &[(&str, &str, &str)] = &[
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("devtmpfs", "/dev", "mode=755"),
    ("devpts", "/dev/pts", "mode=620,ptmxmode=666,gid=5"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("tmpfs", "/run", "mode=755"),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("bpf", "/sys/fs/bpf", "mode=700"),
    ("tracefs", "/sys/kernel/tracing", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("securityfs", "/sys/kernel/security", ""),
];

/// Names that programs expect in `/dev` and that devtmpfs does not make.
const DEV_LINKS: &[(&str, &str)] =
    &[("/proc/self/fd", "/dev/fd"), ("fd/0", "/dev/stdin"), ("fd/1", "/dev/stdout"), ("fd/2", "/dev/stderr")];

/// Puts a bind mount of the initramfs over itself and moves into it.
///
/// The initramfs is the mount that has no parent, and `pivot_root(2)`, which container runtimes use, does not leave
/// such a root.
pub(crate) fn make_root_a_mount() -> Result<(), BootError> {
    const STAGING: &str = "/.root";
    let mounting = |error| BootError::Mount("the root over itself".into(), error);
    make_directory(STAGING)?;
    mount_bind("/", STAGING).map_err(mounting)?;
    rustix::process::chdir(STAGING).map_err(mounting)?;
    mount_move(".", "/").map_err(mounting)?;
    rustix::process::chroot(".").map_err(mounting)?;
    rustix::process::chdir("/").map_err(mounting)?;
    fs::remove_dir(STAGING).map_err(|error| BootError::File(format!("cannot remove {STAGING}"), error))
}

/// Mounts what a usual system has, and shares mount events as its service manager would.
pub(crate) fn mount_all() -> Result<(), BootError> {
    for &(kind, place, options) in MOUNTS {
        // Places under /sys are made by the kernel, and cannot be made by us.
        if !Path::new(place).exists() {
            make_directory(place)?;
        }
        let data = CString::new(options).unwrap_or_default();
        mount(kind, place, kind, MountFlags::empty(), data.as_c_str())
            .map_err(|error| BootError::Mount(format!("{kind} at {place}"), error))?;
    }
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::SHARED)
        .map_err(|error| BootError::Mount("/ as shared".into(), error))
}

/// Device links, host name, cgroup controllers, loopback.
pub(crate) fn settle() -> Result<(), BootError> {
    for (target, link) in DEV_LINKS {
        symlink(target, link).map_err(|error| BootError::File(format!("cannot make {link}"), error))?;
    }
    rustix::system::sethostname(b"gatewatch-vm")
        .map_err(|error| BootError::File("cannot set the host name".into(), error.into()))?;
    enable_controllers(Path::new("/sys/fs/cgroup"))?;
    let status = Command::new("/usr/sbin/ip")
        .args(["link", "set", "lo", "up"])
        .status()
        .map_err(|error| BootError::File("cannot run ip".into(), error))?;
    if status.success() { Ok(()) } else { Err(BootError::Loopback(status)) }
}

/// Hands every controller to the children of `cgroup`, as a service manager does.
fn enable_controllers(cgroup: &Path) -> Result<(), BootError> {
    let list = cgroup.join("cgroup.controllers");
    let controllers = fs::read_to_string(&list)
        .map_err(|error| BootError::File(format!("cannot read {}", list.display()), error))?;
    for controller in controllers.split_whitespace() {
        // One by one: a controller that cannot be enabled (cpu, with real-time threads about) takes no other with it.
        if let Err(error) = fs::write(cgroup.join("cgroup.subtree_control"), format!("+{controller}")) {
            eprintln!("init: cgroup controller {controller} is not handed to children: {error}");
        }
    }
    Ok(())
}

/// Opens the line to the machine outside so that bytes pass as they are.
pub(crate) fn open_channel(device: &str) -> Result<File, BootError> {
    let failed = |error| BootError::Channel(device.to_owned(), error);
    let file = File::options().read(true).write(true).open(device).map_err(failed)?;
    let mut settings = tcgetattr(&file).map_err(|error| failed(error.into()))?;
    settings.make_raw();
    tcsetattr(&file, OptionalActions::Now, &settings).map_err(|error| failed(error.into()))?;
    Ok(file)
}

fn make_directory(path: &str) -> Result<(), BootError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|error| BootError::File(format!("cannot make {path}"), error))
}
