//! The container runtime in a pod's cgroup: its events are not the container's, and the container can't take its place.

use std::{
    fs::{self, File},
    io::Write as _,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::Path,
    process::Command,
};

use rustix::fs::MemfdFlags;

use super::{CALLS, ID, UID, pods, shell, this};
use crate::{
    agent::Agent,
    calls,
    pod::Container,
    vm::{SETUID, policy},
};

/// What a process of ours does that was started as `--calls runtime WORDS…`.
pub(in crate::vm) fn make(words: &[&str]) {
    match words {
        // As a runtime does: joins the cgroup, prepares the container, and only then executes the container's program.
        ["set-up", cgroup, times, program @ ..] => {
            fs::write(Path::new(cgroup).join("cgroup.procs"), "0").expect("the cgroup is joined");
            calls::setuid_root(times.parse().expect("a number"));
            if let [program, arguments @ ..] = program {
                let error = Command::new(program).args(arguments).exec();
                panic!("cannot run {program}: {error}");
            }
        }
        // As runc does: runs a copy of this program in memory.
        ["from-memory", words @ ..] => {
            let copy =
                rustix::fs::memfd_create("runc_cloned", MemfdFlags::empty()).expect("a file in memory");
            let mut copy = File::from(copy);
            copy.write_all(&fs::read(this()).expect("this program")).expect("written");
            let error = Command::new(format!("/proc/self/fd/{}", copy.as_raw_fd()))
                .args([CALLS, "runtime"])
                .args(words)
                .exec();
            panic!("cannot run the copy: {error}");
        }
        other => panic!("no way {other:?}"),
    }
}

/// Set-up by a program of the host and by its copy in memory, and programs of the container: one with the runtime's path, one
/// that comes from the host's mount namespace.
pub(in crate::vm) fn set_up() {
    let agent = Agent::start(&[("p.yaml", &policy("uid", SETUID))], &pods());
    let container = Container::create(UID, ID).expect("a cgroup");
    let cgroup = container.cgroup.display().to_string();
    let program = this().display().to_string();
    let of_pod = |binary: &str| agent.events(&[("policy", "uid"), ("pod", "tiefighter"), ("binary", binary)]);

    shell(&format!("{program} {CALLS} runtime set-up {cgroup} 5"));
    shell(&format!("{program} {CALLS} runtime from-memory set-up {cgroup} 3"));
    assert_eq!(of_pod(&format!("host:{program}")), 5, "{}", agent.metrics());
    assert_eq!(of_pod("host:/memfd:runc_cloned"), 3, "{}", agent.metrics());

    // The container has a program at the runtime's path, and calls itself as the label is written.
    let output = container.run(&this(), &[&program, CALLS, "setuid", "7"]).expect("it runs");
    assert!(output.status.success(), "{output:?}");
    shell(&format!("mkdir -p /host: && cp {program} /host:/runc"));
    let output = container.run(&this(), &["/host:/runc", CALLS, "setuid", "2"]).expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(of_pod(&program), 7, "{}", agent.metrics());
    assert_eq!(of_pod("/host:/runc"), 2, "{}", agent.metrics());

    // It enters the host's mount namespace, as a privileged container can, and executes the runtime there.
    let enter = ["nsenter", "--mount=/proc/1/ns/mnt", &program, CALLS, "setuid", "4"];
    let output = container.run(&this(), &enter).expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(of_pod(&program), 11, "{}", agent.metrics());
    assert_eq!(of_pod(&format!("host:{program}")), 5, "{}", agent.metrics());
    container.remove().expect("removed");
}
