//! The benches that need a kernel. Run by `cargo xtask bench` in a VM. For those that count instructions its clock does so
//! (`-icount shift=0,sleep=off -smp 1`): a nanosecond read inside is an instruction.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a bench prints, and ends on errors"
)]

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gatewatch_tests::bench::{self, Subject};

/// Measures the BPF programs and the agent.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Args)]
struct Form {
    /// One JSON object a line instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// What a hooked call costs, beside empty programs on the same function
    Event(Form),
    /// What the agent and its BPF programs keep in memory
    Memory(Form),
    /// From the agent's exec until all policies count
    Startup(Form),
    /// What a scrape and a policy more cost with many pods and policies
    Scale(Form),
    /// Calls flat out, a hundred thousand programs, and a full map
    Flood(Form),
}

fn main() -> ExitCode {
    // This program makes the calls that are counted, too, in processes of their own.
    if let Some(ended) = gatewatch_tests::vm::helper() {
        return ended;
    }
    if bench::execute() {
        return ExitCode::SUCCESS;
    }
    let kept = match Arguments::parse().bench {
        Bench::Event(Form { json }) => bench::run(Subject::Event, json),
        Bench::Memory(Form { json }) => bench::run(Subject::Memory, json),
        Bench::Startup(Form { json }) => bench::run(Subject::Startup, json),
        Bench::Scale(Form { json }) => bench::run(Subject::Scale, json),
        Bench::Flood(Form { json }) => bench::run(Subject::Flood, json),
    };
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
