//! `cargo xtask gate up|down|kubectl`: an API server with the webhook of this tree, on loopback.

pub(crate) mod balancer;
pub(crate) mod checks;
pub(crate) mod link;
pub(crate) mod plane;
pub(crate) mod probe;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};

use self::plane::{Options, Plane};
use crate::{
    cache::Cache,
    kube::{ControlPlane, Life},
    paths,
    progress::say,
};

/// Options of `cargo xtask gate`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Start etcd, the API server with the CRDs, and the webhook; print the path of the kubeconfig
    Up,
    /// Stop etcd, the API server and the webhook
    Down,
    /// Run kubectl against this API server
    #[command(disable_help_flag = true)]
    Kubectl {
        /// Arguments for kubectl
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
            say("the webhook is ready: apply a file with `cargo xtask gate kubectl apply -f FILE`");
            println!("{}", plane.control.kubeconfig().display());
            plane.leave()?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Down => {
            if !Plane::down(&folder)? {
                say("no API server is running");
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Kubectl { arguments } => {
            let Some(control) = ControlPlane::open(&folder.join(plane::CONTROL))? else {
                bail!("no API server is running: start one with `cargo xtask gate up`");
            };
            let status = control.kubectl().command(arguments).status().context("cannot run kubectl")?;
            Ok(status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .map_or(ExitCode::FAILURE, ExitCode::from))
        }
    }
}
