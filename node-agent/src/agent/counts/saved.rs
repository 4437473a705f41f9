//! What the counts leave for the next agent. The form is part of what [`VERSION`](gatewatch_abi::VERSION) numbers.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Counts, records::SavedRecords};
use crate::{
    attribution::SavedAttribution,
    bpf::{Lane, LoadError},
    series::{InPolicy, SavedSeries, SavedTotals, SavingSeries},
};

/// As it is written. Series and attribution are of one moment, or a count could have two owners.
#[derive(Serialize)]
struct Saving<'a> {
    series: SavingSeries<'a>,
    attribution: SavedAttribution,
    overflow: SavedTotals<u32>,
    unattributed: SavedTotals<u32>,
    missed: SavedTotals<InPolicy<Lane>>,
    gaps: SavedTotals<InPolicy<String>>,
    unknown: SavedTotals<(u32, InPolicy<Lane>)>,
    records: SavedRecords,
}

/// As it is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Saved {
    series: SavedSeries,
    attribution: SavedAttribution,
    overflow: SavedTotals<u32>,
    unattributed: SavedTotals<u32>,
    missed: SavedTotals<InPolicy<Lane>>,
    gaps: SavedTotals<InPolicy<String>>,
    unknown: SavedTotals<(u32, InPolicy<Lane>)>,
    records: SavedRecords,
}

impl Counts {
    /// Saves what was done with the kernel's numbers so far. What the kernel counts after this isn't lost when the agent
    /// ends: the next one finds it in the maps.
    pub(in crate::agent) fn save(&mut self) {
        if !self.view.named {
            return;
        }
        if let Err(error) = self.try_save() {
            tracing::error!(%error, "cannot save the counts for the next agent");
        }
    }

    fn try_save(&mut self) -> Result<(), LoadError> {
        let saved = Saving {
            series: self.series.save(),
            attribution: self.attribution.save(),
            overflow: self.overflow.save(),
            unattributed: self.unattributed.save(),
            missed: self.missed.save(),
            gaps: self.gaps.save(),
            unknown: self.unknown.save(),
            records: self.records.save(),
        };
        let bytes = serde_json::to_vec(&saved).map_err(LoadError::SavedState)?;
        self.reader.save(&bytes)?;
        self.saved = self.series.newest();
        Ok(())
    }

    /// Continues with the counts of an earlier agent.
    pub(super) fn restore(&mut self, now: Instant) {
        let saved = match self.saved() {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "cannot read the counts of the agent before this one; series begin at 0");
                return;
            }
        };
        self.series.restore(saved.series, now);
        self.saved = self.series.newest();
        self.attribution.restore(saved.attribution, now);
        self.overflow.restore(saved.overflow);
        // These are counted by the agent itself, from 0 on.
        self.unattributed.restore(SavedTotals { last: Vec::new(), ..saved.unattributed });
        self.unknown.restore(saved.unknown);
        self.missed.restore(saved.missed);
        self.gaps.restore(saved.gaps);
        self.records.restore(saved.records);
        if let Some(exist) = self.existing() {
            self.attribution.only_cgroups(|id| exist.contains(&id), now);
        }
        tracing::info!("continuing with the counts of the agent that ran before");
    }

    fn saved(&self) -> Result<Option<Saved>, LoadError> {
        let Some(bytes) = self.reader.saved()? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(LoadError::SavedState)
    }
}
