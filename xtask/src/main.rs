//! Gatewatch's development tasks. `cargo xtask help` lists them; each sub-command has a file of its own.

mod bench;
mod build;
mod cache;
mod chart;
mod cluster;
mod debian;
mod demo;
mod dependencies;
mod gate;
mod image;
mod kube;
mod oci;
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
    /// An API server with the gate before it, on loopback, to try it
    Gate(gate::Arguments),
    /// Run the test suites, all or those named
    Test(test::Arguments),
    /// Start a Kubernetes cluster whose node is a VM, use it, and take it down
    Cluster(cluster::Arguments),
    /// Pass a connection of a cluster's node on to a port of loopback: for QEMU
    #[command(hide = true)]
    Relay(cluster::relay::Arguments),
    /// Write what the helm chart has from elsewhere: kinds, policies, the table of its values
    Chart,
    /// Make the container images of agent and webhook, without a daemon
    Image(oci::Arguments),
    /// Measure what an event, a scrape, memory, a start, a flood of calls (in VMs), linting, or a decision of the webhook
    /// cost
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Setup(arguments) => setup::command(&arguments),
        Task::Build(arguments) => build::command(&arguments),
        Task::Vm(arguments) => vm::command::command(arguments),
        Task::Demo(arguments) => demo::command(&arguments),
        Task::Gate(arguments) => gate::command(arguments),
        Task::Test(arguments) => test::command(&arguments),
        Task::Cluster(arguments) => cluster::command(&arguments),
        Task::Relay(arguments) => cluster::relay::command(&arguments),
        Task::Chart => chart::command(),
        Task::Image(arguments) => oci::command(&arguments),
        Task::Bench(arguments) => bench::command(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
