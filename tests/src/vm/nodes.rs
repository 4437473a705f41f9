//! Nodes that are not a machine of their own, or not of the kind that Kubernetes asks for: an agent in a nested pid
//! namespace, as in kind, and nodes on which the agent runs no policies.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::{CALLS, SETUID, policy, this};
use crate::{
    agent::{Agent, sum},
    pod::{self, Container},
};

/// Where programs have names of their own.
const FOLDER: &str = "/tmp/gatewatch-nodes";
/// The cgroup of a node that is a container.
const NODE: &str = "/sys/fs/cgroup/node";
/// Where a hierarchy of cgroup v1 is mounted.
const OLD: &str = "/tmp/cgroup-v1";

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
        Self::start_to_join(name, times, command, &[])
    }

    /// Starts it to join a cgroup before it makes its calls. It runs its program when this returns.
    fn start_to_join(name: &str, times: u64, command: &mut Command, cgroup: &[&str]) -> Self {
        let go = format!("{FOLDER}/{name}.go");
        for file in [go.clone(), waiting(&go)] {
            let _ = fs::remove_file(file);
        }
        let child = command.args([CALLS, "setuid-when", &go, &times.to_string()]).args(cgroup).spawn();
        let child = child.expect("a process that makes calls");
        let begun = Instant::now();
        while !Path::new(&waiting(&go)).exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{name} does not wait for its turn");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, go, program: format!("{FOLDER}/{name}") }
    }

    /// Lets it make its calls, and waits for its end; gives its program.
    fn finish(mut self) -> String {
        fs::write(&self.go, "").expect("written");
        assert!(self.child.wait().expect("an exit status").success());
        self.program
    }
}

/// The file by which a process says that it waits for another one.
fn waiting(go: &str) -> String {
    format!("{go}.waiting")
}

/// What a process of ours does that was started as `--calls setuid-when FILE TIMES [CGROUP]`, before its calls: waits for the
/// file, and joins the cgroup.
pub(super) fn wait(go: &str, cgroup: &[&str]) {
    fs::write(waiting(go), "").expect("written");
    while !Path::new(go).exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    for cgroup in cgroup {
        fs::write(Path::new(cgroup).join("cgroup.procs"), "0").expect("the cgroup is joined");
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

/// Programs that ran before the agent are the host's or not, as those are that are executed later (`shipped::runtime`). Where
/// they count in a pod's cgroup, their labels say which.
pub(super) fn programs_of_the_host() {
    const UID: &str = "11111111-2222-3333-4444-555555555555";
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let container = Container::create(UID, ID).expect("a cgroup");
    let cgroup = container.cgroup.display().to_string();
    let start = |name: &str, times, command: &mut Command| {
        Caller::start_to_join(name, times, command.arg(program(name, &this())), &[&cgroup])
    };
    let env = || Command::new("env");
    let callers = [
        // The runtime: in no pod yet.
        (start("host", 5, &mut env()), "host:", 5),
        // A container that joins its cgroup last, as a runtime may let it.
        (start("apart", 7, Command::new("unshare").arg("--mount")), "", 7),
        (start("inside", 3, &mut container.command(&this(), "env")), "", 3),
        // A container that has entered the host's mount namespace.
        (start("entered", 4, container.command(&this(), "nsenter").arg("--mount=/proc/1/ns/mnt")), "", 4),
    ];
    let pods = pod::list(&[pod::manifest("test", "tiefighter", UID, ID, &[])]);
    let agent = Agent::start(&[("p.yaml", &policy("uid", SETUID))], &pods);
    for (caller, prefix, times) in callers {
        let binary = format!("{prefix}{}", caller.finish());
        let counted = agent.events(&[("policy", "uid"), ("pod", "tiefighter"), ("binary", &binary)]);
        assert_eq!(counted, times, "{binary}: {}\n{}", agent.metrics(), agent.log());
    }
    container.remove().expect("removed");
    let _ = fs::remove_dir_all(FOLDER);
}

/// An agent that is started by these words runs no policies. It gives this reason, in these words, everywhere that it
/// reports one. It loads nothing.
fn refuses(through: &[&str], reason: &str, words: &[&str]) {
    let policies = [("p.yaml", &*policy("uid", SETUID))];
    let (agent, (status, answer)) = Agent::start_to_answer(through, &policies, &pod::list(&[]));
    assert_eq!(status, 503, "{answer}\n{}", agent.log());
    assert!(words.iter().all(|word| answer.contains(word)), "{answer}");
    let refused = |text: &str| sum(text, "gatewatch_policies", &[("state", "failed")]) == 1;
    assert!(agent.wait(refused), "{}\n{}", agent.metrics(), agent.log());
    let text = agent.metrics();
    assert_eq!(sum(&text, "gatewatch_node_unsupported", &[("reason", reason)]), 1, "{text}");
    assert_eq!(sum(&text, "gatewatch_policy_info", &[("policy", "uid"), ("reason", reason)]), 1, "{text}");
    let sentence = answer.trim().trim_start_matches("not ready: ");
    assert!(agent.log().contains(sentence), "{answer}\n{}", agent.log());
    assert!(!fs::exists("/sys/fs/bpf/gatewatch").expect("readable"), "nothing is loaded");
}

/// Makes a hierarchy of cgroup v1 with these options, for as long as it is held.
struct OldHierarchy(&'static str);

impl OldHierarchy {
    fn mount(options: &'static str) -> Self {
        fs::create_dir_all(OLD).expect("a folder");
        // A controller is cgroup v2's as long as a cgroup has it (`rebind_subsystems`, kernel/cgroup/cgroup.c), also one that is
        // about to go.
        for _ in 0..120 {
            give_up("/sys/fs/cgroup".as_ref(), options);
            let status = Command::new("mount").args(["-t", "cgroup", "-o", options, "none", OLD]).status();
            if status.expect("mount runs").success() {
                return Self(options);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        panic!("a hierarchy of cgroup v1 with {options}");
    }
}

/// Takes a controller from all cgroups below this one, the lowest first.
fn give_up(cgroup: &Path, controller: &str) {
    let entries = fs::read_dir(cgroup).into_iter().flatten().filter_map(Result::ok);
    for child in entries.filter(|entry| entry.file_type().is_ok_and(|ty| ty.is_dir())) {
        give_up(&child.path(), controller);
    }
    // Most have not handed it on, and it may be none of cgroup v2's.
    let _ = fs::write(cgroup.join("cgroup.subtree_control"), format!("-{controller}"));
}

impl Drop for OldHierarchy {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(OLD).status();
        // The kernel removes it some time later.
        let gone = |text: String| !text.contains(self.0);
        for _ in 0..100 {
            if fs::read_to_string("/proc/self/cgroup").is_ok_and(gone) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", format!("+{}", self.0));
    }
}

const WITHOUT_CGROUPS: [&str; 5] =
    ["unshare", "--mount", "sh", "-c", "umount -R /sys/fs/cgroup; exec \"$0\" \"$@\""];

/// Pods in cgroup v1, beside cgroup v2 or without it. A hierarchy that no pod needs does not matter.
pub(super) fn cgroup_v1() {
    let old = OldHierarchy::mount("pids");
    refuses(&[], "cgroup-v1", &["cgroup v1", "pids", "1.35"]);
    refuses(&WITHOUT_CGROUPS, "cgroup-v1", &["cgroup v1", "pids"]);
    drop(old);
    let other = OldHierarchy::mount("none,name=other");
    drop(Agent::start(&[("p.yaml", &policy("uid", SETUID))], &pod::list(&[])));
    drop(other);
    refuses(&WITHOUT_CGROUPS, "no-cgroup-v2", &["no cgroup v2", "/sys/fs/cgroup"]);
}

/// An agent in a container without what it needs of the node.
pub(super) fn a_container_without_the_node() {
    fs::create_dir_all(NODE).expect("a cgroup");
    let own_cgroup = [
        "sh",
        "-c",
        "echo 0 > /sys/fs/cgroup/node/cgroup.procs
         exec unshare --mount --cgroup sh -c 'mount -t cgroup2 none /sys/fs/cgroup; exec \"$@\"' sh \"$@\"",
        "sh",
    ];
    refuses(&own_cgroup, "own-cgroup", &["cgroup of the agent alone"]);
    fs::remove_dir(NODE).expect("it is empty");
    in_a_pid_namespace(|| {
        refuses(&["unshare", "--mount-proc"], "pid-namespace", &["pid namespace", "hostPID"]);
    });
    refuses(&["unshare", "--user", "--map-root-user"], "user-namespace", &["user namespace", "rootless"]);
}
