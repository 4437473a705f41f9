//! Gatewatch's development tasks. `cargo xtask help` lists them; each sub-command has a file of its own.

mod bench;
mod build;
mod cache;
mod debian;
mod demo;
mod image;
mod paths;
mod process;
mod progress;
mod setup;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development tasks of Gatewatch.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_flag = false)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install what is missing to build Gatewatch and to run it in VMs
    Setup(setup::Arguments),
    /// Build the kernel half, then the agent, the command line and the test programs, static
    Build(build::Arguments),
    /// Run a command in a VM, with the built binaries in PATH and policies/ at /policies
    Vm(vm::command::Arguments),
    /// Show the main job: the shipped policies count what real programs do, in a VM with Debian's 6.12 kernel
    Demo(demo::Arguments),
    /// Run the test suites, all or those named
    Test(test::Arguments),
    /// Measure what an event costs (in a VM whose clock is its instruction counter), or what linting takes
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Setup(arguments) => setup::command(&arguments),
        Task::Build(arguments) => build::command(&arguments),
        Task::Vm(arguments) => vm::command::command(arguments),
        Task::Demo(arguments) => demo::command(&arguments),
        Task::Test(arguments) => test::command(&arguments),
        Task::Bench(arguments) => bench::command(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
