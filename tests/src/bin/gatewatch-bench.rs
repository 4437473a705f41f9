//! The benches that need a kernel. Run by `cargo xtask bench` in a VM whose clock counts instructions
//! (`-icount shift=0,sleep=off -smp 1`): a nanosecond read inside is an instruction.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a bench prints, and ends on errors"
)]

use clap::{Parser, Subcommand};
use gatewatch_tests::bench::event;

/// Measures the kernel half.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// What a hooked call costs, beside empty programs on the same function
    Event {
        /// One JSON object a line instead of a table
        #[arg(long)]
        json: bool,
    },
}

fn main() {
    match Arguments::parse().bench {
        Bench::Event { json } => event::run(json),
    }
}
