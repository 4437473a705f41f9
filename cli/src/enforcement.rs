//! `gatewatch enforcement`: what policies may do in a cluster, by the `ConfigMap` that all agents follow.
//!
//! It is read and written by kubectl, so that the user's contexts, plugins and rights apply.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::json;

/// The label of the `ConfigMap` that the chart creates.
const LABEL: &str = "gatewatch.dev/enforcement-config=true";
/// The key that holds for all policies.
const ALL: &str = "enforcement";

/// What `gatewatch enforcement` is asked for.
#[derive(Debug, Args)]
pub(crate) struct Enforcement {
    /// What policies may do from now on; without it, show what is set
    #[arg(value_enum)]
    mode: Option<Mode>,
    /// Only this policy: NAME, or NAMESPACE/NAME of a namespaced one
    #[arg(long, value_name = "POLICY", requires = "mode")]
    policy: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// Namespace of Gatewatch [default: where its `ConfigMap` is found]
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// What policies may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// No action is performed, and none is counted
    Off,
    /// Actions are counted, and none is performed
    Monitor,
    /// Actions are performed, unless something else restricts them
    On,
}

impl Mode {
    fn value(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Monitor => "monitor",
            Self::On => "enforce",
        }
    }
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<ConfigMap>,
}

#[derive(Debug, Deserialize)]
struct ConfigMap {
    metadata: Metadata,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
}

/// Shows or sets the mode.
pub(crate) fn run(arguments: &Enforcement) -> Result<()> {
    let found = find(arguments)?;
    let Some(mode) = arguments.mode else { return show(&found) };
    let key = match &arguments.policy {
        Some(policy) => key(policy)?,
        None => ALL.to_owned(),
    };
    let Metadata { name, namespace } = &found.metadata;
    let patch = json!({"data": {key: mode.value()}}).to_string();
    let words = ["--namespace", namespace, "patch", "configmap", name, "--type", "merge", "--patch", &patch];
    kubectl(arguments, &words)?;
    let what =
        arguments.policy.as_deref().map_or("all policies".to_owned(), |policy| format!("policy {policy}"));
    let value = mode.value();
    print(&format!("{what}: {value} (agents follow within two seconds; see gatewatch_enforcement_mode)\n"))
}

/// The key of one policy. No name has an underscore.
fn key(policy: &str) -> Result<String> {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'.')
    };
    match policy.split_once('/') {
        None if is_name(policy) => Ok(format!("policy_{policy}")),
        Some((namespace, name)) if is_name(namespace) && is_name(name) => {
            Ok(format!("policy_{namespace}_{name}"))
        }
        _ => bail!("invalid policy {policy:?}: expected NAME or NAMESPACE/NAME"),
    }
}

fn find(arguments: &Enforcement) -> Result<ConfigMap> {
    let scope = match &arguments.namespace {
        Some(namespace) => format!("--namespace={namespace}"),
        None => "--all-namespaces".to_owned(),
    };
    let text = kubectl(arguments, &["get", "configmaps", &scope, "--selector", LABEL, "--output", "json"])?;
    let mut list: List =
        serde_json::from_str(&text).context("kubectl's answer is not a list of ConfigMaps")?;
    match (list.items.pop(), list.items.len()) {
        (Some(found), 0) => Ok(found),
        (Some(_), _) => bail!("several ConfigMaps have the label {LABEL}; pass --namespace"),
        (None, _) => {
            bail!("no ConfigMap has the label {LABEL}: is the agent of Gatewatch's chart installed?")
        }
    }
}

fn show(found: &ConfigMap) -> Result<()> {
    let all = found.data.get(ALL).map_or("enforce", String::as_str);
    let mut text = format!("all policies: {all}\n");
    for (key, mode) in &found.data {
        if let Some(name) = key.strip_prefix("policy_") {
            let _ = writeln!(text, "policy {}: {mode}", name.replacen('_', "/", 1));
        }
    }
    print(&text)
}

fn print(text: &str) -> Result<()> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn kubectl(arguments: &Enforcement, words: &[&str]) -> Result<String> {
    let mut command = Command::new("kubectl");
    if let Some(context) = &arguments.context {
        command.args(["--context", context]);
    }
    let output = command.args(words).output().context("cannot run kubectl; install it, or add it to PATH")?;
    if !output.status.success() {
        bail!("kubectl failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn keys_of_policies() {
        assert_eq!(key("block-writes").unwrap(), "policy_block-writes");
        assert_eq!(key("shop/block.x").unwrap(), "policy_shop_block.x");
        for bad in ["", "a/", "a/b/c", "a_b", "a b"] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }
}
