//! A real Prometheus and a real Alertmanager on loopback, with the chart's rules.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::{chart, process, setup::chart::Programs};

/// How often Prometheus scrapes here. The rules' own intervals are the chart's.
pub(super) const SCRAPE: Duration = Duration::from_secs(2);

/// A running Prometheus with its Alertmanager. Both end when it is dropped.
pub(super) struct Stack<'a> {
    programs: &'a Programs,
    prometheus: Daemon,
    alertmanager: Daemon,
    _folder: TempDir,
}

impl<'a> Stack<'a> {
    /// Starts both. Prometheus scrapes an agent at `port` of loopback as a PodMonitor of the chart would have it.
    pub(super) fn start(programs: &'a Programs, port: u16) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for Prometheus")?;
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display())).map(|()| path)
        };
        let settings = write(
            "alertmanager.yml",
            "route: {receiver: nobody, group_wait: 0s, group_interval: 1s}\nreceivers: [{name: nobody}]\n",
        )?;
        let alertmanager = Daemon::start(&folder, "alertmanager", |port| {
            let mut command = supervised(&programs.alertmanager);
            command.arg(format!("--config.file={}", settings.display()));
            command.arg(format!("--storage.path={}", folder.path().join("alerts").display()));
            command.args([&format!("--web.listen-address=127.0.0.1:{port}"), "--cluster.listen-address="]);
            command
        })?;
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
                 scrape_configs:\n- job_name: gatewatch/agent\n  honor_labels: true\n  static_configs:\n  \
                 - targets: ['127.0.0.1:{port}']\n    \
                 labels: {{namespace: gatewatch, pod: gatewatch-agent-x, container: agent, node: vm}}\n",
                alertmanager.port,
                scrape = SCRAPE.as_secs(),
                rules = rules.join(", "),
            ),
        )?;
        let prometheus = Daemon::start(&folder, "prometheus", |port| {
            let mut command = supervised(&programs.prometheus);
            command.current_dir(folder.path());
            command.arg(format!("--config.file={}", settings.display()));
            command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
            command
        })?;
        let stack = Self { programs, prometheus, alertmanager, _folder: folder };
        stack.wait_ready()?;
        Ok(stack)
    }

    fn wait_ready(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.query("vector(1)").and_then(|_| self.alerts()) {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > Duration::from_mins(1) => {
                    bail!("{error:#}\n{}\n{}", self.prometheus.log(), self.alertmanager.log())
                }
                Err(_) => thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// What Prometheus answers to a query now: its samples.
    pub(super) fn query(&self, query: &str) -> Result<Vec<Value>> {
        let mut command = Command::new(&self.programs.promtool);
        command.args(["query", "instant", "--format=json"]);
        command.arg(format!("http://127.0.0.1:{}", self.prometheus.port)).arg(query);
        let answer: Value =
            serde_json::from_str(&process::text(&mut command)?).context("promtool wrote what is not JSON")?;
        Ok(answer.as_array().cloned().unwrap_or_default())
    }

    /// The names of the alerts that Alertmanager has.
    pub(super) fn alerts(&self) -> Result<Vec<String>> {
        let mut command = Command::new(&self.programs.amtool);
        command.arg(format!("--alertmanager.url=http://127.0.0.1:{}", self.alertmanager.port));
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

/// A server of this test's.
struct Daemon {
    child: Child,
    port: u16,
    log: std::path::PathBuf,
}

impl Daemon {
    fn start(folder: &TempDir, name: &str, command: impl FnOnce(u16) -> Command) -> Result<Self> {
        let port = free_port()?;
        let log = folder.path().join(format!("{name}.log"));
        let file = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let other = file.try_clone().context("cannot share a file")?;
        let child = command(port).stdin(Stdio::null()).stdout(file).stderr(other).spawn();
        Ok(Self { child: child.with_context(|| format!("cannot run {name}"))?, port, log })
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command whose process does not outlive this one.
fn supervised(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// A port of loopback that nobody has now.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on loopback")?;
    Ok(listener.local_addr().context("a port without a number")?.port())
}
