//! `cargo xtask bench`: what an event, a scrape, many policies and pods, a flood of calls, linting, and a decision of the
//! webhook cost.

mod lint;

use std::{
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::{
    build::{self, Profile},
    image::Kernel,
    paths,
    progress::say,
    setup,
    vm::{Vm, command::exit_code, pass_through},
};

/// The program that measures, run in the VM.
pub(crate) const PROGRAM: &str = "gatewatch-bench";

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Instructions per call of a hooked kernel function
    Event,
    /// Instructions per scrape and per added policy, with 200 and 300 pods and 100 policies
    Scale,
    /// Exactness, throughput and CPU time under a flood of calls on two CPUs, with 100,000 programs and a full map
    Flood,
    /// Memory of the agent and of its BPF maps, by policies, pods and series
    Memory,
    /// Cost of a webhook decision, compared with a handler that returns a constant
    Webhook,
    /// Time and memory of linting many policies and manifests
    Lint,
    /// Time from the agent's start until 0, 100 and 1,000 policies are counting
    Startup,
}

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(default_value = "event")]
    subject: Subject,
    /// Print one JSON object per line instead of a table
    #[arg(long)]
    json: bool,
    /// The Debian kernel of the VM
    #[arg(long, default_value = "6.12")]
    kernel: Kernel,
    /// Arguments for the benchmark program
    #[arg(last = true, value_name = "ARGUMENT")]
    passed_on: Vec<String>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    match arguments.subject {
        Subject::Lint => lint::run(arguments.json),
        Subject::Webhook => webhook(arguments),
        Subject::Event | Subject::Scale | Subject::Flood | Subject::Memory | Subject::Startup => {
            in_vm(arguments)
        }
    }
}

/// What is passed to the program that measures.
fn passed_on(arguments: &Arguments) -> impl Iterator<Item = &str> {
    arguments.json.then_some("--json").into_iter().chain(arguments.passed_on.iter().map(String::as_str))
}

fn in_vm(arguments: &Arguments) -> Result<ExitCode> {
    let name = arguments.subject.to_possible_value().context("a subject without a name")?;
    let tools = setup::tools()?;
    let built = build::build(&tools, Profile::Release)?;
    built.program(PROGRAM)?;
    let mut vm = Vm::new(arguments.kernel);
    vm.icount = matches!(arguments.subject, Subject::Event | Subject::Scale);
    vm.cpus = if vm.icount { 1 } else { 2 };
    // What a run takes where the machine has nothing else to do is a tenth of that.
    vm.timeout = Duration::from_hours(1);
    let kind = if vm.icount { " that counts instructions" } else { "" };
    say(&format!("booting Debian's kernel {} in a VM{kind}", vm.kernel));
    let mut argv = vec![PROGRAM, name.get_name()];
    argv.extend(passed_on(arguments));
    let output = vm.run(&argv, &built, &tools.cache, &mut pass_through)?;
    if let Some(failure) = &output.failure {
        eprintln!("error: {failure}");
    }
    Ok(exit_code(output.status))
}

/// Runs on this machine: all that counts is the ratio within one run.
fn webhook(arguments: &Arguments) -> Result<ExitCode> {
    // Before what else the machine does, where that is allowed: other programs' turns are not the gate's.
    let mut cargo = Command::new("nice");
    cargo.args(["-n", "-20"]).arg(paths::cargo()).current_dir(paths::root());
    cargo.args([
        "run",
        "--release",
        "--quiet",
        "--package",
        "gatewatch-webhook",
        "--example",
        "gate-bench",
        "--",
    ]);
    let status = cargo.args(passed_on(arguments)).status().context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
