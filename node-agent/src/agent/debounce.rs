//! When a burst of changes is over.

use std::time::{Duration, Instant};

/// A change waits this long for others.
const QUIET: Duration = Duration::from_millis(200);
/// No change waits longer than this, however many follow.
const AT_MOST: Duration = Duration::from_secs(2);

/// Changes that wait to be applied together. It has no clock: the caller passes the time.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    /// When the first of them came, and the last.
    waiting: Option<(Instant, Instant)>,
}

impl Debounce {
    /// Something has changed.
    pub(super) fn changed(&mut self, now: Instant) {
        let first = self.waiting.map_or(now, |(first, _)| first);
        self.waiting = Some((first, now));
    }

    /// How long until the changes are to be applied; `None` where there are none.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        let (first, last) = self.waiting?;
        let due = (last + QUIET).min(first + AT_MOST);
        Some(due.saturating_duration_since(now))
    }

    /// All changes are applied.
    pub(super) fn applied(&mut self) {
        self.waiting = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies what is due, as the reconciler does, every 10 ms; gives when that was, in ms.
    fn applied(changes: impl Fn(u64) -> bool, until: u64) -> Vec<u64> {
        let start = Instant::now();
        let mut debounce = Debounce::default();
        let mut applied = Vec::new();
        for at in (0..until).step_by(10) {
            let now = start + Duration::from_millis(at);
            if changes(at) {
                debounce.changed(now);
            }
            if debounce.due_in(now) == Some(Duration::ZERO) {
                debounce.applied();
                applied.push(at);
            }
        }
        applied
    }

    #[test]
    fn a_burst_is_one_change() {
        // 50 changes within a second, then nothing.
        assert_eq!(applied(|at| at % 20 == 0 && at < 1_000, 10_000), [1_180]);
    }

    #[test]
    fn one_change_waits_for_no_longer_than_it_must() {
        assert_eq!(applied(|at| at == 500, 10_000), [700]);
    }

    #[test]
    fn changes_without_end_are_applied_every_two_seconds() {
        assert_eq!(applied(|_| true, 6_100), [2_000, 4_010, 6_020]);
    }

    #[test]
    fn changes_far_apart_are_not_held_together() {
        assert_eq!(applied(|at| at % 1_000 == 0, 3_000), [200, 1_200, 2_200]);
    }

    #[test]
    fn nothing_is_due_where_nothing_has_changed() {
        assert_eq!(Debounce::default().due_in(Instant::now()), None);
    }
}
