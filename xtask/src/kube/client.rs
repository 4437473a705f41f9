//! kubectl with the settings of one cluster.

use std::{
    ffi::OsStr,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::process;

/// The command line of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    pub(super) program: PathBuf,
    pub(super) kubeconfig: PathBuf,
}

impl Kubectl {
    /// kubectl with these arguments, to be run.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        // What the user has set for clusters of their own.
        for name in ["KUBECONFIG", "KUBERC", "KUBERNETES_SERVICE_HOST"] {
            command.env_remove(name);
        }
        command
    }

    /// What kubectl prints. Fails, with what it says, unless it succeeds.
    pub(crate) fn text(&self, arguments: &[&str]) -> Result<String> {
        process::text(&mut self.command(arguments))
    }

    /// What kubectl prints, warnings and all, as a person sees it. Fails, with that, unless it succeeds.
    pub(crate) fn shown(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).stdin(Stdio::null()).output().context("cannot run kubectl")?;
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        text += &String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("`kubectl {}` {}: {}", arguments.join(" "), process::ending(output.status), text.trim());
        }
        Ok(text)
    }

    /// `kubectl apply -f -` of `manifests`: what it prints.
    pub(crate) fn apply(&self, manifests: &str) -> Result<String> {
        self.with_input(&["apply", "-f", "-"], manifests)
    }

    /// What kubectl prints when it reads `input`.
    pub(crate) fn with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run kubectl")?;
        // kubectl reads all of its input before it writes anything.
        let written = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().context("cannot wait for kubectl")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`kubectl {}` {}: {}", arguments.join(" "), process::ending(output.status), said.trim());
        }
        written.transpose().context("cannot write to kubectl")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether kubectl succeeds with these arguments.
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> bool {
        process::succeeds(&mut self.command(arguments))
    }

    /// The file that tells kubectl of the cluster.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}
