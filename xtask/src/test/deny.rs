//! Dependencies: cargo-deny checks their licences, sources and versions by `deny.toml`, and the images' bills of materials name
//! them.

use std::{collections::BTreeSet, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Context, counts::Counts, suites::passes};
use crate::{oci::Product, paths, setup};

/// What needs nothing but the lock files.
pub(super) fn run(context: &Context) -> Result<Counts> {
    let bills = bills(context);
    if let Err(error) = &bills {
        println!("error: {error:#}");
    }
    let bills = Counts::one("the images' bills of materials name the linked packages", bills.is_ok());
    Ok(check(context, &["bans", "licenses", "sources"])?.and(bills))
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

/// What is linked into the agent is in its bills, what only builds or tests it is not, and they do not depend on this machine.
fn bills(context: &Context) -> Result<()> {
    let bills = Product::Agent.bills(&context.tools.cache)?;
    let mut names = BTreeSet::new();
    for bill in &bills {
        ensure!(
            !bill.text.contains(&paths::root().display().to_string()),
            "{}: a path of this machine",
            bill.file
        );
        let document: Value =
            serde_json::from_str(&bill.text).with_context(|| format!("{} is not JSON", bill.file))?;
        let components = document["components"].as_array().into_iter().flatten();
        let linked =
            components.chain([&document["metadata"]["component"]]).filter(|one| one["scope"] != "excluded");
        names.extend(linked.filter_map(|one| one["name"].as_str()).map(ToOwned::to_owned));
    }
    for name in ["gatewatch-agent", "gatewatch-ebpf", "aya", "aya-ebpf", "tokio"] {
        ensure!(names.contains(name), "{name} is missing");
    }
    for name in ["proptest", "xtask", "gatewatch-webhook"] {
        ensure!(!names.contains(name), "{name} is not linked into the agent");
    }
    ensure!(bills == Product::Agent.bills(&context.tools.cache)?, "a second run gives other bytes");
    Ok(())
}
