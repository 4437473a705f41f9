//! The command-line options.

use std::{io::IsTerminal as _, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use gatewatch_coverage::templates::{Template, Templates};
use gatewatch_policy::target::Target;

use crate::{enforcement::Enforcement, events::Events, top::Top};

/// Check `TracingPolicy` objects and workloads before you apply them to a cluster
#[derive(Debug, Parser)]
#[command(name = "gatewatch", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// When to use colors
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) color: Color,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Report all problems in policies, and in workloads passed along with them
    ///
    /// Exit status: 0 without errors, 1 with errors, 2 if an input cannot be read.
    Lint(Lint),
    /// Apply all safe fixes and keep comments and layout
    ///
    /// Exit status: 0 when done (with --diff: 1 if there is something to fix), 2 if an input cannot be read.
    Fix(Fix),
    /// Explain a policy in plain words, or a diagnostic code
    Explain(Explain),
    /// Run unit tests of policies: events, and whether a policy counts each
    ///
    /// Exit status: 0 if all tests pass, 1 if a test fails, 2 if a test cannot run.
    Test(Test),
    /// Show which policies select which workloads
    Coverage(Coverage),
    /// Save a profile of the running kernel, for `lint --kernel` on another machine
    ///
    /// Run it as root: only root can read some of the kernel's lists. A warning names each list that cannot be read.
    Profile {
        /// Output file; without it, standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show what policies may do in a cluster, or switch their actions off and on
    Enforcement(Enforcement),
    /// Show live counts of agents by policy, workload or binary
    Top(Top),
    /// Show records of events: who did what, when, with which arguments
    ///
    /// Exit status: 0 when done, 2 if an input cannot be read or has lines that are not records.
    Events(Events),
    /// Show which recorded events policies would count
    ///
    /// Exit status: 0 when done, 2 if an input cannot be read, or if a record lacks what a policy reads.
    Replay(Replay),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man {
        /// Only the page of this command
        command: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Kernels {
    /// Kernel to check for: a file from `gatewatch profile`, `host` for the running kernel, or the name of a shipped
    /// kernel. Repeat the option for several kernels. Default: all shipped kernels
    #[arg(long = "kernel", value_name = "FILE|host|NAME")]
    pub(crate) kernels: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Targets {
    /// Program to check for: `gatewatch`, `tetragon` (the newest known release) or `tetragon=VERSION`, 1.1 to 1.8.
    /// Repeat the option for several programs. Findings about other programs are left out. Default: `gatewatch`, with
    /// findings about Tetragon alone as notes
    #[arg(long = "target", value_name = "TARGET")]
    pub(crate) targets: Vec<Target>,
}

#[derive(Debug, Args)]
pub(crate) struct PodTemplates {
    /// Path to the pod template in objects of another kind, for example `Workload.example.com=spec.workload.template`.
    /// Repeat the option for several kinds. Templates at the paths of a deployment, cron job or pod template are
    /// found without it
    #[arg(long = "template", value_name = "KIND.GROUP=PATH")]
    all: Vec<Template>,
}

impl PodTemplates {
    /// The paths.
    pub(crate) fn get(&self) -> Templates {
        self.all.clone().into()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Inputs {
    /// Namespace of objects that do not set one
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
    #[command(flatten)]
    pub(crate) templates: PodTemplates,
    /// Files, directories (searched recursively for .yaml, .yml and .json files), or - for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Lint {
    #[command(flatten)]
    pub(crate) targets: Targets,
    #[command(flatten)]
    pub(crate) kernels: Kernels,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Treat these findings as errors too
    #[arg(long, value_enum)]
    pub(crate) deny: Option<Deny>,
    /// Check against these custom resource definitions (`kubectl get crd -o yaml NAME…`) instead of the shipped ones
    #[arg(long, value_name = "FILE")]
    pub(crate) crd: Option<PathBuf>,
    /// Print the page of each reported code at the end
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) inputs: Inputs,
}

#[derive(Debug, Args)]
pub(crate) struct Fix {
    #[command(flatten)]
    pub(crate) targets: Targets,
    #[command(flatten)]
    pub(crate) kernels: Kernels,
    #[command(flatten)]
    pub(crate) templates: PodTemplates,
    /// Show the changes without making them
    #[arg(long)]
    pub(crate) diff: bool,
    /// Files, directories, or - to read standard input and write to standard output
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) inputs: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) kernels: Kernels,
    /// A code such as GW303, or files with policies; without it, list all codes
    #[arg(value_name = "CODE|FILE")]
    pub(crate) subjects: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Kernel for test files that do not set one. Default: the newest shipped kernel
    #[arg(long, value_name = "FILE|host|NAME")]
    pub(crate) kernel: Option<String>,
    /// Write a test for each event of this file of records to standard output; the other files are the policies
    #[arg(long, value_name = "RECORDS")]
    pub(crate) record: Option<PathBuf>,
    /// Test files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Kernel to compile the policies for. Default: the newest shipped kernel
    #[arg(long, value_name = "FILE|host|NAME")]
    pub(crate) kernel: Option<String>,
    /// Show only the summary
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// File with records, also compressed by gzip, or - for standard input
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// Files with policies
    #[arg(required = true, value_name = "POLICY")]
    pub(crate) policies: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Coverage {
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: TableFormat,
    #[command(flatten)]
    pub(crate) inputs: Inputs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: the line and what is wrong with it
    #[default]
    Human,
    /// For programs: one JSON object per line
    Json,
    /// For code scanning: one SARIF 2.1.0 document
    Sarif,
    /// For GitHub Actions: workflow commands
    Github,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// A table for people
    #[default]
    Human,
    /// For programs: one JSON object per line and workload
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
    /// Whether standard output is coloured.
    pub(crate) fn on_stdout(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            // See https://no-color.org: it must be set and not empty.
            Self::Auto => {
                std::io::stdout().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
            }
        }
    }
}
