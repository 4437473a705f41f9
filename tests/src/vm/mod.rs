//! Tests on a real kernel.

mod agreement;
pub mod endurance;
mod errors;
mod exact;
mod hostile;
mod language;
mod load;
mod moved;
mod pods;
mod privileges;
mod restart;
mod scrapes;
mod shipped;
mod undisturbed;
mod updates;
mod verifier;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};

use crate::agent::Agent;

/// Name and function of every test.
pub const ALL: &[(&str, fn())] = &[
    ("agreement::integers", agreement::integers),
    ("agreement::one_selector", agreement::one_selector),
    ("agreement::paths", agreement::paths),
    ("agreement::file_types", agreement::file_types),
    ("agreement::strings_and_results", agreement::strings_and_results),
    ("agreement::sockets", agreement::sockets),
    ("agreement::many_policies", agreement::many_policies),
    ("endurance::everything_at_random", endurance::everything_at_random),
    ("errors::malformed_and_unknown", errors::malformed_and_unknown),
    ("errors::mistake_while_running", errors::mistake_while_running),
    ("errors::occupied_port", errors::occupied_port),
    ("errors::unreadable_directory", errors::unreadable_directory),
    ("errors::no_privileges", errors::no_privileges),
    ("exact::two_processors", exact::two_processors),
    ("exact::interrupted", exact::interrupted),
    ("exact::fork_and_exec_between", exact::fork_and_exec_between),
    ("exact::full_table", exact::full_table),
    ("exact::one_symbol_two_points", exact::one_symbol_two_points),
    ("exact::processes", exact::processes),
    ("hostile::names", hostile::names),
    ("hostile::long_paths", hostile::long_paths),
    ("hostile::without_a_file", hostile::without_a_file),
    ("hostile::forks", hostile::forks),
    ("hostile::cgroups", hostile::cgroups),
    ("language::types_of_files", language::types_of_files),
    ("language::positions", language::positions),
    ("language::process_ids", language::process_ids),
    ("language::monitor_mode", language::monitor_mode),
    ("load::agent_starved", load::agent_starved),
    ("load::agent_stopped", load::agent_stopped),
    ("load::programs_without_end", load::programs_without_end),
    ("load::cgroups_without_end", load::cgroups_without_end),
    ("moved::between_cgroups", moved::between_cgroups),
    ("pods::a_hundred_short_ones", pods::a_hundred_short_ones),
    ("pods::more_series_than_allowed", pods::more_series_than_allowed),
    ("pods::two_hundred_and_a_hundred_policies", pods::two_hundred_and_a_hundred_policies),
    ("privileges::least", privileges::least),
    ("privileges::without_each", privileges::without_each),
    ("restart::killed_while_counting", restart::killed_while_counting),
    ("restart::killed_with_kprobes", restart::killed_with_kprobes),
    ("restart::after_an_upgrade", restart::after_an_upgrade),
    ("restart::changed_meanwhile", restart::changed_meanwhile),
    ("restart::nothing_is_left", restart::nothing_is_left),
    ("restart::numbers_go_on", restart::numbers_go_on),
    ("scrapes::while_policies_change", scrapes::while_policies_change),
    ("shipped::host_policies", shipped::host_policies),
    ("shipped::application_policies", shipped::application_policies),
    ("shipped::late_pods", shipped::late_pods),
    ("undisturbed::whenever_a_map_is_touched", undisturbed::whenever_a_map_is_touched),
    ("updates::without_a_gap", updates::without_a_gap),
    ("updates::followed_one_after_the_other", updates::followed_one_after_the_other),
    ("updates::series_go_with_their_policy", updates::series_go_with_their_policy),
    ("verifier::head_room", verifier::head_room),
];

/// The first argument of a process that only makes calls: `--calls KIND TIMES`, or `--calls setuid-until FILE`, which
/// goes on until there is a file and then prints how many calls it has made; for `mix` and `paced` see [`endurance`].
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
        [_, CALLS, "mix", words @ ..] => {
            endurance::make(words);
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, "paced", file] => {
            endurance::make_paced(Path::new(file));
            Some(ExitCode::SUCCESS)
        }
        [_, CALLS, kind, times] => {
            let times = times.parse().expect("a number");
            match *kind {
                "setuid" => crate::calls::setuid_root(times),
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
