//! The time of the last event, for alerts.

use std::{
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::counts_setuid;
use crate::{agent::Agent, calls, scrape};

const METRIC: &str = "gatewatch_last_event_timestamp_seconds";
/// The agent reads the counts that often without a scrape, and a loaded machine takes its time.
const SEEN_WITHIN: Duration = Duration::from_secs(8);

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64()
}

fn last(agent: &Agent) -> Option<f64> {
    let text = agent.metrics();
    let found = scrape::samples(&text, METRIC);
    assert!(found.len() <= 1, "{text}");
    let (labels, time) = found.into_iter().next()?;
    let wanted = [("hook", "kprobe:__sys_setuid"), ("namespace", ""), ("pod", ""), ("policy", "uid")];
    assert_eq!(labels.len(), wanted.len(), "{labels:?}");
    assert!(wanted.iter().all(|(name, value)| labels[*name] == *value), "{labels:?}");
    Some(time)
}

/// An event that no scrape sees has its time, which outlives the agent; events while there is no agent have the time of the
/// next one.
pub(super) fn outlives_the_agent() {
    let mut agent = counts_setuid();
    assert_eq!(last(&agent), None, "nothing has happened");
    let before = now();
    calls::setuid_root(1);
    sleep(SEEN_WITHIN);
    let after = now();
    agent.kill();
    agent.again();
    let first = last(&agent).expect("a time");
    assert!(before <= first && first <= after, "{first} is not between {before} and {after}");

    // The agent ends in order, and nothing has happened since.
    agent.end();
    agent.again();
    assert_eq!(last(&agent), Some(first));
    sleep(SEEN_WITHIN);
    assert_eq!(last(&agent), Some(first), "no scrape and no fold changes it");

    agent.end();
    let before = now();
    calls::setuid_root(1);
    agent.again();
    let second = last(&agent).expect("a time");
    if agent.sum(scrape::EVENTS, &[("policy", "uid")]) == 2 {
        assert!(before <= second && second <= now(), "{second} is not between {before} and now");
    } else {
        // A kernel that can't keep hooks has not counted it.
        assert_eq!(second.total_cmp(&first), std::cmp::Ordering::Equal, "{first}, then {second}");
    }
}
