//! `gatewatch-webhook`: see the crate's documentation.

use std::{io::IsTerminal as _, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser as _;
use gatewatch_webhook::{
    args::{Arguments, LogFormat, Manifests, Serve, Task},
    registration::{ClientConfig, Registration},
    run::run,
    vap,
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Serve(arguments) => serve(*arguments),
        Task::Manifests(arguments) => manifests(arguments),
        Task::Vap => print(&vap::objects()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gatewatch-webhook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Serve) -> Result<()> {
    let filter = EnvFilter::try_from_env("GATEWATCH_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match arguments.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(run(arguments))
}

fn manifests(arguments: Manifests) -> Result<()> {
    let Manifests { name, url, namespace, service, port, policies, workloads, ca_bundle } = arguments;
    let ca_bundle = ca_bundle
        .map(|path| std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display())))
        .transpose()?;
    let client = match url {
        Some(url) => ClientConfig::Url(url),
        None => ClientConfig::Service { namespace: namespace.clone(), name: service, port },
    };
    let registration = Registration {
        name,
        client,
        own_namespace: namespace,
        policies_failure: policies.name().to_owned(),
        workloads_failure: workloads.name().to_owned(),
        ca_bundle,
    };
    print(&[registration.object()])
}

/// Prints objects as YAML documents.
fn print(objects: &[serde_json::Value]) -> Result<()> {
    for object in objects {
        print!("---\n{}", serde_saphyr::to_string(object).context("cannot write YAML")?);
    }
    Ok(())
}
