//! Tests on a real kernel.

mod agreement;
pub mod endurance;
mod enforcement;
mod errors;
mod exact;
mod hostile;
mod lanes;
mod language;
mod last_event;
mod lists;
mod load;
mod mounted;
mod moved;
mod nodes;
mod pods;
mod privileges;
mod realtime;
mod records;
mod restart;
mod scrapes;
mod sections;
mod shipped;
mod updates;
mod uprobes;
mod verifier;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use crate::agent::Agent;

/// A test of this program.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// Its module and its function.
    pub name: &'static str,
    /// What it does. It panics if it fails.
    pub run: fn(),
    /// The kernels that its outcome depends on.
    pub kernels: Kernels,
}

/// The kernels that a test has to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// The test exercises the agent alone, or code that every supported kernel runs alike. The two kernels with a complete
    /// suite are enough.
    Complete,
    /// The kernel's version decides what the test exercises, for this reason. It runs on every kernel.
    Every(&'static str),
}

const fn complete(name: &'static str, run: fn()) -> Test {
    Test { name, run, kernels: Kernels::Complete }
}

const fn every(name: &'static str, run: fn(), reason: &'static str) -> Test {
    Test { name, run, kernels: Kernels::Every(reason) }
}

const ATTACHMENT: &str = "the version decides between fentry and kprobe, and what either of them can miss";
const STRUCTURES: &str = "the programs read kernel structures whose layout changes between versions";
const PINNED: &str = "the version decides which attachments can be pinned and so outlive the agent";
const CAPABILITIES: &str = "the version decides which capability each bpf() and perf_event_open() call needs";
const FUNCTIONS: &str = "the hooked functions and their arguments change between versions";

/// Every test. A new one that the kernel's version matters to says so, with the reason.
pub const ALL: &[Test] = &[
    every("agreement::integers", agreement::integers, STRUCTURES),
    every("agreement::one_selector", agreement::one_selector, STRUCTURES),
    every("agreement::paths", agreement::paths, STRUCTURES),
    every("agreement::dentries", agreement::dentries, STRUCTURES),
    every("agreement::descriptors", agreement::descriptors, STRUCTURES),
    every("agreement::packets", agreement::packets, STRUCTURES),
    complete("agreement::fragments", agreement::fragments),
    complete("agreement::unix_names", agreement::unix_names),
    every("agreement::of_the_process", agreement::of_the_process, STRUCTURES),
    every("agreement::of_arguments", agreement::of_arguments, STRUCTURES),
    every("agreement::strings_and_results", agreement::strings_and_results, ATTACHMENT),
    every("agreement::sockets", agreement::sockets, STRUCTURES),
    every("agreement::socket_arguments", agreement::socket_arguments, STRUCTURES),
    every("agreement::many_policies", agreement::many_policies, ATTACHMENT),
    every("agreement::file_types", agreement::file_types, STRUCTURES),
    every("agreement::capability_sets", agreement::capability_sets, STRUCTURES),
    complete("endurance::everything_at_random", endurance::everything_at_random),
    every("enforcement::signals", enforcement::signals, ATTACHMENT),
    every("enforcement::overrides", enforcement::overrides, "the version decides whether BPF LSM is active"),
    every("enforcement::without_a_gap", enforcement::without_a_gap, PINNED),
    every("enforcement::two_policies", enforcement::two_policies, ATTACHMENT),
    every("enforcement::pending", enforcement::pending, STRUCTURES),
    every("enforcement::spared", enforcement::spared, STRUCTURES),
    every("enforcement::whole_node", enforcement::whole_node, STRUCTURES),
    every("enforcement::settings", enforcement::settings, ATTACHMENT),
    complete("enforcement::one_policy", enforcement::one_policy),
    every("enforcement::by_hand", enforcement::by_hand, PINNED),
    complete("enforcement::links_removed", enforcement::links_removed),
    every("errors::malformed_and_unknown", errors::malformed_and_unknown, FUNCTIONS),
    complete("errors::arguments_on_return", errors::arguments_on_return),
    complete("errors::mistake_while_running", errors::mistake_while_running),
    complete("errors::occupied_port", errors::occupied_port),
    complete("errors::unreadable_directory", errors::unreadable_directory),
    every("errors::no_privileges", errors::no_privileges, CAPABILITIES),
    every("exact::two_processors", exact::two_processors, ATTACHMENT),
    every("exact::one_symbol_two_points", exact::one_symbol_two_points, ATTACHMENT),
    every("exact::interrupted", exact::interrupted, ATTACHMENT),
    every("exact::fork_and_exec_between", exact::fork_and_exec_between, STRUCTURES),
    every("exact::full_table", exact::full_table, "from 6.1 on, hash maps use another memory allocator"),
    every("exact::processes", exact::processes, STRUCTURES),
    complete("hostile::names", hostile::names),
    complete("hostile::long_paths", hostile::long_paths),
    complete("hostile::without_a_file", hostile::without_a_file),
    complete("hostile::forks", hostile::forks),
    complete("hostile::cgroups", hostile::cgroups),
    complete("hostile::nested::filters_on_return", hostile::nested::filters_on_return),
    complete("hostile::pods::programs", hostile::pods::programs),
    complete("hostile::pods::many_hooks", hostile::pods::many_hooks),
    complete("hostile::pods::connections", hostile::pods::connections),
    every(
        "hostile::pods::processes",
        hostile::pods::processes,
        "before 6.1, the table of processes is allocated at once",
    ),
    every("hostile::pods::nested_cgroups", hostile::pods::nested_cgroups, STRUCTURES),
    every("lanes::more_integers_than_a_matcher_reads", lanes::more_integers_than_a_matcher_reads, PINNED),
    complete(
        "lanes::a_failed_update_keeps_the_version_before",
        lanes::a_failed_update_keeps_the_version_before,
    ),
    every("language::types_of_files", language::types_of_files, STRUCTURES),
    every("language::capability_sets", language::capability_sets, STRUCTURES),
    every("language::socket_arguments", language::socket_arguments, STRUCTURES),
    every("language::capabilities_of_a_namespace", language::capabilities_of_a_namespace, STRUCTURES),
    complete("language::positions", language::positions),
    complete("language::process_ids", language::process_ids),
    complete("language::monitor_mode", language::monitor_mode),
    complete("last_event::outlives_the_agent", last_event::outlives_the_agent),
    every("lists::functions_and_calls", lists::functions_and_calls, ATTACHMENT),
    every("lists::all_system_calls", lists::all_system_calls, PINNED),
    every("lists::a_list_that_changes", lists::a_list_that_changes, ATTACHMENT),
    complete("load::agent_starved", load::agent_starved),
    complete("load::agent_stopped", load::agent_stopped),
    complete("load::programs_without_end", load::programs_without_end),
    complete("load::cgroups_without_end", load::cgroups_without_end),
    complete("mounted::its_folder_alone", mounted::its_folder_alone),
    every(
        "moved::between_cgroups",
        moved::between_cgroups,
        "before 5.11, a helper reads the task's cgroup instead of four loads",
    ),
    complete("nodes::a_container_without_the_node", nodes::a_container_without_the_node),
    complete("nodes::cgroup_v1", nodes::cgroup_v1),
    every("nodes::processes_in_a_pid_namespace", nodes::processes_in_a_pid_namespace, STRUCTURES),
    every("nodes::programs_of_the_host", nodes::programs_of_the_host, STRUCTURES),
    complete("pods::a_hundred_short_ones", pods::a_hundred_short_ones),
    complete("pods::more_series_than_allowed", pods::more_series_than_allowed),
    complete("pods::two_hundred_and_a_hundred_policies", pods::two_hundred_and_a_hundred_policies),
    every("privileges::least", privileges::least, CAPABILITIES),
    every("privileges::user_programs", privileges::user_programs, CAPABILITIES),
    every("privileges::without_each", privileges::without_each, CAPABILITIES),
    every("records::in_the_kernel", records::in_the_kernel, STRUCTURES),
    every("records::a_line_for_each_event", records::a_line_for_each_event, STRUCTURES),
    every("records::flood", records::flood, ATTACHMENT),
    complete("records::budget", records::budget),
    complete("records::rate_limit", records::rate_limit),
    complete("records::off", records::off),
    every("restart::killed_while_counting", restart::killed_while_counting, PINNED),
    every("restart::killed_with_kprobes", restart::killed_with_kprobes, PINNED),
    every("restart::after_an_upgrade", restart::after_an_upgrade, PINNED),
    complete("restart::changed_meanwhile", restart::changed_meanwhile),
    complete("restart::nothing_is_left", restart::nothing_is_left),
    complete("restart::unused_counts_are_removed", restart::unused_counts_are_removed),
    every("restart::numbers_go_on", restart::numbers_go_on, PINNED),
    complete("scrapes::while_policies_change", scrapes::while_policies_change),
    every("sections::tracepoints", sections::tracepoints, STRUCTURES),
    every("sections::syscall_numbers", sections::syscall_numbers, STRUCTURES),
    every("agreement::syscall_numbers", agreement::syscall_numbers, STRUCTURES),
    every("sections::lsm_hooks", sections::lsm_hooks, "the version decides whether BPF LSM is active"),
    every("sections::interrupted", sections::interrupted, ATTACHMENT),
    every("shipped::host_policies", shipped::host_policies, FUNCTIONS),
    every("shipped::application_policies", shipped::application_policies, FUNCTIONS),
    every("shipped::runtime::set_up", shipped::runtime::set_up, STRUCTURES),
    complete("shipped::late_pods", shipped::late_pods),
    complete("realtime::whenever_a_map_is_touched", realtime::whenever_a_map_is_touched),
    complete("updates::without_a_gap", updates::without_a_gap),
    complete("updates::followed_one_after_the_other", updates::followed_one_after_the_other),
    complete("updates::series_go_with_their_policy", updates::series_go_with_their_policy),
    every("uprobes::places", uprobes::places, ATTACHMENT),
    every("uprobes::many_processes", uprobes::many_processes, ATTACHMENT),
    every("uprobes::containers", uprobes::containers, ATTACHMENT),
    every("verifier::head_room", verifier::head_room, "each version has another verifier"),
];

/// The first argument of a process that only makes calls: `--calls KIND TIMES`, or `--calls setuid-until FILE`, which
/// continues until there is a file and then prints how many calls it has made; for `mix` and `paced` see [`endurance`].
pub const CALLS: &str = "--calls";

/// Makes calls and ends, if this process was started for that.
pub fn helper() -> Option<ExitCode> {
    // The program's own name may be anything.
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, CALLS, "setuid-until", file] => {
            let mut calls = 0_u64;
            while !std::path::Path::new(file).exists() {
                crate::calls::setuid_root(1_000);
                calls += 1_000;
            }
            println!("{calls}");
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, "programs", folder, programs] => {
            hostile::pods::run_programs(Path::new(folder), programs.parse().expect("a number"));
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, "wait", file, processes] => {
            hostile::pods::wait_for(Path::new(file), processes.parse().expect("a number"));
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, "evade", words @ ..] => {
            shipped::evasions::make(words);
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, "runtime", words @ ..] => {
            shipped::runtime::make(words);
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, "forbidden", words @ ..] => {
            enforcement::make(words);
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, "forbidden-when", file, times] => {
            nodes::wait(file, &[]);
            enforcement::make(&["forks", "7", times]);
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, "setuid-when", file, times, cgroup @ ..] => {
            nodes::wait(file, cgroup);
            crate::calls::setuid_root(times.parse().expect("a number"));
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, "counted-when", file, times] => {
            nodes::wait(file, &[]);
            crate::calls::counted(7, c"secret", times.parse().expect("a number"));
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, "rooted", root, words @ ..] => uprobes::enter(Path::new(root), words),
        [_, CALLS, "mix", words @ ..] => {
            endurance::make(words);
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, "paced", file] => {
            endurance::make_paced(Path::new(file));
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, kind @ ("pread-yielding" | "pread-interrupting"), times, file] => {
            let times = times.parse().expect("a number");
            let file = fs::File::open(file).expect("a file");
            if *kind == "pread-yielding" {
                crate::calls::pread_yielding(&file, times);
            } else {
                crate::calls::pread_interrupting(&file, times);
            }
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, kind, times] => {
            let times = times.parse().expect("a number");
            match *kind {
                "setuid" => crate::calls::setuid_root(times),
                "counted" => crate::calls::counted(7, c"secret", times),
                "setgid" => crate::calls::setgid(7, times),
                "setgid-yielding" => crate::calls::setgid_yielding(7, times),
                "setgid-interrupting" => crate::calls::setgid_interrupting(7, times),
                "fork-setuid" => crate::calls::fork_setuid(times),
                other => panic!("no calls of kind {other}"),
            }
            Some(ExitCode::SUCCESS)
        }
        _ => None,
    }
}

/// This program's own path.
pub fn this() -> std::path::PathBuf {
    std::env::current_exe().expect("our own path")
}

/// Makes calls in a process of our own, which ends before this returns: `kind` and `times` are the words after `--calls`.
fn make(kind: &str, times: &str) {
    let status =
        Command::new(this()).args([CALLS, kind, times]).status().expect("a process that makes calls");
    assert!(status.success(), "{status}");
}

/// A hook that every `setuid` matches.
const SETUID: &str = "  - call: __sys_setuid\n    syscall: false";

/// An agent with one policy, `uid`, that counts every `setuid` of everybody.
fn counts_setuid() -> Agent {
    Agent::start(&[("p.yaml", &policy("uid", SETUID))], &crate::pod::list(&[]))
}

/// A policy on one function, from its hook's YAML (indented by four spaces).
pub fn policy(name: &str, hook: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata:\n  name: {name}\nspec:\n  kprobes:\n{hook}\n---\n"
    )
}

/// The same policy in monitor mode.
fn monitoring(policy: &str) -> String {
    policy.replace("spec:\n", "spec:\n  options: [{name: policy-mode, value: monitor}]\n")
}

/// Two processes that call `setuid(0)` flat out. They end with this: a test that fails leaves none behind.
struct Callers {
    /// Where they see that they are to end.
    stop: PathBuf,
    workers: Vec<Child>,
}

impl Callers {
    fn start(agent: &Agent) -> Self {
        let stop = agent.pods.with_file_name("stop");
        let workers = (0..2)
            .map(|_| {
                Command::new(this())
                    .args([CALLS, "setuid-until"])
                    .arg(&stop)
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("a process that makes calls")
            })
            .collect();
        Self { stop, workers }
    }

    /// Ends them; gives the number of calls that they made.
    fn finish(mut self) -> u64 {
        fs::write(&self.stop, "").expect("written");
        std::mem::take(&mut self.workers)
            .into_iter()
            .map(|worker| {
                let output = worker.wait_with_output().expect("its output");
                let number = String::from_utf8_lossy(&output.stdout).trim().parse::<u64>();
                number.unwrap_or_else(|_| panic!("a caller printed no number: {output:?}"))
            })
            .sum()
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}
