//! The agent's folder alone, mounted as in a container.

use std::{fs, path::Path, process::Command};

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use super::{SETUID, policy};
use crate::{agent::Agent, calls, pod};

/// On the node, and in the container.
const PINS: &str = "/sys/fs/bpf/mounted";
const MOUNT: &str = "/tmp/mounted";

/// An agent that sees nothing else of the BPF file system continues its counts, and removes all that it has. The folder
/// itself is a mount, and stays.
pub(super) fn its_folder_alone() {
    for folder in [PINS, MOUNT] {
        fs::create_dir(folder).expect("a folder");
    }
    mount_bind(PINS, MOUNT).expect("mounted");
    let arguments = ["--bpf-dir", MOUNT];
    let mut agent = Agent::start_with(&[("p.yaml", &policy("uid", SETUID))], &pod::list(&[]), &arguments);
    calls::setuid_root(10);
    agent.end();
    calls::setuid_root(10);
    agent.again();
    let text = agent.metrics();
    assert_eq!(agent.events(&[("policy", "uid")]), 20, "{text}\n{}", agent.log());
    assert!(entries() > 0, "the pins are in {PINS}");
    agent.end();
    assert!(entries() > 0, "they outlive the agent");

    let cleanup = || {
        let output = Command::new("gatewatch-agent").arg("--cleanup").args(arguments).output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    cleanup();
    assert_eq!(entries(), 0);
    // Twice is as good as once.
    cleanup();
    unmount(MOUNT, UnmountFlags::empty()).expect("unmounted");
    fs::remove_dir(PINS).expect("removed");
    fs::remove_dir(MOUNT).expect("removed");
}

fn entries() -> usize {
    fs::read_dir(Path::new(PINS)).expect("a folder").count()
}
