//! Gatewatch's development tasks. `cargo xtask help` lists them; each sub-command has a file of its own.

mod bench;
mod build;
mod cache;
mod chart;
mod cluster;
mod debian;
mod demo;
mod gate;
mod image;
mod kube;
mod oci;
mod parallel;
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
    /// Build the BPF programs, the agent, the webhook, the command line and the test programs
    Build(build::Arguments),
    /// Run a command in a VM, with the built binaries in PATH and policies/ at /policies
    Vm(vm::command::Arguments),
    /// Show the shipped policies counting what real programs do, in a VM with Debian's kernel 6.12
    Demo(demo::Arguments),
    /// Start an API server with the webhook of this tree on loopback, use it, and stop it
    Gate(gate::Arguments),
    /// Run all test suites, or the named ones
    Test(test::Arguments),
    /// Start a Kubernetes cluster whose node is a VM, use it, and stop it
    Cluster(cluster::Arguments),
    /// Forward a connection of a cluster's node to a loopback port (QEMU runs this)
    #[command(hide = true)]
    Relay(cluster::relay::Arguments),
    /// Write the generated files of the Helm chart: CRDs, policies, the admission policy and the table of values
    Chart,
    /// Build the container images of agent and webhook, without a daemon
    Image(oci::Arguments),
    /// Measure the cost of events, scrapes, memory, startup and floods (in VMs), of linting, or of a webhook decision
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
