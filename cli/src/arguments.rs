//! The options.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Looks at `TracingPolicy` objects, and at the workloads beside them, before a cluster does
#[derive(Debug, Parser)]
#[command(name = "gatewatch", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// When to use colours
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) color: Color,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Says everything that is wrong with policies, and with workloads that are given beside them
    ///
    /// Exits with 0 where there is no error, with 1 where there is, and with 2 where an input can't be read.
    Lint(Lint),
    /// Mends what can be mended without being looked at first, and keeps comments and layout
    ///
    /// Exits with 0 when it is done; with --diff with 1 where there is something to mend; with 2 where an input can't
    /// be read.
    Fix(Fix),
    /// Explains a policy in plain words, or the code of a diagnostic
    Explain(Explain),
    /// Runs unit tests of policies: events, and whether each is to be counted
    ///
    /// Exits with 0 where all pass, with 1 where one fails, and with 2 where one can't be run.
    Test(Test),
    /// Shows which policies watch which workloads
    Coverage(Coverage),
    /// Writes down what the running kernel offers, for `lint --kernel` on another machine
    ///
    /// Run it as root: some of the kernel's lists are open to root only. What couldn't be read is said.
    Profile {
        /// Where to write it; without this, to standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Writes a script that completes commands and options in a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Writes the manual page
    Man {
        /// Of this command alone
        command: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Kernels {
    /// A kernel to check for, several times if need be: a file that `gatewatch profile` made, `host` for the running
    /// one, or the name of one that comes with the program. Without this, all of those that come with it
    #[arg(long = "kernel", value_name = "FILE|host|NAME")]
    pub(crate) kernels: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Inputs {
    /// The namespace of objects that name none
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
    /// Files, directories (every .yaml, .yml and .json file in them and below), or - for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) inputs: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Lint {
    #[command(flatten)]
    pub(crate) kernels: Kernels,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// What counts as an error, too
    #[arg(long, value_enum)]
    pub(crate) deny: Option<Deny>,
    /// The definitions of `TracingPolicy` as they are installed (`kubectl get crd -o yaml NAME…`), to be checked
    /// against in place of those that come with the program
    #[arg(long, value_name = "FILE")]
    pub(crate) crd: Option<PathBuf>,
    /// Explains each code that was said, below
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) inputs: Inputs,
}

#[derive(Debug, Args)]
pub(crate) struct Fix {
    #[command(flatten)]
    pub(crate) kernels: Kernels,
    /// Shows what would be changed, and changes nothing
    #[arg(long)]
    pub(crate) diff: bool,
    /// Files, directories, or - to mend standard input to standard output
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) inputs: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) kernels: Kernels,
    /// A code, as GW303, or files with policies; without it, all codes are listed
    #[arg(value_name = "CODE|FILE")]
    pub(crate) subjects: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// A kernel to run the tests for that name none; without this, the newest that comes with the program
    #[arg(long, value_name = "FILE|host|NAME")]
    pub(crate) kernel: Option<String>,
    /// Files of tests
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Coverage {
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: TableFormat,
    #[command(flatten)]
    pub(crate) inputs: Inputs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: the line and what is wrong in it
    #[default]
    Human,
    /// For programs: one object a line
    Json,
    /// For code scanning: one document in SARIF 2.1.0
    Sarif,
    /// For GitHub's actions: workflow commands
    Github,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// A table for people
    #[default]
    Human,
    /// For programs: one object a line, for each workload
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
