//! The kernel's clock as a time of day.

use std::time::{Duration, Instant};

use gatewatch_events::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// How often the distance of both clocks is measured: the time of day can be set.
const MEASURED_EVERY: Duration = Duration::from_secs(10);

/// Converts nanoseconds since the machine started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Nanoseconds from 1970 to the start.
    offset: i64,
    measured: Instant,
}

impl Clock {
    /// The clock as it is now.
    pub(super) fn now() -> Self {
        let nanoseconds = |clock| {
            let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
            tv_sec * 1_000_000_000 + tv_nsec
        };
        // Neither is read first on average.
        let before = nanoseconds(ClockId::Boottime);
        let time = nanoseconds(ClockId::Realtime);
        let after = nanoseconds(ClockId::Boottime);
        Self { offset: time - before.midpoint(after), measured: Instant::now() }
    }

    /// Measures again where that was long ago.
    pub(super) fn follow(&mut self, now: Instant) {
        if now.saturating_duration_since(self.measured) >= MEASURED_EVERY {
            *self = Self::now();
        }
    }

    /// The time of day of a time of the kernel's.
    pub(super) fn time(&self, boot: u64) -> Timestamp {
        Timestamp(self.offset.saturating_add_unsigned(boot))
    }
}
