//! The programs that the chart is tested with: helm, and Debian's Prometheus and Alertmanager.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{cache::Cache, debian::Suite, process, progress::Step};

/// The Debian release that Prometheus is taken from: old enough for the C library of any machine.
const SUITE: &str = "bookworm";
const PACKAGES: &[&str] = &["prometheus", "prometheus-alertmanager"];

/// The programs, in the cache.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) helm: PathBuf,
    pub(crate) prometheus: PathBuf,
    pub(crate) promtool: PathBuf,
    pub(crate) alertmanager: PathBuf,
    pub(crate) amtool: PathBuf,
}

impl Programs {
    /// Fetches and builds what the cache does not have.
    pub(crate) fn ready(cache: &Cache) -> Result<Self> {
        let _lock = cache.lock()?;
        let helm = helm(cache)?;
        let folder = prometheus(cache)?;
        let program = |name: &str| folder.join("usr/bin").join(name);
        Ok(Self {
            helm,
            prometheus: program("prometheus"),
            promtool: program("promtool"),
            alertmanager: program("prometheus-alertmanager"),
            amtool: program("amtool"),
        })
    }
}

/// Unpacks Debian's packages instead of installing them, so that no service is started and no root is needed.
fn prometheus(cache: &Cache) -> Result<PathBuf> {
    let relative = format!("prometheus/{SUITE}");
    let folder = cache.path(&relative);
    if folder.join("usr/bin/promtool").is_file() {
        return Ok(folder);
    }
    let suite = Suite::open(cache, SUITE)?;
    let step = Step::begin(format!("fetching Prometheus and Alertmanager from {suite}"));
    let folder = cache.make_folder(&relative, |folder| {
        let scratch = tempfile::tempdir().context("cannot make a folder for packages")?;
        for package in suite.download(PACKAGES, scratch.path(), &step)? {
            process::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(folder), &step)?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        Ok(())
    })?;
    step.done();
    Ok(folder)
}

const HELM: &str = "v3.21.4";

fn helm(cache: &Cache) -> Result<PathBuf> {
    let relative = format!("helm/{HELM}");
    let program = cache.path(&relative).join("helm");
    if program.is_file() {
        return Ok(program);
    }
    let step = Step::begin(format!("building helm {HELM}"));
    cache.make_folder(&relative, |folder| build_helm(folder, &step))?;
    step.done();
    Ok(program)
}

fn build_helm(folder: &Path, step: &Step) -> Result<()> {
    let scratch = tempfile::tempdir().context("cannot make a folder for helm")?;
    let module = format!(
        "module gatewatch.dev/tools/helm\n\ngo 1.26\n\nrequire helm.sh/helm/v3 {HELM}\n\ntool helm.sh/helm/v3/cmd/helm\n"
    );
    fs::write(scratch.path().join("go.mod"), module).context("cannot write go.mod")?;
    let go = || {
        let mut go = Command::new("go");
        go.current_dir(scratch.path()).env("CGO_ENABLED", "0");
        go
    };
    process::run(go().args(["mod", "tidy"]), step)?;
    process::run(
        go().args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
            .arg(folder.join("helm"))
            .arg("helm.sh/helm/v3/cmd/helm"),
        step,
    )
}
