//! How much is recorded.

use gatewatch_abi::{RecorderConfig, record::consts::RING_BYTES};

/// How much is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLimits {
    /// Bytes of the ring buffer: a power of two, and whole pages.
    pub ring_bytes: u32,
    /// Records a second of one policy and one pod.
    pub per_second: u32,
    /// Records of one policy and one pod at once, after a pause.
    pub burst: u32,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self { ring_bytes: RING_BYTES, per_second: 100, burst: 1_000 }
    }
}

impl RecordLimits {
    pub(super) fn config(&self) -> RecorderConfig {
        let step = 1_000_000_000 / u64::from(self.per_second.max(1));
        RecorderConfig { budget_step: step, budget_burst: step * u64::from(self.burst.saturating_sub(1)) }
    }
}
