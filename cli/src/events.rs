//! `gatewatch events`: records of events, from a file, standard input or an agent's socket.

mod choice;
mod input;
mod show;
mod tree;

use std::{
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail};
use choice::{Choice, Since, Type};
use clap::{Args, ValueEnum};
use gatewatch_events::Event;
use input::{Input, Lines, Next};
use show::Show;
use tree::Tree;

use crate::{FAILED, print_message};

/// Where the chart puts the socket of an agent.
const SOCKET: &str = "/run/gatewatch-export/events.sock";
/// How long `-f` waits before it looks for more.
const PAUSE: Duration = Duration::from_millis(200);

/// What `gatewatch events` is asked for.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "a flag of the command line each")]
pub(crate) struct Events {
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Form,
    /// Only records of this policy. Repeat the option for several
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
    /// Only records of pods in this namespace. Repeat the option for several
    #[arg(long, short, value_name = "NAME")]
    namespace: Vec<String>,
    /// Only records of pods whose name begins with this
    #[arg(long, value_name = "NAME")]
    pod: Vec<String>,
    /// Only records of processes of the host
    #[arg(long, conflicts_with_all = ["namespace", "pod"])]
    host: bool,
    /// Only records of this program: its path, or the last part of its path
    #[arg(long, value_name = "PATH")]
    binary: Vec<String>,
    /// Only records of this type. Repeat the option for several
    #[arg(long = "type", short = 't', value_enum, value_name = "TYPE")]
    types: Vec<Type>,
    /// Only records since this time, or of the last minutes or hours: `2026-01-02T03:04:05Z` or `10m`
    #[arg(long, value_name = "TIME|DURATION")]
    since: Option<Since>,
    /// Wait for further records of the file
    #[arg(long, short)]
    follow: bool,
    /// Show processes as a tree, each with its records
    #[arg(long, conflicts_with_all = ["follow", "socket", "output"])]
    tree: bool,
    /// Show below each record why it was made: policy, hook, selector
    #[arg(long)]
    explain: bool,
    /// Begin each line with the time
    #[arg(long)]
    timestamps: bool,
    /// Read from the socket of an agent (`--export-socket`) [default without a file: /run/gatewatch-export/events.sock]
    #[arg(long, value_name = "PATH", conflicts_with_all = ["files", "follow"])]
    socket: Option<PathBuf>,
    /// Files with records, also compressed by gzip, or - for standard input
    #[arg(value_name = "FILE|-")]
    files: Vec<PathBuf>,
}

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A line for people
    #[default]
    Compact,
    /// The records as they are, a line of JSON each
    Json,
    /// A table with time, pod, policy and action
    Table,
}

/// Shows records, with colours if `color` is set.
pub(crate) fn run(arguments: &Events, color: bool) -> Result<ExitCode> {
    let choice = Choice::new(arguments, SystemTime::now());
    let inputs = inputs(arguments)?;
    if arguments.follow && inputs.len() > 1 {
        bail!("-f follows one file, but {} are given", inputs.len());
    }
    let mut output = BufWriter::new(io::stdout().lock());
    let show =
        Show { form: arguments.output, explain: arguments.explain, timestamps: arguments.timestamps, color };
    if arguments.output == Form::Table && !arguments.tree {
        Show::heading(&mut output)?;
    }
    let mut tree = arguments.tree.then(Tree::default);
    let mut faults = Faults::default();
    for input in inputs {
        let name = input.name();
        let mut lines = Lines::open(input)?;
        loop {
            match lines.next(arguments.follow)? {
                Next::Line(line) => match Event::parse(&line) {
                    Ok(event) => match &mut tree {
                        Some(tree) => tree.add(&event, choice.takes(&event)),
                        None if choice.takes(&event) => show.event(&event, &line, &mut output)?,
                        None => {}
                    },
                    Err(error) => faults.add(&name, lines.number(), &error),
                },
                // What is there is shown before the next wait.
                Next::Wait => {
                    output.flush()?;
                    if arguments.follow {
                        std::thread::sleep(PAUSE);
                    }
                }
                Next::End => break,
            }
        }
    }
    if let Some(tree) = tree {
        tree.print(show, &mut output)?;
    }
    output.flush()?;
    Ok(faults.exit_code())
}

/// Calls `take` with each record of a file (`-`: standard input). Lines that are not records are reported; gives their
/// number.
pub(crate) fn records(file: &Path, mut take: impl FnMut(Event) -> Result<()>) -> Result<u64> {
    let input = input_of(file);
    let name = input.name();
    let mut lines = Lines::open(input)?;
    let mut faults = Faults::default();
    loop {
        match lines.next(false)? {
            Next::Line(line) => match Event::parse(&line) {
                Ok(event) => take(event)?,
                Err(error) => faults.add(&name, lines.number(), &error),
            },
            Next::Wait => {}
            Next::End => return Ok(faults.number),
        }
    }
}

fn input_of(path: &Path) -> Input {
    if path.as_os_str() == "-" { Input::Stdin } else { Input::File(path.to_owned()) }
}

fn inputs(arguments: &Events) -> Result<Vec<Input>> {
    if let Some(path) = &arguments.socket {
        return Ok(vec![Input::Socket(path.clone())]);
    }
    if arguments.files.is_empty() {
        if arguments.follow || arguments.tree {
            bail!("name the file with the records, or - for standard input");
        }
        return Ok(vec![Input::Socket(SOCKET.into())]);
    }
    Ok(arguments.files.iter().map(|path| input_of(path)).collect())
}

/// Lines that are no records.
#[derive(Debug, Default)]
struct Faults {
    number: u64,
}

impl Faults {
    /// Lines that are reported one by one; then only their number.
    const REPORTED: u64 = 5;

    fn add(&mut self, name: &str, line: u64, error: &serde_json::Error) {
        self.number += 1;
        if self.number <= Self::REPORTED {
            print_message(&format!("{name}, line {line} is not a record: {error}"));
        }
    }

    fn exit_code(&self) -> ExitCode {
        if self.number == 0 {
            return ExitCode::SUCCESS;
        }
        print_message(&format!("error: {} lines were left out, because they are not records", self.number));
        ExitCode::from(FAILED)
    }
}
