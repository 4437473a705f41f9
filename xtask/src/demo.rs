//! `cargo xtask demo`: the main job, on a real kernel, from one command.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    build::{self, Profile},
    cache::Cache,
    cluster::{self, Story},
    image::Kernel,
    process,
    progress::say,
    setup,
    vm::{Vm, command::exit_code, pass_through},
};

/// The program that makes the events, and prints and checks what was counted.
const PROGRAM: &str = "gatewatch-demo";

/// Options of `cargo xtask demo`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Run on this machine instead of in a VM; needs root and a kernel with kprobes
    #[arg(long)]
    here: bool,
    /// Run on a Kubernetes cluster whose node is a VM: Helm installs the chart, kubectl applies policies and pods
    #[arg(long, conflicts_with = "here")]
    cluster: bool,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.cluster {
        return on_a_cluster();
    }
    if arguments.here {
        can_run_here()?;
    } else if can_run_here().is_ok() {
        say("this machine can run the demo without a VM: `cargo xtask demo --here`");
    }
    let tools = setup::tools()?;
    let built = build::build(&tools, Profile::Dev)?;
    let program = built.program(PROGRAM)?;
    if arguments.here {
        let folder = program.parent().context("the demo program has no parent folder")?;
        let status = Command::new(program)
            .env("PATH", setup::path_with(&[folder])?)
            .arg("--policies")
            .arg(crate::paths::root().join("policies"))
            .status()
            .with_context(|| format!("cannot run {}", program.display()))?;
        return Ok(status.code().map_or(ExitCode::FAILURE, exit_code));
    }
    say("booting Debian's kernel 6.12 in a VM");
    let output = Vm::new(Kernel::V6_12).run(&[PROGRAM], &built, &tools.cache, &mut pass_through)?;
    if let Some(failure) = &output.failure {
        eprintln!("error: {failure}");
    }
    Ok(exit_code(output.status))
}

/// What the README tells, on a cluster, which stays for those who want to look around.
fn on_a_cluster() -> Result<ExitCode> {
    let cluster = cluster::up()?;
    let programs = cluster::programs(&Cache::open()?)?;
    Story::new(&cluster, &programs).tell()?;
    say(
        "the cluster is still running: try `cargo xtask cluster kubectl get pods -A`; stop it with `cargo xtask cluster down`",
    );
    Ok(ExitCode::SUCCESS)
}

/// Says why this machine cannot run the demo, if it cannot.
fn can_run_here() -> Result<()> {
    if process::text(Command::new("id").arg("-u"))?.trim() != "0" {
        bail!(
            "--here needs root to load programs into this machine's kernel: run it as root, or omit --here to use a VM"
        );
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        bail!("this machine's kernel has no BTF (/sys/kernel/btf/vmlinux): omit --here to use a VM");
    }
    let kprobes = ["/sys/kernel/tracing/kprobe_events", "/sys/kernel/debug/tracing/kprobe_events"];
    let pmu = "/sys/bus/event_source/devices/kprobe/type";
    if !kprobes.iter().any(|path| fs::metadata(path).is_ok()) && !Path::new(pmu).exists() {
        bail!("this machine's kernel has no kprobes (CONFIG_KPROBES): omit --here to use a VM");
    }
    Ok(())
}
