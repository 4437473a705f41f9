//! `cargo xtask image`: container images of agent and webhook, written by this program itself: no daemon, no root.
//!
//! One tar file is an OCI image layout and what `docker save` writes, both: `ctr image import`, `docker load`,
//! `podman load` and `skopeo copy oci-archive:` take it. The same sources give the same bytes. A bill of materials is in
//! the image, and beside it.

mod archive;
mod bill;
mod layer;
mod products;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

pub(crate) use archive::{Image, Written, digest};
pub(crate) use bill::Bill;
pub(crate) use products::{Product, product};

use crate::{
    build::{self, Profile},
    paths, setup,
};

/// Options of `cargo xtask image`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The images to build [default: all]
    #[arg(value_enum)]
    products: Vec<Product>,
    /// The folder for the tar files [default: images/ in cargo's target folder]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Use development builds, which compile faster
    #[arg(long)]
    dev: bool,
}

pub(crate) fn command(arguments: &Arguments) -> Result<ExitCode> {
    let tools = setup::tools()?;
    let built = build::build(&tools, if arguments.dev { Profile::Dev } else { Profile::Release })?;
    let folder = arguments.out.clone().unwrap_or_else(|| paths::target().join("images"));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let wanted = if arguments.products.is_empty() { Product::ALL } else { &arguments.products };
    for wanted in wanted {
        let bills = wanted.bills(&tools.cache)?;
        let image = product(*wanted, &built, &bills)?;
        let path = folder.join(format!("{}.tar", wanted.name()));
        let Written { digest, size } = image.write_file(&path)?;
        let mib = size.div_ceil(1 << 20);
        for Bill { file, text } in &bills {
            fs::write(folder.join(file), text)
                .with_context(|| format!("cannot write the bill of materials to {}", folder.display()))?;
        }
        println!("{}  {mib} MiB  {}@{digest}", path.display(), image.reference);
    }
    Ok(ExitCode::SUCCESS)
}
