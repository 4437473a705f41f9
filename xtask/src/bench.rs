//! `cargo xtask bench`: what an event costs, in instructions, what linting takes, and what a decision of the webhook
//! costs.

mod lint;

use std::process::{Command, ExitCode};

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
const PROGRAM: &str = "gatewatch-bench";

/// What can be measured.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Subject {
    /// Instructions that one call of a watched kernel function takes
    Event,
    /// What a decision of the webhook costs, beside a handler that answers a constant
    Webhook,
    /// Time and memory that linting many policies and manifests takes
    Lint,
}

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(default_value = "event")]
    subject: Subject,
    /// The Debian kernel to measure on
    #[arg(long, default_value = "6.12")]
    kernel: Kernel,
    /// Arguments for the program that measures, such as --json
    #[arg(last = true, value_name = "ARGUMENT")]
    passed_on: Vec<String>,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    match arguments.subject {
        Subject::Event => event(arguments),
        Subject::Lint => lint::run(),
        Subject::Webhook => webhook(&arguments.passed_on),
    }
}

fn event(arguments: &Arguments) -> Result<ExitCode> {
    let tools = setup::tools()?;
    let built = build::build(&tools, Profile::Release)?;
    built.program(PROGRAM)?;
    let mut vm = Vm::new(arguments.kernel);
    vm.icount = true;
    vm.cpus = 1;
    vm.timeout = std::time::Duration::from_mins(20);
    say(&format!("booting Debian's kernel {} in a VM that counts instructions", vm.kernel));
    let mut argv = vec![PROGRAM, "event"];
    argv.extend(arguments.passed_on.iter().map(String::as_str));
    let output = vm.run(&argv, &built, &tools.cache, &mut pass_through)?;
    if let Some(failure) = &output.failure {
        eprintln!("error: {failure}");
    }
    Ok(exit_code(output.status))
}

/// Runs on this machine: all that counts is the ratio within one run.
fn webhook(passed_on: &[String]) -> Result<ExitCode> {
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
    let status = cargo.args(passed_on).status().context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
