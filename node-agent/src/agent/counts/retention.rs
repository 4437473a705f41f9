//! How long what no longer exists is remembered, and how much of it.

use std::time::Duration;

use crate::series::SeriesLimits;

/// How much is kept of what there was.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Series.
    pub series: SeriesLimits,
    /// How long cgroups and pods are remembered after their deletion.
    pub remembered: Duration,
}

/// How long deleted pods are remembered at most when counts are short.
const REMEMBERED_WHEN_SHORT: Duration = Duration::from_secs(30);

impl Retention {
    /// How long cgroups and pods are remembered while so many counts are in use, of so many that there is room for.
    ///
    /// Shares are parts of what as many pods need as may run at a time. If pods come and go, the counts of those that are
    /// remembered take from the shares of those that run. All counts have been read by then, so nothing is lost.
    pub(super) fn remembered_beside(self, (used, capacity): (u64, u64)) -> Duration {
        if used > capacity / 2 { self.remembered.min(REMEMBERED_WHEN_SHORT) } else { self.remembered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deleted_pods_take_no_counts_from_others_for_long() {
        let remembered =
            |seconds| Retention { series: SeriesLimits::default(), remembered: Duration::from_secs(seconds) };
        assert_eq!(remembered(600).remembered_beside((16, 32)), Duration::from_mins(10));
        assert_eq!(remembered(600).remembered_beside((17, 32)), REMEMBERED_WHEN_SHORT);
        assert_eq!(remembered(2).remembered_beside((17, 32)), Duration::from_secs(2));
    }
}
