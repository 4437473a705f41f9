//! Whether this replica is the one that writes.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Whether this replica leads. Leadership ends with its deadline, whatever the task that renews the Lease is doing.
#[derive(Debug, Default)]
pub struct Leadership(Mutex<Option<Instant>>);

impl Leadership {
    /// Whether this replica leads now.
    pub fn holds(&self) -> bool {
        self.left().is_some()
    }

    /// The time until leadership ends, unless the Lease is renewed. `None` if this replica does not lead.
    pub fn left(&self) -> Option<Duration> {
        let until = (*self.0.lock())?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Sets when leadership ends. `None` ends it now.
    pub(crate) fn set(&self, until: Option<Instant>) {
        *self.0.lock() = until;
    }
}
