//! A pod that fills the tables of the kernel, and another one whose events must keep their names.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Command, ExitStatus},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use super::super::{CALLS, SETUID, policy, this};
use crate::{
    agent::{Agent, sum},
    calls,
    pod::{self, Container},
    scrape::{self, EVENTS},
    tiny,
};

/// Programs that the attacker runs: more than `BINARIES` holds.
const PROGRAMS: u64 = 12_000;
/// Cgroups that it makes: more than `CGROUPS` holds.
const CGROUPS: u64 = 20_000;

const ATTACKER: u32 = 1;
const VICTIM: u32 = 2;

fn uid(number: u32) -> String {
    format!("0000000a-1111-2222-3333-{number:012}")
}

fn container_id(number: u32) -> String {
    format!("{number:0>60}cafe")
}

/// The pod's cgroup with one container.
fn container(number: u32) -> Container {
    Container::create(&uid(number), &container_id(number)).expect("a cgroup")
}

/// Removes the pod's cgroups.
fn remove(container: &Container) {
    container.remove().expect("the container's cgroup is removed");
    fs::remove_dir(container.cgroup.parent().expect("the pod's")).expect("the pod's cgroup is removed");
}

fn manifest(number: u32, name: &str) -> String {
    pod::manifest("test", name, &uid(number), &container_id(number), &[("a", "b")])
}

/// An agent that counts every `setuid`, and both pods.
fn start(arguments: &[&str]) -> (Agent, Container, Container) {
    let pods = pod::list(&[manifest(ATTACKER, "attacker"), manifest(VICTIM, "victim")]);
    let agent = Agent::start_with(&[("p.yaml", &policy("uid", SETUID))], &pods, arguments);
    let before = entries(&agent.metrics(), "cgroups");
    let containers = (container(ATTACKER), container(VICTIM));
    // The cgroups of kubelet were made only now. From here on the kernel knows a pod's when it is made.
    assert!(agent.wait(|text| entries(text, "cgroups") >= before + 4), "{}", agent.log());
    (agent, containers.0, containers.1)
}

/// A process in a container that calls `setuid` so often.
fn call(container: &Container, program: &Path, times: u64) {
    let (program, times) = (program.display().to_string(), times.to_string());
    let output = container.run(&this(), &[&program, CALLS, "setuid", &times]).expect("it runs");
    assert!(output.status.success(), "{output:?}");
}

fn entries(text: &str, map: &str) -> u64 {
    sum(text, "gatewatch_map_entries", &[("map", map)])
}

fn events(text: &str, pod: &str, binary: &str) -> u64 {
    sum(text, EVENTS, &[("policy", "uid"), ("namespace", "test"), ("pod", pod), ("binary", binary)])
}

/// Runs so many programs, hard links to one file with a name each. Every one calls `setuid` once.
pub(in crate::vm) fn run_programs(folder: &Path, programs: u64) {
    let program = folder.join("program");
    tiny::write_setuid(&program).expect("a program");
    for number in 0..programs {
        let link = folder.join(format!("program-{number}"));
        fs::hard_link(&program, &link).expect("a link");
        let status = Command::new(&link).status();
        assert!(status.as_ref().is_ok_and(ExitStatus::success), "{}: {status:?}", link.display());
        fs::remove_file(&link).expect("removed");
    }
}

/// How many processes there are.
fn processes_of_the_machine() -> u64 {
    let all = fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    all.filter(|entry| entry.file_name().to_str().is_some_and(is_process)).map(|_| 1).sum()
}

/// Waits until the kernel's tables have no more entries than they had, and that of processes no more than there are: threads of
/// the kernel come and go.
fn wait_until_empty(agent: &Agent, before: &str) {
    let empty = |text: &str| {
        ["counts", "binaries", "cgroups"]
            .into_iter()
            .all(|map| entries(text, map) <= entries(before, map) + 8)
            && entries(text, "processes") <= processes_of_the_machine() + 8
    };
    assert!(agent.wait(empty), "before:\n{before}\nnow:\n{}\n{}", agent.metrics(), agent.log());
}

/// Both pods are deleted: tables have what they had before.
fn delete(agent: &Agent, containers: [&Container; 2], before: &str) {
    containers.into_iter().for_each(remove);
    fs::write(&agent.pods, pod::list(&[])).expect("written");
    wait_until_empty(agent, before);
}

/// Whether the time of a pod's last event is exported, from which alerts are made.
fn is_alerted(text: &str, policy: &str, pod: &str) -> bool {
    let labels = [("policy", policy), ("namespace", "test"), ("pod", pod)];
    sum(text, "gatewatch_last_event_timestamp_seconds", &labels) > 0
}

/// A pod runs thousands of programs. Every event of it is counted under its name, and another pod's events keep all labels,
/// those of a program that is new included. Nothing is left of the pod after its deletion.
pub(in crate::vm) fn programs() {
    let (agent, attacker, victim) = start(&["--remember", "2"]);
    let before = agent.metrics();
    let folder = tempfile::tempdir().expect("a folder");
    let (name, path) = (this().display().to_string(), folder.path().display().to_string());
    let argv = [&*name, CALLS, "programs", &path, &PROGRAMS.to_string()];
    let output = attacker.run(&this(), &argv).expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let new = folder.path().join("new");
    fs::copy(this(), &new).expect("a copy of this program");
    call(&victim, &this(), 1_000);
    call(&victim, &new, 500);
    let text = agent.metrics();
    let log = agent.log();
    assert_eq!(events(&text, "victim", &this().display().to_string()), 1_000, "{log}");
    assert_eq!(events(&text, "victim", &new.display().to_string()), 500, "{log}");
    assert_eq!(sum(&text, EVENTS, &[("pod", "victim")]), 1_500, "{log}");
    assert_eq!(sum(&text, EVENTS, &[("pod", "attacker")]), PROGRAMS, "{log}");
    assert!(events(&text, "attacker", "<overflow>") > 0, "{log}");
    assert_eq!(sum(&text, EVENTS, &[]), PROGRAMS + 1_500, "{log}");
    assert_eq!(sum(&text, "gatewatch_events_overflow_total", &[]), 0, "{log}");
    let over = |pod| sum(&text, "gatewatch_pod_over_share", &[("namespace", "test"), ("pod", pod)]);
    assert_eq!((over("attacker") > 0, over("victim")), (true, 0), "{text}");
    assert!(is_alerted(&text, "uid", "attacker") && is_alerted(&text, "uid", "victim"), "{text}");
    delete(&agent, [&attacker, &victim], &before);
}

/// A pod uses up its share of counts under many policies and from two containers. Its events lose their program, and keep its
/// name under every policy, so that each of them raises its alert; and so do another pod's.
pub(in crate::vm) fn many_hooks() {
    // More than a pod has of its own in the reserve.
    const POLICIES: u64 = 24;
    const PROGRAMS: u64 = 100;
    let policies: String = (0..POLICIES).map(|number| policy(&format!("uid-{number}"), SETUID)).collect();
    let pods = pod::list(&[manifest(ATTACKER, "attacker"), manifest(VICTIM, "victim")]);
    let agent = Agent::start_with(&[("p.yaml", &policies)], &pods, &["--remember", "2"]);
    let before = agent.metrics();
    let (attacker, victim) = (container(ATTACKER), container(VICTIM));
    let second = Container::create(&uid(ATTACKER), &container_id(3)).expect("a cgroup");
    assert!(
        agent.wait(|text| entries(text, "cgroups") >= entries(&before, "cgroups") + 5),
        "{}",
        agent.log()
    );
    let this = this().display().to_string();
    for container in [&attacker, &second] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display().to_string();
        let argv = [&*this, CALLS, "programs", &path, &PROGRAMS.to_string()];
        let output = container.run(this.as_ref(), &argv).expect("it runs");
        assert!(output.status.success(), "{output:?}");
    }
    call(&victim, this.as_ref(), 100);
    let text = agent.metrics();
    let log = agent.log();
    for number in 0..POLICIES {
        let policy = format!("uid-{number}");
        let of = |pod: &str| sum(&text, EVENTS, &[("policy", &policy), ("namespace", "test"), ("pod", pod)]);
        assert_eq!((of("attacker"), of("victim")), (2 * PROGRAMS, 100), "{policy}: {log}");
        assert!(
            is_alerted(&text, &policy, "attacker") && is_alerted(&text, &policy, "victim"),
            "{policy}: {text}"
        );
    }
    assert_eq!(sum(&text, "gatewatch_events_overflow_total", &[]), 0, "{log}");
    assert!(sum(&text, EVENTS, &[("pod", "attacker"), ("binary", "<overflow>")]) > 0, "{text}");
    assert_eq!(sum(&text, EVENTS, &[("pod", "victim"), ("binary", &this)]), POLICIES * 100, "{text}");
    second.remove().expect("the container's cgroup is removed");
    delete(&agent, [&attacker, &victim], &before);
}

/// The table of processes is full: policies that ask for programs count how many events they could not decide, and the others
/// count as before.
pub(in crate::vm) fn processes() {
    const PROCESSES: u64 = 400;
    let this = this();
    let by_program = policy(
        "by-program",
        &format!(
            "{SETUID}\n    selectors:\n    - matchBinaries: [{{operator: In, values: [\"{}\"]}}]",
            this.display()
        ),
    );
    let policies = format!("{}{by_program}", policy("uid", SETUID));
    let pods = pod::list(&[manifest(ATTACKER, "attacker"), manifest(VICTIM, "victim")]);
    let arguments = ["--remember", "2", "--max-processes", &PROCESSES.to_string()];
    let agent = Agent::start_with(&[("p.yaml", &policies)], &pods, &arguments);
    let before = agent.metrics();
    let (attacker, victim) = (container(ATTACKER), container(VICTIM));
    let unknown =
        |text: &str, policy| sum(text, "gatewatch_unknown_process_events_total", &[("policy", policy)]);
    call(&victim, &this, 10);
    assert_eq!(unknown(&agent.metrics(), "by-program"), 0, "{}", agent.metrics());
    let stop = agent.pods.with_file_name("stop");
    let arguments = [CALLS, "wait", &stop.display().to_string(), &PROCESSES.to_string()].map(str::to_owned);
    let mut sleepers =
        attacker.command(&this, &this.display().to_string()).args(&arguments).spawn().expect("it runs");
    let full = |text: &str| entries(text, "processes") >= PROCESSES;
    assert!(agent.wait(full), "{}", agent.metrics());
    call(&victim, &this, 100);
    let text = agent.metrics();
    assert_eq!(unknown(&text, "by-program"), 100, "{text}");
    assert!(
        !text.contains("gatewatch_unknown_process_events_total{hook=\"kprobe:__sys_setuid\",policy=\"uid\"}")
    );
    assert_eq!(sum(&text, EVENTS, &[("policy", "uid"), ("pod", "victim")]), 110, "{text}");
    assert!(sum(&text, "gatewatch_left_out_total", &[("what", "processes")]) > 0, "{text}");
    fs::write(&stop, "").expect("written");
    assert!(sleepers.wait().expect("it ends").success());
    assert!(agent.wait(|text| entries(text, "processes") < PROCESSES / 2), "{}", agent.metrics());
    call(&victim, &this, 20);
    let text = agent.metrics();
    assert_eq!(unknown(&text, "by-program"), 100, "{text}");
    assert_eq!(sum(&text, EVENTS, &[("policy", "by-program"), ("pod", "victim")]), 30, "{text}");
    assert!(is_alerted(&text, "uid", "victim") && is_alerted(&text, "by-program", "victim"), "{text}");
    delete(&agent, [&attacker, &victim], &before);
}

/// Hundreds of connections that say nothing, and scrapes without end, while another pod makes calls: its counts are exact, and
/// whoever scrapes reads them soon.
pub(in crate::vm) fn connections() {
    const IDLE: usize = 300;
    const FLOODS: usize = 8;
    let (agent, attacker, victim) = start(&["--remember", "2"]);
    let before = agent.metrics();
    let address = agent.address();
    let idle: Vec<TcpStream> = (0..IDLE).filter_map(|_| TcpStream::connect(address).ok()).collect();
    assert!(idle.len() > IDLE / 2, "{} connections", idle.len());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..FLOODS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(scrape::get(address, "/metrics"));
                }
            });
        }
        call(&victim, &this(), 1_000);
        let begun = Instant::now();
        let read = loop {
            // A connection may be the one that has to go.
            match scrape::get(address, "/metrics") {
                Ok((200, text)) if events(&text, "victim", &this().display().to_string()) == 1_000 => {
                    break true;
                }
                _ if begun.elapsed() > Duration::from_secs(20) => break false,
                _ => {}
            }
        };
        stop.store(true, Ordering::Relaxed);
        assert!(read, "{}", agent.log());
    });
    drop(idle);
    let text = agent.metrics();
    assert_eq!(sum(&text, EVENTS, &[]), 1_000, "{text}");
    assert!(is_alerted(&text, "uid", "victim"), "{text}");
    delete(&agent, [&attacker, &victim], &before);
}

/// So many processes that wait until there is a file.
pub(in crate::vm) fn wait_for(file: &Path, processes: u64) {
    let children: Vec<_> = (0..processes)
        .map(|_| {
            let mut command = Command::new(this());
            command.args([CALLS, "wait"]).arg(file).arg("0").spawn().expect("a process")
        })
        .collect();
    while !file.exists() {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
}

/// A pod makes thousands of cgroups in its container's. They take no entry of any table, and their events are the container's.
pub(in crate::vm) fn nested_cgroups() {
    let (agent, attacker, victim) = start(&["--remember", "2"]);
    let before = entries(&agent.metrics(), "cgroups");
    let nested = |number: u64| attacker.cgroup.join(format!("n{number}"));
    for number in 0..CGROUPS {
        fs::create_dir(nested(number)).expect("a cgroup");
    }
    for number in [0, CGROUPS / 2, CGROUPS - 1] {
        fs::write(nested(number).join("cgroup.procs"), "0").expect("joined");
        calls::setuid_root(10);
    }
    fs::write("/sys/fs/cgroup/cgroup.procs", "0").expect("joined");
    call(&victim, &this(), 1_000);
    let text = agent.metrics();
    let log = agent.log();
    assert_eq!(sum(&text, EVENTS, &[("pod", "victim")]), 1_000, "{log}");
    assert_eq!(sum(&text, EVENTS, &[("pod", "attacker")]), 30, "{log}");
    assert_eq!(sum(&text, EVENTS, &[]), 1_030, "{log}");
    assert!(entries(&text, "cgroups") <= before + 4, "{before} cgroups before\n{text}");
    assert_eq!(sum(&text, "gatewatch_left_out_total", &[("what", "cgroups")]), 0, "{log}");
    assert!(!log.contains("ERROR"), "{log}");
    assert!(is_alerted(&text, "uid", "victim"), "{text}");
    for number in 0..CGROUPS {
        fs::remove_dir(nested(number)).expect("removed");
    }
    delete(&agent, [&attacker, &victim], &text);
}
