//! `cargo xtask vm`: one command in a VM.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::Args;

use super::{Vm, pass_through};
use crate::{
    build::{self, Profile},
    image::Kernel,
    progress::{self, say},
    setup,
};

/// Options of `cargo xtask vm`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The Debian kernel to boot
    #[arg(long, default_value = "6.12")]
    kernel: Kernel,
    /// Count instructions: the guest's clock advances one nanosecond per instruction (one CPU)
    #[arg(long)]
    icount: bool,
    /// Memory in MiB
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    memory: u32,
    /// CPUs [default: 2, with --icount 1]
    #[arg(long, value_name = "N")]
    cpus: Option<u32>,
    /// Stop the VM if the command runs longer than this
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    timeout: u64,
    /// Copy this folder to /share in the VM; changes in the VM do not come back
    #[arg(long, value_name = "DIR")]
    share: Option<PathBuf>,
    /// Copy the VM's /out to this folder when the command ends
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Use release builds of the programs
    #[arg(long)]
    release: bool,
    /// Print only the command's own output
    #[arg(long, short)]
    quiet: bool,
    /// A program and its arguments, or one word for the shell
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn command(arguments: Arguments) -> Result<ExitCode> {
    if arguments.quiet {
        progress::be_quiet();
    }
    let cpus = match (arguments.icount, arguments.cpus) {
        (true, Some(cpus)) if cpus != 1 => {
            bail!("--icount counts the instructions of one CPU: leave out --cpus {cpus}")
        }
        (icount, cpus) => cpus.unwrap_or(if icount { 1 } else { 2 }),
    };
    if let Some(share) = arguments.share.as_ref().filter(|share| !share.is_dir()) {
        bail!("--share {}: no such folder", share.display());
    }
    let tools = setup::tools()?;
    let profile = if arguments.release { Profile::Release } else { Profile::Dev };
    let built = build::build(&tools, profile)?;
    let mut vm = Vm::new(arguments.kernel);
    vm.cpus = cpus;
    vm.memory = arguments.memory;
    vm.icount = arguments.icount;
    vm.timeout = Duration::from_secs(arguments.timeout);
    vm.share = arguments.share;
    vm.out = arguments.out;
    let words: Vec<&str> = arguments.command.iter().map(String::as_str).collect();
    let argv = if let [line] = words[..] { vec!["sh", "-c", line] } else { words };
    let output = vm.run(&argv, &built, &tools.cache, &mut pass_through)?;
    if let Some(failure) = &output.failure {
        eprintln!("error: {failure}");
    } else if let Some(boot) = output.boot {
        let (boot, total) = (boot.as_secs_f64(), output.total.as_secs_f64());
        say(&format!("kernel {}: command began after {boot:.1} s, ended after {total:.1} s", vm.kernel));
    }
    Ok(exit_code(output.status))
}

/// A guest's exit code as this process's own.
pub(crate) fn exit_code(status: i32) -> ExitCode {
    u8::try_from(status).map_or(ExitCode::FAILURE, ExitCode::from)
}
