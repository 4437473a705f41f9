//! `cargo xtask gate up|down|kubectl`: an API server with the gate before it, on loopback.

pub(crate) mod balancer;
pub(crate) mod checks;
pub(crate) mod link;
pub(crate) mod plane;
pub(crate) mod probe;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use crate::{
    cache::Cache,
    kube::{ControlPlane, Life},
    paths,
    progress::say,
};
use plane::{Options, Plane};

/// Options of `cargo xtask gate`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Start etcd, the API server with the CRDs, and the webhook of this tree; print the kubeconfig's path
    Up,
    /// Stop all of it
    Down,
    /// Run kubectl with it
    #[command(disable_help_flag = true)]
    Kubectl {
        /// What kubectl is given
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

pub(crate) fn command(arguments: Arguments) -> Result<ExitCode> {
    let folder = paths::target().join("gate");
    match arguments.task {
        Task::Up => {
            Plane::down(&folder)?;
            let cache = Cache::open()?;
            let webhook = plane::build_webhook()?;
            let options = Options { life: Life::UntilStopped, ..Options::in_folder(&folder) };
            let plane = Plane::up(&cache, &webhook, options)?;
            say("the gate is open: apply something with `cargo xtask gate kubectl apply -f FILE`");
            println!("{}", plane.control.kubeconfig().display());
            plane.leave()?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Down => {
            if !Plane::down(&folder)? {
                say("no gate is up");
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Kubectl { arguments } => {
            let Some(control) = ControlPlane::open(&folder.join(plane::CONTROL))? else {
                bail!("no gate is up; `cargo xtask gate up` starts one");
            };
            let status = control.kubectl().command(arguments).status().context("cannot run kubectl")?;
            Ok(status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .map_or(ExitCode::FAILURE, ExitCode::from))
        }
    }
}
