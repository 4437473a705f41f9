//! What is never enforced: cgroups of unknown pods, the agent, services of the node, the host's first process.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::Path,
    process::{Command, Stdio},
};

use super::{ACTIONS, Case, calls, kills};
use crate::{
    agent::{Agent, sum},
    pod::{self, Container},
    vm::{CALLS, this},
};

const SPARED: &str = "gatewatch_enforcement_spared_total";

/// Kills whoever calls `setgid(7)`, on the host as well.
fn kills_everywhere(name: &str) -> String {
    kills(name).replace("  podSelector: {matchLabels: {org: empire}}\n", "")
}

/// A container of a pod that isn't known: its calls are counted, not stopped, and that is counted. When the pod is known, they
/// are stopped.
pub(in super::super) fn pending() {
    let case = Case::start(&[("p.yaml", &kills("p"))], &[]);
    let (uid, id) = ("11111111-2222-3333-4444-5555555555e2", "e2".repeat(32));
    let container = Container::create(uid, &id).expect("a cgroup");
    let run = || calls::finish(calls::start(&container, &["forks", "7", "50"]));
    let made = run();
    assert_eq!((made.refused, made.through), (0, 50), "{made:?}\n{}", case.told());
    assert_eq!(case.actions("p", "pending_signal"), 50, "{}", case.told());
    assert_eq!(case.agent.sum(SPARED, &[("policy", "p"), ("reason", "pending")]), 50, "{}", case.told());
    let manifest =
        |name: &str, uid: &str, id: &str| pod::manifest("test", name, uid, id, &[("org", "empire")]);
    let pods = [manifest("enforced", super::UID, &"e1".repeat(32)), manifest("later", uid, &id)];
    fs::write(&case.agent.pods, pod::list(&pods)).expect("written");
    assert!(
        case.agent.wait(|text| sum(text, crate::scrape::EVENTS, &[("pod", "later")]) == 50),
        "{}",
        case.told()
    );
    std::thread::sleep(std::time::Duration::from_secs(1));
    let made = run();
    assert_eq!((made.refused, made.through), (50, 0), "{made:?}\n{}", case.told());
    assert_eq!(case.actions("p", "signal"), 50, "{}", case.told());
    container.remove().expect("the cgroup is removed");
}

/// The container runtime and what it starts are spared on the host, by a file that root runs there; and no container is by
/// giving a program that name.
pub(in super::super) fn spared() {
    // Found in /proc: none of the usual paths.
    let runtime = "/var/lib/rancher/containerd";
    fs::create_dir_all("/var/lib/rancher").expect("a folder");
    fs::copy(this(), runtime).expect("copied");
    fs::set_permissions(runtime, fs::Permissions::from_mode(0o755)).expect("permissions");
    let mut service = Command::new(runtime)
        .args([CALLS, "forbidden-when", "/tmp/spared-now", "100"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a service");
    let case = Case::start(&[("p.yaml", &kills_everywhere("p"))], &[]);
    // Another one that starts later from the same file.
    let later =
        Command::new(runtime).args([CALLS, "forbidden", "forks", "7", "10"]).stdout(Stdio::piped()).spawn();
    let made = calls::finish(later.expect("a service"));
    assert_eq!((made.refused, made.through), (0, 10), "{made:?}\n{}", case.told());
    fs::write("/tmp/spared-now", "").expect("written");
    let mut text = String::new();
    std::io::Read::read_to_string(service.stdout.as_mut().expect("a pipe"), &mut text).expect("text");
    service.wait().expect("its end");
    assert_eq!(text.trim(), "0 100 0 0 0", "{}", case.told());
    let of_service = || case.agent.sum(SPARED, &[("policy", "p"), ("reason", "node-service")]);
    assert_eq!(of_service(), 110, "{}", case.told());
    assert_eq!(case.actions("p", "spared_signal"), 110, "{}", case.told());
    // Any other process of the host, which the policy selects.
    let other =
        Command::new(this()).args([CALLS, "forbidden", "forks", "7", "10"]).stdout(Stdio::piped()).spawn();
    let made = calls::finish(other.expect("a process"));
    assert_eq!((made.refused, made.through), (10, 0), "{made:?}\n{}", case.told());
    // A container runs the same file: in its pod's cgroup, and with the right to leave that, in the host's.
    for cgroup in [case.container.cgroup.as_path(), Path::new("/sys/fs/cgroup")] {
        let container = Container { cgroup: cgroup.to_owned() };
        let mut command = container.command(&this(), runtime);
        let child = command.args([CALLS, "forbidden", "forks", "7", "10"]).stdout(Stdio::piped()).spawn();
        let made = calls::finish(child.expect("a process"));
        assert_eq!((made.refused, made.through), (10, 0), "{}: {made:?}\n{}", cgroup.display(), case.told());
    }
    assert_eq!(of_service(), 110, "{}", case.told());
    fs::remove_file(runtime).expect("removed");
}

/// A policy that kills everything that is executed, of pods and of the host: the host's first process and the agent live, and
/// the switch works.
pub(in super::super) fn whole_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("enforcement");
    fs::write(&file, "enforcement: off\n").expect("written");
    let everything = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: everything\nspec:\n  kprobes:\n  \
                      - call: sys_execve\n    syscall: true\n    selectors: [{matchActions: [{action: Sigkill}]}]\n  tracepoints:\n  - \
                      subsystem: raw_syscalls\n    event: sys_enter\n    selectors: [{matchPIDs: [{operator: In, values: [AGENT, 1], \
                      isNamespacePID: false}], matchActions: [{action: Sigkill}]}]\n";
    let agent = Agent::start_with(&[], &pod::list(&[]), &["--enforcement-file", &file.display().to_string()]);
    let text = everything.replace("AGENT", &agent.id().to_string());
    fs::write(agent.policies.join("p.yaml"), text).expect("written");
    assert!(agent.wait(|text| text.contains("policies{state=\"running\"} 1")), "{}", agent.log());
    let run = || Command::new(this()).args([CALLS, "setuid", "1"]).status().expect("a process");
    assert!(run().success());
    fs::write(&file, "enforcement: enforce\n").expect("written");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(run().signal(), Some(libc::SIGKILL), "{}", agent.log());
    // The agent makes system calls all the time, and answers.
    let text = agent.metrics();
    assert!(sum(&text, SPARED, &[("policy", "everything"), ("reason", "agent")]) > 0, "{text}");
    assert!(fs::metadata("/proc/1").is_ok());
    fs::write(&file, "enforcement: off\n").expect("written");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(run().success(), "{}", agent.log());
    let text = agent.metrics();
    assert!(sum(&text, ACTIONS, &[("policy", "everything"), ("action", "signal")]) > 0, "{text}");
}
