//! `cargo xtask bench`: what an event costs, in instructions, and what linting takes.

mod lint;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{
    build::{self, Profile},
    image::Kernel,
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
