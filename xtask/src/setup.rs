//! `cargo xtask setup`: installs what is missing, says what, and does nothing when nothing is.

mod bpf_linker;
mod cargo_tools;
pub(crate) mod chart;
mod crates;
mod packages;
pub(crate) mod qemu;
mod rust_src;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;

use crate::{
    cache::Cache,
    image::{self, Kernel, Userland},
    progress::say,
};

pub(crate) use bpf_linker::{LLVM_PREFIX, path_with};
pub(crate) use cargo_tools::{cargo_cyclonedx, cargo_deny};

/// Options of `cargo xtask setup`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Also fetch these kernels now instead of before their first boot
    #[arg(long, value_delimiter = ',', value_name = "KERNEL")]
    kernels: Vec<Kernel>,
}

/// What building needs and set-up provides.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) cache: Cache,
    /// The bpf-linker that links with the LLVM of this rustc.
    pub(crate) bpf_linker: PathBuf,
}

/// Everything the build needs: packages, the source of `core`, bpf-linker.
pub(crate) fn tools() -> Result<Tools> {
    let cache = Cache::open()?;
    let _lock = cache.lock()?;
    packages::install_missing()?;
    rust_src::install_missing(&cache)?;
    let bpf_linker = bpf_linker::install_missing(&cache)?;
    Ok(Tools { cache, bpf_linker })
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let tools = tools()?;
    Userland::ready(&tools.cache)?;
    qemu::Qemu::ready(2, &tools.cache)?;
    for kernel in &arguments.kernels {
        image::kernel_files(*kernel, &tools.cache)?;
    }
    say(&format!("set-up is complete; the cache is {}", tools.cache.path("").display()));
    Ok(ExitCode::SUCCESS)
}
