//! The queue of an output.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::ledger::{Dropped, Reason, Ticket};

/// A record as an output writes it, with its newline.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: Arc<[u8]>,
    pub(crate) ticket: Arc<Ticket>,
}

/// What an output has done, which metrics show.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) written: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) dropped: Dropped,
    /// The error of the last attempt; `None`: it succeeded.
    failure: Mutex<Option<String>>,
}

impl Counters {
    /// Counts lines that were written. Ends a failure.
    pub(crate) fn wrote(&self, output: &str, lines: &[Line]) {
        let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
        for line in lines {
            line.ticket.written();
        }
        self.written.fetch_add(lines.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if !lines.is_empty() && self.failure.lock().take().is_some() {
            tracing::info!("{output}: records are written again");
        }
    }

    /// Counts a line that is not written.
    pub(crate) fn dropped(&self, line: &Line, reason: Reason) {
        line.ticket.dropped(reason);
        self.dropped.add(reason, 1);
    }

    /// Reports that lines cannot be written for now. They are kept.
    pub(crate) fn stalled(&self, output: &str, message: &str) {
        if self.failure.lock().replace(message.to_owned()).as_deref() != Some(message) {
            tracing::warn!("{output}: {message}; records wait in the queue, and are lost once it is full");
        }
    }

    /// Counts lines that could not be written. The first failure is logged.
    pub(crate) fn failed(&self, output: &str, lines: &[Line], message: &str) {
        for line in lines {
            self.dropped(line, Reason::OutputFailed);
        }
        let previous = self.failure.lock().replace(message.to_owned());
        if previous.as_deref() != Some(message) {
            tracing::error!(
                "{output}: {message}; records are lost until this is fixed, and counted with the reason \
                 \"output_failed\""
            );
        }
    }

    /// The error of the last attempt, if it failed.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }
}

/// The bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) lines: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Content {
    lines: VecDeque<Line>,
    bytes: usize,
    closed: bool,
    /// Lines that did not fit since the reader last asked.
    lost: u64,
}

/// Lines on the way to one output.
#[derive(Debug)]
pub(crate) struct Queue {
    content: Mutex<Content>,
    changed: Condvar,
    bounds: Bounds,
}

/// What an output takes from its queue.
#[derive(Debug)]
pub(crate) enum Taken {
    /// These lines, and how many were lost before them.
    Lines(Vec<Line>, u64),
    /// Nothing came in time.
    Nothing,
    /// The queue is closed and empty.
    Closed,
}

/// Lines that an output takes at once.
const BATCH: usize = 256;

impl Queue {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { content: Mutex::default(), changed: Condvar::new(), bounds }
    }

    /// Adds a line. Never waits; gives the line back if the queue is full.
    pub(crate) fn push(&self, line: Line) -> Result<(), Line> {
        let mut content = self.content.lock();
        let bytes = content.bytes + line.text.len();
        if content.closed || content.lines.len() >= self.bounds.lines || bytes > self.bounds.bytes {
            content.lost += 1;
            return Err(line);
        }
        content.bytes = bytes;
        content.lines.push_back(line);
        drop(content);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the next lines; waits for one until `timeout`.
    pub(crate) fn take(&self, timeout: Duration) -> Taken {
        let deadline = Instant::now() + timeout;
        let mut content = self.content.lock();
        loop {
            if !content.lines.is_empty() {
                let number = content.lines.len().min(BATCH);
                let lines: Vec<Line> = content.lines.drain(..number).collect();
                content.bytes -= lines.iter().map(|line| line.text.len()).sum::<usize>();
                return Taken::Lines(lines, std::mem::take(&mut content.lost));
            }
            if content.closed {
                return Taken::Closed;
            }
            if self.changed.wait_until(&mut content, deadline).timed_out() {
                return Taken::Nothing;
            }
        }
    }

    /// Takes no more lines; those in it can still be taken.
    pub(crate) fn close(&self) {
        self.content.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether it takes no more lines.
    pub(crate) fn is_closed(&self) -> bool {
        self.content.lock().closed
    }

    /// Drops what is in it.
    pub(crate) fn clear(&self) -> Vec<Line> {
        let mut content = self.content.lock();
        content.bytes = 0;
        content.lines.drain(..).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.content.lock().lines.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Tally;

    #[test]
    fn a_queue_is_bounded_by_lines_and_bytes() {
        let tally = Arc::new(Tally::default());
        let line =
            |bytes: usize| Line { text: vec![b'x'; bytes].into(), ticket: Arc::new(Ticket::new(&tally)) };
        let queue = Queue::new(Bounds { lines: 3, bytes: 100 });
        assert!(queue.push(line(60)).is_ok());
        assert!(queue.push(line(60)).is_err());
        assert!(queue.push(line(20)).is_ok());
        assert!(queue.push(line(20)).is_ok());
        assert!(queue.push(line(0)).is_err());
        let Taken::Lines(lines, lost) = queue.take(Duration::ZERO) else { panic!("nothing") };
        assert_eq!((lines.len(), lost), (3, 2));
        assert!(matches!(queue.take(Duration::ZERO), Taken::Nothing));
        assert!(queue.push(line(100)).is_ok());
        queue.close();
        assert!(queue.push(line(1)).is_err());
        assert!(matches!(queue.take(Duration::ZERO), Taken::Lines(..)));
        assert!(matches!(queue.take(Duration::ZERO), Taken::Closed));
    }
}
