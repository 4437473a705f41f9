//! `gatewatch`: checks policies before a node loads them.
//!
//! Exit status: 0 without errors, 1 if policies have errors, 2 if the command cannot be carried out, for example
//! because of an invalid option or an unreadable file.

mod arguments;
mod chunks;
mod coverage;
mod edits;
mod enforcement;
mod events;
mod explain;
mod fix;
mod inputs;
mod kernels;
mod lint;
mod manual;
mod profile;
mod replay;
mod report;
mod survey;
mod table;
mod test;
mod top;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use arguments::{Arguments, Command};
use clap::{CommandFactory as _, FromArgMatches as _};

/// Exit status of a failed run; clap uses it for invalid options.
const FAILED: u8 = 2;
/// The program's name as a plugin of kubectl, which runs it as `kubectl gatewatch`.
const PLUGIN: &str = "kubectl-gatewatch";

fn main() -> ExitCode {
    let arguments = parse();
    let color = arguments.color;
    let done = match arguments.command {
        Command::Lint(arguments) => report::run(&arguments, color),
        Command::Fix(arguments) => fix::run(&arguments, color),
        Command::Coverage(arguments) => coverage::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Test(arguments) => test::run(&arguments),
        Command::Profile { output } => profile::run(output.as_deref()).map(|()| ExitCode::SUCCESS),
        Command::Enforcement(arguments) => enforcement::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Events(arguments) => events::run(&arguments, color.on_stdout()),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Top(arguments) => top::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Explain(arguments) => explain::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => manual::completions(shell).map(|()| ExitCode::SUCCESS),
        Command::Man { command } => manual::page(command.as_deref()).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        // The reader closed the pipe, as `head` does.
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        print_message(&format!("error: {error:#}"));
        ExitCode::from(FAILED)
    })
}

/// Parses the command line. Errors of clap name the command as the user called it.
fn parse() -> Arguments {
    let called = std::env::args_os().next().unwrap_or_default();
    let as_plugin = Path::new(&called).file_stem().is_some_and(|name| name == PLUGIN);
    let command = Arguments::command();
    let command = if as_plugin { command.bin_name("kubectl gatewatch") } else { command };
    let matches = command.get_matches();
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Prints a message to standard error. A failure to print it is ignored.
fn print_message(sentence: &str) {
    let _ = writeln!(io::stderr(), "gatewatch: {sentence}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
