//! The thread of an output that writes lines in order: the file and standard output.

use std::{
    io::{self, Write as _},
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::Duration,
};

use crate::{
    file::RotatingFile,
    ledger::Reason,
    queue::{Counters, Line, Queue, Taken},
};

/// How long an output waits before it looks after its file without a record.
const TICK: Duration = Duration::from_secs(1);

/// What lines are written to.
pub(crate) trait Sink: Send + 'static {
    /// Writes lines. An error says how many were written before it.
    fn write(&mut self, lines: &[Line]) -> Result<(), (usize, String)>;

    /// Called at least once a second.
    fn tick(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Ends the output.
    fn finish(self: Box<Self>) {}
}

impl Sink for RotatingFile {
    fn write(&mut self, lines: &[Line]) -> Result<(), (usize, String)> {
        Self::write(self, lines).map_err(|failed| (failed.written, failed.error.to_string()))
    }

    fn tick(&mut self) -> Result<(), String> {
        Self::tick(self).map_err(|error| error.to_string())
    }

    fn finish(self: Box<Self>) {
        Self::finish(*self);
    }
}

/// Standard output.
#[derive(Debug)]
pub(crate) struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, lines: &[Line]) -> Result<(), (usize, String)> {
        let mut stdout = io::stdout().lock();
        for (written, line) in lines.iter().enumerate() {
            stdout
                .write_all(&line.text)
                .map_err(|error| (written, format!("cannot write to standard output: {error}")))?;
        }
        // What a full pipe took of the batch cannot be known, so a failed flush counts for all of it.
        stdout.flush().map_err(|error| (0, format!("cannot write to standard output: {error}")))
    }
}

/// Starts the thread of an output.
pub(crate) fn start(
    name: &'static str,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    sink: Box<dyn Sink>,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(format!("export-{name}")).spawn(move || run(name, &queue, &counters, sink))
}

fn run(name: &str, queue: &Queue, counters: &Counters, mut sink: Box<dyn Sink>) {
    loop {
        match queue.take(TICK) {
            Taken::Lines(lines, _) => match sink.write(&lines) {
                Ok(()) => counters.wrote(name, &lines),
                Err((written, message)) => {
                    counters.wrote(name, &lines[..written]);
                    counters.failed(name, &lines[written..], &message);
                }
            },
            Taken::Nothing => {
                if let Err(message) = sink.tick() {
                    counters.failed(name, &[], &message);
                }
            }
            Taken::Closed => break,
        }
    }
    // Lines that came after the queue was closed.
    for line in queue.clear() {
        counters.dropped(&line, Reason::Stopped);
    }
    sink.finish();
}
