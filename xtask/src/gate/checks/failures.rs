//! What goes wrong in a cluster, and what must not.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{Stage, pod, policy};
use crate::gate::probe;

pub(super) fn api_server_restart(stage: &mut Stage) -> Result<()> {
    stage.plane.control.stop_api_server()?;
    thread::sleep(Duration::from_secs(2));
    stage.plane.control.start_api_server()?;
    stage.must(&["apply", "-f", "-"], &policy("restarted", "app: restarted"))?;
    let slip = pod("default", "slip", "app: restartet");
    stage.eventually("what came after the restart is known", |stage| {
        for _ in 0..4 {
            let said = stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], &slip)?;
            if !(said.ok && said.text.contains("GW106")) {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    stage.must(&["delete", "tracingpolicy", "restarted"], "").map(drop)
}

/// The API server forgets what happened while the watches were broken off: they cannot continue from their last
/// revision, and the replicas list everything again.
pub(super) fn history_is_gone(stage: &mut Stage) -> Result<()> {
    let kinds = ["TracingPolicy", "Pod"];
    let lists = |stage: &Stage| -> Result<Vec<f64>> {
        let each = |replica: &crate::gate::plane::Replica| {
            let port = replica.metrics;
            kinds.map(|kind| probe::metric(port, "gatewatch_cache_lists", &[("cache", kind)]))
        };
        stage.plane.replicas.iter().flat_map(each).collect()
    };
    let ask = |stage: &Stage, label: &str| {
        stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], &pod("default", "slip", label))
    };
    // Both replicas: connections go to them in turns.
    let all = |stage: &Stage, label: &str, warned: bool| -> Result<bool> {
        for _ in 0..4 {
            let said = ask(stage, label)?;
            if !said.ok || said.text.contains("GW106") != warned {
                return Ok(false);
            }
        }
        Ok(true)
    };
    stage.must(&["apply", "-f", "-"], &policy("forgotten", "app: forgotten"))?;
    stage.eventually("a policy is known", |stage| all(stage, "app: forgoten", true))?;
    let before = lists(stage)?;

    stage.plane.link.as_ref().context("there is no link")?.cut();
    stage.must(&["delete", "tracingpolicy", "forgotten"], "")?;
    stage.must(&["apply", "-f", "-"], &policy("remembered", "team: remembered"))?;
    // Nothing tells the replicas: they answer from what they know.
    ensure!(all(stage, "app: forgoten", true)?, "a replica knows of a change that it could not receive");
    ensure!(all(stage, "team: rememberd", false)?, "a replica knows of a change that it could not receive");
    let revision = stage.plane.control.compact_etcd()?;
    println!("  etcd has forgotten what was before revision {revision}");
    // What the API server itself remembers of it goes, too.
    stage.plane.control.stop_api_server()?;
    stage.plane.control.start_api_server()?;
    stage.plane.link.as_ref().context("there is no link")?.restore();

    stage.eventually("every replica has listed anew", |stage| {
        let now = lists(stage)?;
        Ok(now.len() == before.len() && now.iter().zip(&before).all(|(now, before)| now > before))
    })?;
    stage.eventually("a deleted policy is forgotten", |stage| all(stage, "app: forgoten", false))?;
    stage.eventually("a policy that was created meanwhile is known", |stage| {
        all(stage, "team: rememberd", true)
    })?;
    stage.must(&["delete", "tracingpolicy", "remembered"], "")?;
    // And watches continue from there.
    stage.eventually("later changes are seen", |stage| all(stage, "team: rememberd", false))
}

/// All replicas gone: policies are rejected, pods are not; the rules about labels hold without the webhook; and taking
/// the registration away opens the gate.
pub(super) fn away(stage: &mut Stage) -> Result<()> {
    for replica in &mut stage.plane.replicas {
        replica.daemon.stop()?;
    }
    let said = stage.apply(&policy("away", "app: away"))?;
    said.expect(false, &["failed calling webhook \"policies.gatewatch.dev\""])?;
    let said = stage.apply(&pod("default", "away", "app: away"))?;
    ensure!(said.ok, "{}", said.text);
    stage.must(&["delete", "validatingwebhookconfiguration", "gatewatch"], "")?;
    stage.must(&["apply", "-f", "-"], &policy("away", "app: away"))?;

    let fallback = crate::process::text(std::process::Command::new(&stage.webhook).arg("vap"))?;
    stage.must(&["apply", "-f", "-"], &fallback)?;
    let expression =
        |text: &str| policy("labels", "").replace("matchLabels: {}", &format!("matchExpressions: [{text}]"));
    for (bad, code) in [
        ("{key: app, operator: In}", "GW103"),
        ("{key: app, operator: Exists, values: [x]}", "GW103"),
        ("{key: 'my app', operator: Exists}", "GW101"),
        ("{key: 'A/b/c', operator: Exists}", "GW101"),
        ("{key: app, operator: In, values: ['a b']}", "GW102"),
    ] {
        stage.eventually(&format!("{bad} is rejected without the webhook"), |stage| {
            let said = stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], &expression(bad))?;
            ensure!(!said.ok && said.text.contains(code), "{}", said.text);
            Ok(true)
        })?;
    }
    let good = "{key: 'k8s:io.kubernetes.pod.namespace', operator: In, values: [test]}, {key: a.b/c, operator: \
                DoesNotExist}";
    let said = stage.kubectl(&["apply", "--dry-run=server", "-f", "-"], &expression(good))?;
    said.expect(true, &[])
}
