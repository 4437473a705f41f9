//! What became of records: of each hook, how many are written, and how many are not, by reason. What the kernel left out is in
//! its maps, the rest in the tallies of the thread that reads records. Together they are the hook's matched events, once no
//! record is on its way.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use gatewatch_abi::{
    CountKey,
    record::consts::{BUDGET, BUFFER_FULL, INTERRUPTED, LEDGER, NO_AGENT, RATE_LIMIT},
};
use gatewatch_export::{Reason, Tally};
use serde::{Deserialize, Serialize};

use super::Labels;
use crate::{
    metrics::RecordSamples,
    records::Shared,
    series::{HookTotals, Hooks, SavedTotals},
};

/// What the kernel left out, and the value of the label `reason`.
const IN_KERNEL: [(u32, &str); 5] = [
    (RATE_LIMIT, "rate_limit"),
    (BUDGET, "budget"),
    (BUFFER_FULL, "buffer_full"),
    (INTERRUPTED, "interrupted"),
    (NO_AGENT, "no_agent"),
];

/// See the module's documentation.
#[derive(Default)]
pub(super) struct RecordTotals {
    shared: Option<Arc<Shared>>,
    written: HookTotals<u32>,
    in_kernel: [HookTotals<u32>; IN_KERNEL.len()],
    in_agent: [HookTotals<u32>; Reason::ALL.len()],
}

/// [`RecordTotals`] beyond the agent's end.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SavedRecords {
    written: SavedTotals<u32>,
    in_kernel: Vec<SavedTotals<u32>>,
    in_agent: Vec<SavedTotals<u32>>,
}

impl RecordTotals {
    /// Of the records that this reader reads.
    pub(in crate::agent) fn set(&mut self, shared: Arc<Shared>) {
        self.shared = Some(shared);
    }

    /// Adds what is new, from all that is in the kernel's map of counts.
    pub(super) fn fold(&mut self, counts: &[(CountKey, u64)], hooks: &Hooks) {
        let Some(shared) = &self.shared else { return };
        let labels: Vec<(u32, Labels)> =
            hooks.iter().map(|(number, hook)| (*number, hook.labels())).collect();
        for ((entry, _), totals) in IN_KERNEL.iter().zip(&mut self.in_kernel) {
            let of = |key: &CountKey| {
                key.cgroup == gatewatch_abi::consts::OVERFLOW && key.binary == LEDGER + u64::from(*entry)
            };
            let numbers = counts.iter().filter(|(key, _)| of(key)).map(|(key, value)| (key.hook, *value));
            totals.fold(numbers, labels.clone());
        }
        let catalog = shared.catalog.load();
        let of = |number: &dyn Fn(&Tally) -> u64| -> HashMap<u32, u64> {
            catalog.tallies().map(|(hook, tally)| (hook, number(tally))).collect()
        };
        self.written.fold(of(&Tally::written), labels.clone());
        for (reason, totals) in Reason::ALL.into_iter().zip(&mut self.in_agent) {
            totals.fold(of(&|tally| tally.not_written(reason)), labels.clone());
        }
    }

    /// The totals; none where nothing is recorded.
    pub(super) fn samples(&self) -> Option<RecordSamples> {
        let shared = self.shared.as_ref()?;
        let in_kernel = IN_KERNEL.iter().map(|(_, reason)| *reason).zip(&self.in_kernel);
        let in_agent = Reason::ALL.into_iter().map(Reason::name).zip(&self.in_agent);
        Some(RecordSamples {
            written: self.written.samples(),
            not_written: in_kernel
                .chain(in_agent)
                .map(|(reason, totals)| (reason, totals.samples()))
                .collect(),
            unknown: shared.unknown.load(Ordering::Relaxed),
            processes: shared.processes.load(Ordering::Relaxed),
            cut: shared.cut.load(Ordering::Relaxed),
            waiting: shared.waiting.load(Ordering::Relaxed),
        })
    }

    /// What the next agent has to know.
    pub(super) fn save(&self) -> SavedRecords {
        SavedRecords {
            written: self.written.save(),
            in_kernel: self.in_kernel.iter().map(HookTotals::save).collect(),
            in_agent: self.in_agent.iter().map(HookTotals::save).collect(),
        }
    }

    /// Continues where an earlier agent stopped. The kernel's numbers continue, the agent's own begin at 0.
    pub(super) fn restore(&mut self, saved: SavedRecords) {
        let begun = |saved: SavedTotals<u32>| SavedTotals { last: Vec::new(), ..saved };
        self.written.restore(begun(saved.written));
        for (totals, saved) in self.in_kernel.iter_mut().zip(saved.in_kernel) {
            totals.restore(saved);
        }
        for (totals, saved) in self.in_agent.iter_mut().zip(saved.in_agent) {
            totals.restore(begun(saved));
        }
    }
}
