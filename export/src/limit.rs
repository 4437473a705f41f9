//! `--export-rate-limit`.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const MINUTE: Duration = Duration::from_secs(60);

/// A token bucket of records per minute, whose burst is the limit, as in Tetragon.
#[derive(Debug)]
pub(crate) struct RateLimit {
    per_minute: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    since: Instant,
}

impl RateLimit {
    /// `None`: no limit (a negative number). 0 lets no record pass.
    pub(crate) fn new(per_minute: i64, now: Instant) -> Option<Self> {
        let per_minute = u32::try_from(per_minute.min(u32::MAX.into())).ok()?;
        let state = Mutex::new(State { tokens: per_minute.into(), since: now });
        Some(Self { per_minute, state })
    }

    /// Whether one more record passes.
    pub(crate) fn pass(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let passed = now.saturating_duration_since(state.since);
        state.since = state.since.max(now);
        let limit = f64::from(self.per_minute);
        let gained = passed.as_secs_f64() / MINUTE.as_secs_f64() * limit;
        state.tokens = (state.tokens + gained).min(limit);
        if state.tokens < 1.0 {
            return false;
        }
        state.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_lets_as_many_pass_as_the_limit_says() {
        let start = Instant::now();
        assert!(RateLimit::new(-1, start).is_none());
        let none = RateLimit::new(0, start).unwrap();
        assert!(!none.pass(start + MINUTE));
        let limit = RateLimit::new(60, start).unwrap();
        let passed = |at: Instant| (0..100).filter(|_| limit.pass(at)).count();
        assert_eq!(passed(start), 60);
        assert_eq!(passed(start + MINUTE / 2), 30);
        assert_eq!(passed(start + 10 * MINUTE), 60);
        assert_eq!(passed(start), 0, "time does not run backwards");
    }
}
