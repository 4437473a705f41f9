//! The agent's counts of events.

use anyhow::{Result, anyhow};
use gatewatch_exposition::samples;

pub(crate) use gatewatch_exposition::Sample;

/// The counter of events.
pub(crate) const EVENTS: &str = "tetragon_policy_events_total";

/// The samples of [`EVENTS`]. A malformed line is an error, whatever its metric.
pub(crate) fn events(text: &str) -> Result<Vec<Sample<'_>>> {
    samples(text)
        .filter(|sample| sample.as_ref().map_or(true, |sample| sample.metric == EVENTS))
        .map(|sample| sample.map_err(|malformed| anyhow!("{malformed}")))
        .collect()
}
