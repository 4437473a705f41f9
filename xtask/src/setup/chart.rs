//! The programs that the chart is tested with: helm, and Debian's Prometheus and Alertmanager.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use anyhow::Result;

use crate::{
    cache::Cache,
    debian::Suite,
    kube::{self, Program},
    progress::Step,
};

/// The Debian release that Prometheus is taken from: old enough for the C library of any machine.
const SUITE: &str = "bookworm";
const PACKAGES: &[&str] = &[
    "prometheus",
    "prometheus-alertmanager",
    // What the pages of Prometheus are made with.
    "fonts-glyphicons-halflings",
    "libjs-bootstrap4",
    "libjs-d3",
    "libjs-eonasdan-bootstrap-datetimepicker",
    "libjs-jquery",
    "libjs-jquery-hotkeys",
    "libjs-moment",
    "libjs-moment-timezone",
    "libjs-mustache",
    "libjs-popper.js",
    "libjs-rickshaw",
];

/// The programs, in the cache.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) helm: PathBuf,
    /// Those of a control plane without controllers.
    pub(crate) kubernetes: kube::Programs,
    pub(crate) prometheus: PathBuf,
    pub(crate) promtool: PathBuf,
    pub(crate) alertmanager: PathBuf,
    pub(crate) amtool: PathBuf,
    /// What Debian's Prometheus and Alertmanager look for in /usr/share.
    pub(crate) share: PathBuf,
    /// The definitions of the Prometheus operator's kinds.
    pub(crate) operator_definitions: PathBuf,
}

impl Programs {
    /// Fetches and builds what the cache does not have.
    pub(crate) fn ready(cache: &Cache) -> Result<Self> {
        // No test of the chart needs the controller manager or the scheduler, which take more than a minute to build.
        let needed = [Program::ApiServer, Program::Kubectl, Program::Helm];
        let kubernetes = kube::Programs::ready(cache, &needed)?;
        let folder = prometheus(cache)?;
        let program = |name: &str| folder.join("usr/bin").join(name);
        Ok(Self {
            helm: kubernetes.path(Program::Helm),
            kubernetes,
            prometheus: program("prometheus"),
            promtool: program("promtool"),
            alertmanager: program("prometheus-alertmanager"),
            amtool: program("amtool"),
            share: folder.join("usr/share"),
            operator_definitions: kube::operator_definitions(cache)?,
        })
    }
}

/// Unpacks Debian's packages instead of installing them, so that no service is started and no root is needed.
fn prometheus(cache: &Cache) -> Result<PathBuf> {
    let relative = format!("prometheus/{SUITE}-with-pages");
    let folder = cache.path(&relative);
    if folder.join("usr/bin/promtool").is_file() {
        return Ok(folder);
    }
    let _lock = cache.lock()?;
    if folder.join("usr/bin/promtool").is_file() {
        return Ok(folder);
    }
    let suite = Suite::open(cache, SUITE)?;
    let step = Step::begin(format!("fetching Prometheus and Alertmanager from {suite}"));
    let folder = cache.make_folder(&relative, |folder| {
        suite.unpack(PACKAGES, folder, &step)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        Ok(())
    })?;
    step.done();
    Ok(folder)
}
