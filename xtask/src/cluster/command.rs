//! The sub-commands of `cargo xtask cluster`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use super::running::Cluster;
use crate::{
    build::{self, Built, Profile},
    kube::Life,
    oci::{Image, Product, product},
    progress::say,
    setup,
    vm::command::exit_code,
};

/// Options of `cargo xtask cluster`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start a cluster: the control plane on this machine, one node in a VM, with Gatewatch's images imported
    Up,
    /// Stop the cluster
    Down,
    /// Run kubectl against the cluster
    #[command(disable_help_flag = true)]
    Kubectl {
        /// Arguments for kubectl
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Run a command on the node, outside any pod
    Node {
        /// A program and its arguments, or one word for the shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Print the places of the logs, and the node's console
    Logs,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let folder = Cluster::folder();
    match &arguments.action {
        Action::Up => {
            up()?;
            println!("export KUBECONFIG={}", folder.join("admin.kubeconfig").display());
            Ok(ExitCode::SUCCESS)
        }
        Action::Down => {
            match Cluster::open(&folder)? {
                Some(cluster) => cluster.down()?,
                None => Cluster::clean(&folder)?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Kubectl { arguments } => {
            let cluster = running()?;
            let status = cluster.kubectl().command(arguments).status().context("cannot run kubectl")?;
            Ok(status.code().map_or(ExitCode::FAILURE, exit_code))
        }
        Action::Node { command } => {
            let (code, output) = running()?.run_on_node(&command.join(" "))?;
            println!("{}", output.trim_end());
            Ok(exit_code(code))
        }
        Action::Logs => {
            let cluster = running()?;
            let (here, node) = cluster.logs();
            println!("control plane and console: {}\nnode: {node}", here.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Starts a cluster with Gatewatch's images in the tree's own folder, unless one runs there.
pub(crate) fn up() -> Result<Cluster> {
    let folder = Cluster::folder();
    if let Some(cluster) = Cluster::open(&folder)? {
        say("a cluster is up already; `cargo xtask cluster down` takes it down");
        return Ok(cluster);
    }
    let tools = setup::tools()?;
    let built = build::build(&tools, Profile::Dev)?;
    Cluster::up(&tools.cache, &built, &images(&built)?, &folder, Life::UntilStopped)
        .context("the cluster did not start: remove the rest of it with `cargo xtask cluster down`")
}

/// Gatewatch's images, without their bills of materials, which nothing on a cluster reads.
pub(crate) fn images(built: &Built) -> Result<Vec<Image>> {
    Product::ALL.iter().map(|wanted| product(*wanted, built, &[])).collect()
}

fn running() -> Result<Cluster> {
    match Cluster::open(&Cluster::folder())? {
        Some(cluster) => Ok(cluster),
        None => bail!("no cluster is up; `cargo xtask cluster up` starts one"),
    }
}
