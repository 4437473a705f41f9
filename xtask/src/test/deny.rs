//! Whether we may ship what we are made of, and whether we know where it is from: by cargo-deny, as `deny.toml` says.

use std::process::Command;

use anyhow::Result;

use super::{Context, counts::Counts, suites::passes};
use crate::{paths, setup};

/// What needs nothing but the lock files.
pub(super) fn run(context: &Context) -> Result<Counts> {
    check(context, &["bans", "licenses", "sources"])
}

/// What is known of the versions that we depend on.
pub(super) fn advisories(context: &Context) -> Result<Counts> {
    check(context, &["advisories"])
}

fn check(context: &Context, checks: &[&str]) -> Result<Counts> {
    let program = setup::cargo_deny(&context.tools.cache)?;
    let mut counts = Counts::default();
    for manifest in paths::MANIFESTS {
        let mut deny = Command::new(&program);
        deny.arg("--config").arg(paths::root().join("deny.toml"));
        deny.arg("--manifest-path").arg(paths::root().join(manifest)).arg("--locked");
        // Exceptions that one workspace alone has need of are none of the other's business.
        deny.args(["check", "--hide-inclusion-graph", "--allow", "unmatched-skip"]).args(checks);
        counts = counts.and(Counts::one(
            &format!("cargo deny check {}: {manifest}", checks.join(" ")),
            passes(&mut deny)?,
        ));
    }
    Ok(counts)
}
