//! A real Prometheus and a real Alertmanager on loopback, with the chart's rules.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    chart,
    kube::{Daemon, Life, free_ports},
    process,
    setup::chart::Programs,
};

/// How often Prometheus scrapes here. The rules' own intervals are the chart's.
pub(super) const SCRAPE: Duration = Duration::from_secs(3);

/// The beginning of a command that sees `share` as /usr/share, where Debian's programs have their templates and pages
/// without a setting for it.
fn in_own_mounts(share: &Path) -> Vec<String> {
    let script = "mount --bind \"$0\" /usr/share && exec \"$@\"";
    ["unshare", "--map-root-user", "--mount", "sh", "-c", script, &share.display().to_string()]
        .map(ToOwned::to_owned)
        .to_vec()
}

/// Who is scraped, as a `PodMonitor` of the chart would have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// `agent` or `webhook`.
    pub(super) component: &'static str,
    /// The port of its metrics on loopback.
    pub(super) port: u16,
}

impl Target {
    fn settings(self) -> String {
        let Self { component, port } = self;
        format!(
            "- job_name: gatewatch/gatewatch-{component}\n  honor_labels: true\n  static_configs:\n  \
             - targets: ['127.0.0.1:{port}']\n    \
             labels: {{namespace: gatewatch, pod: gatewatch-{component}-x, container: {component}, node: vm}}\n"
        )
    }
}

/// A running Prometheus with its Alertmanager. Both end when it is dropped.
pub(super) struct Stack<'a> {
    programs: &'a Programs,
    prometheus: (Daemon, u16),
    alertmanager: (Daemon, u16),
    _folder: TempDir,
}

impl<'a> Stack<'a> {
    /// Starts both.
    pub(super) fn start(programs: &'a Programs, targets: &[Target]) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a folder for Prometheus")?;
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display())).map(|()| path)
        };
        let settings = write(
            "alertmanager.yml",
            "route: {receiver: none, group_wait: 0s, group_interval: 1s}\nreceivers: [{name: none}]\n",
        )?;
        let [port_of_alerts, port_of_prometheus] = free_ports()?;
        let start = |name: &str, argv: Vec<String>| {
            let argv = [in_own_mounts(&programs.share), argv].concat();
            Daemon::start(name, argv, folder.path(), Life::WithParent)
        };
        let alertmanager = start(
            "alertmanager",
            vec![
                programs.alertmanager.display().to_string(),
                format!("--config.file={}", settings.display()),
                format!("--storage.path={}", folder.path().join("alerts").display()),
                format!("--web.listen-address=127.0.0.1:{port_of_alerts}"),
                "--cluster.listen-address=".into(),
            ],
        )?;
        let rules: Vec<String> = chart::files_in(&chart::folder().join("rules"))?
            .iter()
            .map(|path| format!("{:?}", path.display().to_string()))
            .collect();
        let settings = write(
            "prometheus.yml",
            &format!(
                "global: {{scrape_interval: {scrape}s, scrape_timeout: {scrape}s, evaluation_interval: {scrape}s}}\n\
                 rule_files: [{rules}]\n\
                 alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{}']}}]}}]}}\n\
                 scrape_configs:\n{}",
                port_of_alerts,
                targets.iter().map(|target| target.settings()).collect::<String>(),
                scrape = SCRAPE.as_secs(),
                rules = rules.join(", "),
            ),
        )?;
        let prometheus = start(
            "prometheus",
            vec![
                programs.prometheus.display().to_string(),
                format!("--config.file={}", settings.display()),
                format!("--storage.tsdb.path={}", folder.path().join("data").display()),
                format!("--web.listen-address=127.0.0.1:{port_of_prometheus}"),
            ],
        )?;
        let mut stack = Self {
            programs,
            prometheus: (prometheus, port_of_prometheus),
            alertmanager: (alertmanager, port_of_alerts),
            _folder: folder,
        };
        stack.wait_ready()?;
        Ok(stack)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.prometheus.0.check()?;
            self.alertmanager.0.check()?;
            match self.query("vector(1)").and_then(|_| self.alerts()) {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > Duration::from_mins(1) => bail!(
                    "{error:#}\n{}\n{}",
                    self.prometheus.0.last_words(),
                    self.alertmanager.0.last_words()
                ),
                Err(_) => thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// Where its pages are.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.prometheus.1)
    }

    /// What Prometheus answers to a query now: its samples.
    pub(super) fn query(&self, query: &str) -> Result<Vec<Value>> {
        let mut command = Command::new(&self.programs.promtool);
        command.args(["query", "instant", "--format=json"]);
        command.arg(self.address()).arg(query);
        let answer: Value =
            serde_json::from_str(&process::text(&mut command)?).context("promtool wrote what is not JSON")?;
        Ok(answer.as_array().cloned().unwrap_or_default())
    }

    /// The names of the alerts that Alertmanager has.
    pub(super) fn alerts(&self) -> Result<Vec<String>> {
        let mut command = Command::new(&self.programs.amtool);
        command.arg(format!("--alertmanager.url=http://127.0.0.1:{}", self.alertmanager.1));
        command.args(["alert", "query", "--output=json"]);
        let answer: Value =
            serde_json::from_str(&process::text(&mut command)?).context("amtool wrote what is not JSON")?;
        let alerts = answer.as_array().map_or(&[][..], Vec::as_slice);
        Ok(alerts
            .iter()
            .filter_map(|alert| alert["labels"]["alertname"].as_str().map(ToOwned::to_owned))
            .collect())
    }
}
