//! What the agent leaves for the one that comes after it. What is written here is part of what
//! [`VERSION`](gatewatch_abi::VERSION) numbers.

use std::collections::HashSet;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::State;
use crate::attribution::SavedAttribution;
use crate::cgroup;
use crate::kernel_half::{LoadError, Memory};
use crate::series::{SavedSeries, SavedTotals, SavingSeries};

/// As it is written. Series and attribution are of one moment, or a count could have two owners.
#[derive(Serialize)]
struct Saving<'a> {
    series: SavingSeries<'a>,
    attribution: SavedAttribution,
    overflow: SavedTotals,
    missed: SavedTotals,
    gaps: SavedTotals,
}

/// As it is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Saved {
    series: SavedSeries,
    attribution: SavedAttribution,
    overflow: SavedTotals,
    missed: SavedTotals,
    gaps: SavedTotals,
}

impl State {
    /// Writes down what was done with the kernel's numbers so far. What the kernel counts after this isn't lost if we
    /// end: the next agent finds it in the maps.
    pub(super) fn save(&mut self) {
        if !self.engine.named() {
            return;
        }
        if let Err(error) = self.try_save() {
            tracing::error!(%error, "cannot write down the counts for the agent that comes after this one");
        }
    }

    fn try_save(&mut self) -> Result<(), LoadError> {
        let saved = Saving {
            series: self.series.save(),
            attribution: self.attribution.save(),
            overflow: self.overflow.save(),
            missed: self.missed.save(),
            gaps: self.gaps.save(),
        };
        let bytes = serde_json::to_vec(&saved).map_err(LoadError::Memory)?;
        self.engine.kernel().save(Memory::Series, &bytes)?;
        self.engine.kernel_mut().forget_told()
    }

    /// Goes on where an earlier agent was.
    pub(super) fn restore(&mut self, now: Instant) {
        let bytes = match self.engine.kernel().remembered(Memory::Series) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "the counts of the agent before this one can't be read; series begin anew");
                return;
            }
        };
        let saved = serde_json::from_slice(&bytes).map_err(LoadError::Memory);
        let saved: Saved = match saved {
            Ok(saved) => saved,
            Err(error) => {
                tracing::error!(%error, "the counts of the agent before this one can't be read; series begin anew");
                return;
            }
        };
        self.series.restore(saved.series, now);
        self.attribution.restore(saved.attribution, now);
        self.overflow.restore(saved.overflow);
        self.missed.restore(saved.missed);
        self.gaps.restore(saved.gaps);
        if let Some(root) = &self.cgroup_root
            && let Ok(exist) = cgroup::walk(root)
        {
            let exist: HashSet<u64> = exist.into_iter().map(|(id, _)| id).collect();
            self.attribution.only_cgroups(|id| exist.contains(&id), now);
        }
        tracing::info!("going on with the counts of the agent that ran before");
    }
}
