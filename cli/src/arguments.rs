//! The options.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::top::Top;

/// Looks at `TracingPolicy` objects before a node does
#[derive(Debug, Parser)]
#[command(name = "gatewatch", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Says everything that is wrong with policies
    ///
    /// Exits with 0 where there is no error, with 1 where there is, and with 2 where an input can't be read.
    Lint(Lint),
    /// Writes down what the running kernel offers, for `lint --kernel` on another machine
    ///
    /// Run it as root: some of the kernel's lists are open to root only. What couldn't be read is said.
    Profile {
        /// Where to write it; without this, to standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Explains the code of a diagnostic
    Explain {
        /// The code, as GW303; without it, all codes are listed
        code: Option<String>,
    },
    /// Shows what agents count, as it happens, by policy, workload or binary
    Top(Top),
    /// Writes a script that completes commands and options in a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// A kernel to check for, several times if need be: a file that `gatewatch profile` made, `host` for the running
    /// one, or the name of one that comes with the program. Without this, all of those that come with it
    #[arg(long = "kernel", value_name = "FILE|host|NAME")]
    pub(crate) kernels: Vec<String>,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// What counts as an error, too
    #[arg(long, value_enum)]
    pub(crate) deny: Option<Deny>,
    /// When to use colours
    #[arg(long, value_enum, default_value_t)]
    pub(crate) color: Color,
    /// Files, directories (every .yaml, .yml and .json file in them and below), or - for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) inputs: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: the line and what is wrong in it
    #[default]
    Human,
    /// For programs: one object a line
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deny {
    /// Warnings
    Warnings,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Whether standard output is to be coloured.
    pub(crate) fn on_stdout(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            // See https://no-color.org: set and not empty.
            Self::Auto => {
                std::io::stdout().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
            }
        }
    }
}
