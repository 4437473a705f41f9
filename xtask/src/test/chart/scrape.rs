//! A real gate before a real API server, scraped by a real Prometheus with the chart's rules: a quiet one raises no alert,
//! and each of the dashboard's queries on the gate has data.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    Tests, queries,
    stack::{SCRAPE, Stack, Target},
};
use crate::{
    cache::Cache,
    gate::{
        checks::{pod, policy},
        plane::{self, Options, Plane},
    },
    kube::Kubectl,
    paths,
    setup::chart::Programs,
};

/// How long the gate is left alone. Rules are evaluated every 15 s at the least.
const QUIET: Duration = Duration::from_secs(35);
/// How long it is asked: rates need a few scrapes between which something happened.
const ASKED: Duration = Duration::from_secs(15);
const UP_LIMIT: Duration = Duration::from_mins(1);

/// A gate, its Prometheus, and what it was asked.
pub(super) struct Scene<'a> {
    plane: Plane,
    pub(super) stack: Stack<'a>,
    _folder: tempfile::TempDir,
}

impl<'a> Scene<'a> {
    /// Starts the gate, with the sample application and the standard policies in the cluster, and its Prometheus.
    pub(super) fn start(programs: &'a Programs) -> Result<Self> {
        let webhook = plane::build_webhook()?;
        let folder = tempfile::tempdir().context("cannot create a folder for a control plane")?;
        let plane = Plane::up(&Cache::open()?, &webhook, Options::in_folder(folder.path()))?;
        let kubectl = plane.kubectl();
        for path in ["test-app.yaml", "policies/standard"] {
            kubectl.text(&["apply", "-f", &paths::root().join(path).display().to_string()])?;
        }
        let gate = Target { component: "webhook", port: plane.replicas[0].metrics };
        let scene = Self { stack: Stack::start(programs, &[gate])?, plane, _folder: folder };
        let begun = Instant::now();
        while scene.stack.query("up == 1 and on (job) gatewatch_build_info")?.is_empty() {
            ensure!(begun.elapsed() < UP_LIMIT, "Prometheus doesn't scrape the gate");
            thread::sleep(SCRAPE);
        }
        Ok(scene)
    }

    /// Has it admit, warn and reject for a while.
    pub(super) fn ask(&self) -> Result<()> {
        let kubectl: Kubectl = self.plane.kubectl();
        kubectl.apply(&policy("payments", "team: payments"))?;
        let begun = Instant::now();
        let mut round = 0;
        while begun.elapsed() < ASKED {
            kubectl.apply(&pod("default", &format!("fine-{round}"), "team: payments"))?;
            kubectl.apply(&pod("default", &format!("slip-{round}"), "team: paymnts"))?;
            let bad = policy("bad", "team: payments").replace("sys_setuid", "sys_setuidd");
            ensure!(kubectl.apply(&bad).is_err(), "a policy on a call that doesn't exist is admitted");
            round += 1;
            thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }
}

pub(super) fn run(tests: &mut Tests, programs: &Programs) -> Result<()> {
    let scene = Scene::start(programs)?;
    thread::sleep(QUIET);
    let early = scene.stack.query("ALERTS")?;
    let early: Vec<String> = early.iter().map(|sample| sample["metric"].to_string()).collect();
    tests.verdict("a fresh and quiet gate raises no alert", &early);

    scene.ask()?;
    let (mut faults, mut asked) = (Vec::new(), 0);
    for query in queries::dashboard()?.iter().filter(|query| query.is_of_the_gate()) {
        asked += 1;
        match scene.stack.query(&query.text) {
            Ok(samples) if samples.is_empty() => {
                faults.push(format!("{}: no data from {}", query.panel, query.text));
            }
            Ok(samples) => faults.extend(
                samples
                    .iter()
                    .filter(|sample| value(sample).is_nan())
                    .map(|sample| format!("{}: {} gives {sample}", query.panel, query.text)),
            ),
            Err(error) => faults.push(format!("{}: {error:#}", query.panel)),
        }
    }
    println!("{asked} queries of the dashboard were run");
    ensure!(asked > 0, "the dashboard has no query on the gate");
    tests.verdict("the dashboard's queries on the gate have data", &faults);
    tests.holds("the numbers are those of what was asked", numbers(&scene.stack));
    Ok(())
}

/// Each verdict was given, and the slip and the unknown call were counted by their codes.
fn numbers(stack: &Stack<'_>) -> Result<()> {
    for query in [
        "sum(increase(gatewatch_admission_requests_total{kind=\"Pod\", verdict=\"allowed\"}[1m]))",
        "sum(increase(gatewatch_admission_requests_total{kind=\"Pod\", verdict=\"warned\"}[1m]))",
        "sum(increase(gatewatch_admission_requests_total{kind=\"TracingPolicy\", verdict=\"denied\"}[1m]))",
        "sum(increase(gatewatch_admission_diagnostics_total{code=\"GW106\", mode=\"warn\"}[1m]))",
        "sum(increase(gatewatch_admission_diagnostics_total{mode=\"deny\"}[1m]))",
    ] {
        match stack.query(query)?.first() {
            Some(sample) if value(sample) > 0.0 => {}
            other => bail!("{query} gives {other:?}"),
        }
    }
    Ok(())
}

/// The value of a sample; NaN where it is none.
fn value(sample: &Value) -> f64 {
    sample["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}
