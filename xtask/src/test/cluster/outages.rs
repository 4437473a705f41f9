//! What the agent's numbers do when it, or the API server, is away.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};

use super::{AGENT, rolled_out, run_sudo, sudo, until};
use crate::cluster::{self, Address, Cluster, Story};

/// While there is no agent, and when there is another, each use of sudo is counted.
pub(super) fn agent(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    let count = || sudo(&Story::new(cluster, programs).scrape()?);
    let begun = count()?;
    run_sudo(cluster)?;
    let before = count()?;
    let each = before - begun;
    ensure!(each >= 1.0, "one use of sudo is counted {each} times");

    let kubectl = cluster.kubectl();
    kubectl.text(&[&["rollout", "restart"], &AGENT[..]].concat())?;
    for _ in 0..5 {
        run_sudo(cluster)?;
        thread::sleep(Duration::from_secs(1));
    }
    rolled_out(cluster)?;
    let wanted = before + 5.0 * each;
    reaches("another agent continues the counts", wanted, count)?;

    kill_agent(cluster)?;
    run_sudo(cluster)?;
    reaches("the agent that was killed is back with its numbers", wanted + each, count)
}

pub(super) fn kill_agent(cluster: &Cluster) -> Result<()> {
    let (code, output) = cluster.run_on_node(
        "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" != gatewatch-agent ] || kill -9 ${p#/proc/}; done",
    )?;
    ensure!(code == 0, "the agent can't be killed: {output}");
    Ok(())
}

/// Waits until a count is as high as it is to be, and fails if it is higher.
fn reaches(what: &str, wanted: f64, count: impl Fn() -> Result<f64>) -> Result<()> {
    let mut seen = 0.0;
    until(what, || {
        seen = count()?;
        Ok(seen >= wanted)
    })?;
    // Counts are whole numbers.
    ensure!((seen - wanted).abs() < 0.5, "{wanted} uses of sudo, and counted was {seen}");
    Ok(())
}

/// For a minute: long enough for watches to notice, and to try again.
pub(super) fn api_server(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    let agent = Address::of(cluster)?;
    let before = sudo(&Story::new(cluster, programs).scrape()?)?;
    cluster.plane().stop_api_server()?;
    let observed = (|| -> Result<f64> {
        run_sudo(cluster)?;
        thread::sleep(Duration::from_mins(1));
        sudo(&agent.scrape(cluster)?)
    })();
    cluster.plane().start_api_server()?;
    let during = observed?;
    ensure!(during > before, "{before} before, {during} after sudo was run without an API server");
    Ok(())
}
