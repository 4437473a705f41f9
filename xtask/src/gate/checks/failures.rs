//! What goes wrong in a cluster, and what must not.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

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

/// Applies policies and pods without pause while `meanwhile` runs; gives how many, and what failed.
fn under_load(
    stage: &mut Stage,
    meanwhile: impl FnOnce(&mut Stage) -> Result<()>,
) -> Result<(usize, Vec<String>)> {
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let kubectl = stage.plane.kubectl();
    let load = |kind: &str| -> Result<Vec<String>> {
        let mut failed = Vec::new();
        for i in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let object = match kind {
                "policy" => policy("load", &format!("load: v{i}")),
                _ => pod("default", "load", &format!("load: v{i}")),
            };
            if let Err(error) = kubectl.apply(&object) {
                failed.push(format!("{error:#}"));
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(failed)
    };
    let (result, failed) = thread::scope(|scope| {
        let workers = [scope.spawn(|| load("policy")), scope.spawn(|| load("pod"))];
        let result = meanwhile(stage);
        stop.store(true, Ordering::Relaxed);
        let failed: Vec<String> =
            workers.into_iter().filter_map(|worker| worker.join().ok()?.ok()).flatten().collect();
        (result, failed)
    });
    result?;
    stage.must(&["delete", "tracingpolicy", "load"], "")?;
    stage.must(&["delete", "pod", "load", "--grace-period=0", "--force"], "")?;
    Ok((done.into_inner(), failed))
}

pub(super) fn kill_under_load(stage: &mut Stage) -> Result<()> {
    let kill = |stage: &mut Stage| -> Result<()> {
        thread::sleep(Duration::from_secs(2));
        stage.plane.replicas[0].daemon.kill()?;
        thread::sleep(Duration::from_secs(3));
        stage.plane.replicas[0].daemon.start_again()?;
        stage.plane.wait_ready()
    };
    // A call that is under way in the killed process at that very moment is lost, and the API server doesn't repeat
    // it. That is a moment of a millisecond; to meet it twice in a row is no accident.
    let mut failed = Vec::new();
    for _ in 0..2 {
        let (count, now_failed) = under_load(stage, kill)?;
        ensure!(count > 4, "only {count} applies were made");
        println!("  {count} applies, {} failed", now_failed.len());
        if now_failed.is_empty() {
            return Ok(());
        }
        failed = now_failed;
    }
    bail!("{} applies failed: {}", failed.len(), failed.join("\n"))
}

pub(super) fn rotation_under_load(stage: &mut Stage) -> Result<()> {
    let reloads = |stage: &Stage| -> Result<f64> {
        stage
            .plane
            .replicas
            .iter()
            .map(|replica| probe::metric(replica.metrics, "gatewatch_certificate_reloads"))
            .sum()
    };
    let before = reloads(stage)?;
    let (count, failed) = under_load(stage, |stage| {
        let began = Instant::now();
        // Both replicas, once at least.
        while reloads(stage)? < before + 2.0 {
            ensure!(began.elapsed() < Duration::from_mins(2), "no certificate was renewed in two minutes");
            thread::sleep(Duration::from_millis(200));
        }
        thread::sleep(Duration::from_secs(2));
        Ok(())
    })?;
    ensure!(failed.is_empty(), "{} of {count} applies failed: {}", failed.len(), failed.join("\n"));
    println!("  {count} applies");
    Ok(())
}

/// All replicas gone: policies are refused, pods are not; the rules about labels hold without the webhook; and taking
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
        stage.eventually(&format!("{bad} is refused without the webhook"), |stage| {
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
