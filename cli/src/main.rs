//! `gatewatch`: looks at policies before a node does.
//!
//! Exits with 0 where there is nothing to complain about, with 1 where policies have errors, and with 2 where it
//! couldn't do what was asked: a wrong option, a file that can't be read.

mod arguments;
mod explain;
mod inputs;
mod kernels;
mod lint;
mod merge;
mod profile;
mod report;
mod top;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, Parser as _};

use arguments::{Arguments, Command};

/// Of a run that couldn't do what was asked; clap's own for wrong options.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Lint(arguments) => report::run(&arguments),
        Command::Profile { output } => profile::run(output.as_deref()).map(|()| ExitCode::SUCCESS),
        Command::Explain { code } => explain::run(code.as_deref()).map(|()| ExitCode::SUCCESS),
        Command::Top(arguments) => top::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => completions(shell).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        // Who reads the output has read enough, as `head` does.
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        complain(&format!("error: {error:#}"));
        ExitCode::from(FAILED)
    })
}

/// Says something that is not what was asked for. Where nobody listens, nothing can be done about it.
fn complain(sentence: &str) {
    let _ = writeln!(io::stderr(), "gatewatch: {sentence}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    // Into memory first: the generator panics where it can't write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "gatewatch", &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}
