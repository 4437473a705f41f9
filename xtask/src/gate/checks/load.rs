//! Applies without pause, while replicas end and certificates change.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Stage, pod, policy};
use crate::gate::probe;

/// Threads that apply policies, beside one that applies pods.
const WRITERS: usize = 2;

/// What came of applies.
struct Load {
    /// How many were made.
    applies: usize,
    failed: Vec<Failed>,
}

/// An apply that failed.
struct Failed {
    kind: &'static str,
    began: Instant,
    ended: Instant,
    said: String,
}

impl Load {
    fn none_failed(&self) -> Result<()> {
        println!("  {} applies, {} failed", self.applies, self.failed.len());
        ensure!(self.applies > 4, "only {} applies were made", self.applies);
        let said: Vec<&str> = self.failed.iter().map(|failed| failed.said.as_str()).collect();
        ensure!(said.is_empty(), "{} of {} applies failed: {}", said.len(), self.applies, said.join("\n"));
        Ok(())
    }
}

/// Applies policies and pods without pause while `meanwhile` runs. Nothing is tried twice.
fn under_load(stage: &mut Stage, meanwhile: impl FnOnce(&mut Stage) -> Result<()>) -> Result<Load> {
    let stop = AtomicBool::new(false);
    let kubectl = stage.plane.kubectl();
    let apply = |kind: &'static str, name: &str| {
        let (mut applies, mut failed) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let label = format!("load: v{applies}");
            let object = match kind {
                "policy" => policy(name, &label),
                _ => pod("default", name, &label),
            };
            let began = Instant::now();
            if let Err(error) = kubectl.apply(&object) {
                failed.push(Failed { kind, began, ended: Instant::now(), said: format!("{error:#}") });
            }
            applies += 1;
        }
        (applies, failed)
    };
    let (outcome, load) = thread::scope(|scope| {
        let apply = &apply;
        let mut workers: Vec<_> =
            (0..WRITERS).map(|i| scope.spawn(move || apply("policy", &format!("load-{i}")))).collect();
        workers.push(scope.spawn(move || apply("pod", "load")));
        let outcome = meanwhile(stage);
        stop.store(true, Ordering::Relaxed);
        let mut load = Load { applies: 0, failed: Vec::new() };
        for worker in workers {
            let (applies, failed) = worker.join().map_err(|_| anyhow::anyhow!("a thread broke down"))?;
            load.applies += applies;
            load.failed.extend(failed);
        }
        Ok::<_, anyhow::Error>((outcome, load))
    })?;
    outcome?;
    stage.must(&["delete", "tracingpolicy", "load-0", "load-1"], "")?;
    stage.must(&["delete", "pod", "load", "--grace-period=0", "--force"], "")?;
    Ok(load)
}

/// The API server sends a request once. One that is under way in a process at the moment in which it is killed is lost
/// with it, and nothing on our side of the connection could answer it any more. So that one policy may fail, of each
/// thread; it has to say why; and no other may.
pub(super) fn kill(stage: &mut Stage) -> Result<()> {
    let mut killed = None;
    let load = under_load(stage, |stage| {
        thread::sleep(Duration::from_secs(2));
        killed = Some(Instant::now());
        stage.plane.replicas[0].daemon.kill()?;
        thread::sleep(Duration::from_secs(3));
        stage.plane.replicas[0].daemon.start_again()?;
        stage.plane.wait_ready()
    })?;
    let killed = killed.context("nothing was killed")?;
    let (under_way, others): (Vec<_>, Vec<_>) =
        load.failed.into_iter().partition(|failed| failed.began <= killed && killed <= failed.ended);
    println!("  {} applies, {} failed that were under way at the kill", load.applies, under_way.len());
    ensure!(under_way.len() <= WRITERS, "{} applies were under way", under_way.len());
    for Failed { kind, said, .. } in &under_way {
        // Pods are admitted if no webhook answers.
        ensure!(*kind == "policy" && said.contains("failed calling webhook"), "{kind}: {said}");
    }
    Load { applies: load.applies, failed: others }.none_failed()
}

/// Every replica in its turn, as a Deployment replaces them.
pub(super) fn rolling_restart(stage: &mut Stage) -> Result<()> {
    let load = under_load(stage, |stage| {
        for i in 0..stage.plane.replicas.len() {
            thread::sleep(Duration::from_secs(1));
            stage.plane.replicas[i].daemon.stop()?;
            let words = stage.plane.replicas[i].daemon.last_words();
            ensure!(words.contains("all requests are answered"), "the replica did not end in order: {words}");
            stage.plane.replicas[i].daemon.start_again()?;
            stage.plane.wait_ready()?;
        }
        thread::sleep(Duration::from_secs(1));
        Ok(())
    })?;
    load.none_failed()
}

pub(super) fn rotation(stage: &mut Stage) -> Result<()> {
    let reloads = |stage: &Stage| -> Result<f64> {
        stage
            .plane
            .replicas
            .iter()
            .map(|replica| probe::metric(replica.metrics, "gatewatch_certificate_reloads", &[]))
            .sum()
    };
    let before = reloads(stage)?;
    let load = under_load(stage, |stage| {
        let began = Instant::now();
        // Both replicas, once at least.
        while reloads(stage)? < before + 2.0 {
            ensure!(began.elapsed() < Duration::from_mins(2), "no certificate was renewed in two minutes");
            thread::sleep(Duration::from_millis(200));
        }
        thread::sleep(Duration::from_secs(2));
        Ok(())
    })?;
    load.none_failed()
}
