//! Nodes that are not a machine of their own: an agent in a nested pid namespace, as in kind.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
};

use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::{CALLS, SETUID, policy, this};
use crate::{agent::Agent, pod};

/// Where programs have names of their own.
const FOLDER: &str = "/tmp/gatewatch-nodes";
/// The cgroup of a node that is a container.
const NODE: &str = "/sys/fs/cgroup/node";

/// A process under a name of its own that makes calls when it is asked to.
struct Caller {
    child: Child,
    go: String,
    program: String,
}

impl Caller {
    /// Starts it.
    fn start(name: &str, times: u64) -> Self {
        let program = program(name, &this());
        Self::start_by(name, times, &mut Command::new(&program))
    }

    /// Starts it in the node's cgroup, as a child of a shell with a name of its own, so that the id after `last` is its own.
    fn start_after(last: u32, shell: &str, name: &str, times: u64) -> Self {
        let script = format!(
            "mkdir -p {NODE}/inside; echo 0 > {NODE}/inside/cgroup.procs; echo {last} > /proc/sys/kernel/ns_last_pid
             \"$@\"; exit $?"
        );
        let mut command = Command::new(program(shell, Path::new("/bin/sh")));
        command.args(["-c", &script, "sh", &program(name, &this())]);
        Self::start_by(name, times, &mut command)
    }

    fn start_by(name: &str, times: u64, command: &mut Command) -> Self {
        let go = format!("{FOLDER}/{name}.go");
        let _ = fs::remove_file(&go);
        let child = command.args([CALLS, "setuid-when", &go, &times.to_string()]).spawn();
        Self { child: child.expect("a process that makes calls"), go, program: format!("{FOLDER}/{name}") }
    }

    /// Lets it make its calls, and waits for its end; gives its program.
    fn finish(mut self) -> String {
        fs::write(&self.go, "").expect("written");
        assert!(self.child.wait().expect("an exit status").success());
        self.program
    }
}

/// A program under a name of its own.
fn program(name: &str, original: &Path) -> String {
    fs::create_dir_all(FOLDER).expect("a folder");
    let program = format!("{FOLDER}/{name}");
    fs::copy(original, &program).expect("a program");
    program
}

/// Runs `inside` on a thread whose children are in a pid namespace of their own.
#[allow(
    unsafe_code,
    reason = "leaving a namespace can break other threads; this one concerns children alone"
)]
fn in_a_pid_namespace(inside: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        // SAFETY: only the namespace of this thread's children is left.
        unsafe { unshare_unsafe(UnshareFlags::NEWPID) }.expect("a pid namespace");
        // The namespace ends with its first process.
        let _first = First(Command::new("sleep").arg("infinity").spawn().expect("a process"));
        inside();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The first process of a pid namespace.
struct First(Child);

impl Drop for First {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What becomes an agent in a node such as kind makes it: a container with namespaces of its own, in which the agent has a
/// cgroup.
const IN_A_NODE: [&str; 4] = [
    "sh",
    "-c",
    "echo 0 > /sys/fs/cgroup/node/cgroup.procs
     exec unshare --mount --cgroup --mount-proc sh -c '
       mount -t cgroup2 none /sys/fs/cgroup
       mkdir -p /sys/fs/cgroup/agent
       echo 0 > /sys/fs/cgroup/agent/cgroup.procs
       exec \"$@\"' sh \"$@\"",
    "sh",
];

/// A node such as kind makes it: its processes have other ids than the kernel's. Those that ran before the agent have
/// their programs and ancestors, and none has another's.
pub(super) fn processes_in_a_pid_namespace() {
    fs::create_dir_all(NODE).expect("a cgroup");
    // One outside, whose id a process of the node has as well.
    let outside = Caller::start("outside", 30);
    let same = outside.child.id();
    in_a_pid_namespace(move || {
        let inside = Caller::start_after(same - 1, "shell", "inside", 20);
        let children = format!(
            "{SETUID}\n    selectors:\n    - matchBinaries:\n      - {{operator: In, values: [{FOLDER}/shell], \
             followChildren: true}}"
        );
        let text = [policy("uid", SETUID), policy("children", &children)].concat();
        let agent = Agent::start_through(&IN_A_NODE, &[("p.yaml", &text)], &pod::list(&[]));
        let inside = inside.finish();
        outside.finish();
        let of = |policy: &str| agent.events(&[("policy", policy), ("binary", &inside)]);
        assert_eq!((of("uid"), of("children")), (20, 20), "{}\n{}", agent.metrics(), agent.log());
        // Not a process of the node, nor is its cgroup.
        assert_eq!(agent.events(&[]), 40, "{}", agent.metrics());
        assert_eq!(agent.sum("gatewatch_attribution_pending_events", &[]), 30, "{}", agent.metrics());
    });
    let _ = fs::remove_dir_all(FOLDER);
    for cgroup in [&format!("{NODE}/agent"), &format!("{NODE}/inside"), NODE] {
        let _ = fs::remove_dir(cgroup);
    }
}
