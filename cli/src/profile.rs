//! `gatewatch profile`: the running kernel as a file.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use gatewatch_kernel::host;

use crate::print_message;

/// Writes the running kernel's profile to a file or to standard output.
pub(crate) fn run(output: Option<&Path>) -> Result<()> {
    if output.is_none() && io::stdout().is_terminal() {
        bail!("a profile is binary and not written to a terminal; use `gatewatch profile --output FILE`");
    }
    let kernel = host()?;
    for gap in &kernel.gaps {
        print_message(&format!("warning: {gap}"));
    }
    let bytes = kernel.profile.to_bytes().context("cannot compress the profile")?;
    match output {
        Some(path) => fs::write(path, &bytes).with_context(|| format!("cannot write {}", path.display())),
        None => io::stdout().write_all(&bytes).context("cannot write the profile"),
    }
}
