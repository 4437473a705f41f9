//! What became of records.

use std::sync::{
    Arc,
    atomic::{AtomicU16, AtomicU64, Ordering},
};

/// Why a record was not written. If outputs have different reasons, the first in this order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An output could not write it: the file system is full or read-only, a pipe is closed, …
    OutputFailed,
    /// The queue of an output was full: it is slower than the records come.
    QueueFull,
    /// `--export-rate-limit` was reached.
    RateLimit,
    /// `--export-allowlist` or `--export-denylist` left it out.
    Filter,
    /// The only output is the socket, and no program reads it.
    NoReader,
    /// The agent ended before it was written.
    Stopped,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::OutputFailed, Self::QueueFull, Self::RateLimit, Self::Filter, Self::NoReader, Self::Stopped];

    /// The value of the metrics' label `reason`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OutputFailed => "output_failed",
            Self::QueueFull => "queue_full",
            Self::RateLimit => "export_rate_limit",
            Self::Filter => "filter",
            Self::NoReader => "no_reader",
            Self::Stopped => "stopped",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Counts by reason.
#[derive(Debug, Default)]
pub struct Dropped([AtomicU64; Reason::ALL.len()]);

impl Dropped {
    /// Adds to the count of a reason.
    pub(crate) fn add(&self, reason: Reason, number: u64) {
        self.0[reason as usize].fetch_add(number, Ordering::Relaxed);
    }

    /// The count of a reason.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}

/// The account of a part of the records, such as those of one hook: the caller of
/// [`Outputs::send`](crate::Outputs::send) decides. Once no record is on its way any more, the number of records sent is
/// `written` plus all of `not_written`, exactly.
#[derive(Debug, Default)]
pub struct Tally {
    written: AtomicU64,
    not_written: Dropped,
}

impl Tally {
    /// Records that at least one output has written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records that no output has written.
    pub fn not_written(&self, reason: Reason) -> u64 {
        self.not_written.get(reason)
    }
}

/// One record on its way. All outputs share it; when the last one drops it, its fate is known.
#[derive(Debug)]
pub(crate) struct Ticket {
    tally: Arc<Tally>,
    /// The bits of the reasons, and [`WRITTEN`].
    fate: AtomicU16,
}

const WRITTEN: u16 = 1 << 15;

impl Ticket {
    pub(crate) fn new(tally: &Arc<Tally>) -> Self {
        Self { tally: Arc::clone(tally), fate: AtomicU16::new(0) }
    }

    pub(crate) fn written(&self) {
        self.fate.fetch_or(WRITTEN, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, reason: Reason) {
        self.fate.fetch_or(reason.bit(), Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let fate = *self.fate.get_mut();
        if fate & WRITTEN != 0 {
            self.tally.written.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let reason = Reason::ALL.into_iter().find(|reason| fate & reason.bit() != 0);
        self.tally.not_written.add(reason.unwrap_or(Reason::Stopped), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_once_whatever_its_outputs_say() {
        let tally = Arc::new(Tally::default());
        let fates: [&[Option<Reason>]; 5] = [
            &[Some(Reason::QueueFull), None],
            &[Some(Reason::Filter), Some(Reason::OutputFailed)],
            &[Some(Reason::NoReader), Some(Reason::RateLimit)],
            &[],
            &[None, None],
        ];
        for fate in fates {
            let ticket = Arc::new(Ticket::new(&tally));
            for output in fate {
                let ticket = Arc::clone(&ticket);
                match output {
                    Some(reason) => ticket.dropped(*reason),
                    None => ticket.written(),
                }
            }
        }
        assert_eq!(tally.written(), 2);
        let reasons = Reason::ALL.map(|reason| tally.not_written(reason));
        assert_eq!(reasons, [1, 0, 1, 0, 0, 1]);
    }
}
