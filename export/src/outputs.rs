//! All outputs of the agent.

use std::{
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use gatewatch_events::Event;
use parking_lot::Mutex;
use thiserror::Error;

use crate::{
    file::{FileError, RotatingFile},
    ledger::{Reason, Tally, Ticket},
    limit::RateLimit,
    options::{ExportOptions, OptionsError, Rules},
    queue::{Bounds, Counters, Line, Queue},
    socket::{Socket, SocketError},
    stream::{self, Sink, Stdout},
};

/// Bytes that the queue of an output can hold, whatever the number of lines.
const QUEUE_BYTES: usize = 8 << 20;

/// Why the outputs cannot be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// A mistake in the options.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A thread.
    #[error("cannot start the thread of an output: {0}")]
    Thread(#[source] io::Error),
}

/// The outputs. Share it by [`Arc`].
#[derive(Debug)]
pub struct Outputs {
    rules: Rules,
    limit: Option<RateLimit>,
    streams: Vec<Stream>,
    socket: Option<(Socket, Arc<Counters>)>,
}

/// An output with one queue.
#[derive(Debug)]
struct Stream {
    name: &'static str,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The state of one output, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputState {
    /// `file`, `stdout` or `socket`.
    pub name: &'static str,
    /// Records that it has written. A socket's count has each record once for each reader.
    pub written: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that it has not written, by reason.
    pub dropped: [(Reason, u64); Reason::ALL.len()],
    /// Records in its queue.
    pub queued: usize,
    /// The error of its last attempt, if that failed.
    pub failure: Option<String>,
}

impl Outputs {
    /// Starts the outputs of the options. Files and sockets are opened at once, so mistakes show here.
    pub fn start(options: &ExportOptions) -> Result<Self, StartError> {
        let rules = options.rules()?;
        let bounds = Bounds { lines: options.event_queue_size as usize, bytes: QUEUE_BYTES };
        let mut streams = Vec::new();
        let mut begin = |name, sink: Box<dyn Sink>| {
            let (queue, counters) = (Arc::new(Queue::new(bounds)), Arc::new(Counters::default()));
            let thread = stream::start(name, Arc::clone(&queue), Arc::clone(&counters), sink)
                .map_err(StartError::Thread)?;
            streams.push(Stream { name, queue, counters, thread: Mutex::new(Some(thread)) });
            Ok::<_, StartError>(())
        };
        if let Some(file) = options.file() {
            begin("file", Box::new(RotatingFile::open(file)?))?;
        }
        if options.export_stdout {
            begin("stdout", Box::new(Stdout))?;
        }
        let socket = match &options.export_socket {
            Some(path) => {
                let counters = Arc::new(Counters::default());
                Some((Socket::start(path, Arc::clone(&counters))?, counters))
            }
            None => None,
        };
        let limit = RateLimit::new(options.export_rate_limit, Instant::now());
        Ok(Self { rules, limit, streams, socket })
    }

    /// Hands a record to every output. Never waits for one. `tally` counts what becomes of the record.
    pub fn send(&self, mut event: Event, tally: &Arc<Tally>) {
        let ticket = Arc::new(Ticket::new(tally));
        self.rules.redaction.apply(&mut event);
        let mut whole = None;
        if let Some((socket, _)) = &self.socket {
            if socket.has_readers() {
                if let Some(text) = whole.get_or_insert_with(|| text(&event)) {
                    socket.send(&Line { text: Arc::clone(text), ticket: Arc::clone(&ticket) });
                }
            } else {
                socket.no_reader();
                ticket.dropped(Reason::NoReader);
            }
        }
        if self.streams.is_empty() {
            return;
        }
        let refused = if !self.rules.filters.pass(&event) {
            Some(Reason::Filter)
        } else if self.limit.as_ref().is_some_and(|limit| !limit.pass(Instant::now())) {
            Some(Reason::RateLimit)
        } else {
            None
        };
        if let Some(reason) = refused {
            ticket.dropped(reason);
            for stream in &self.streams {
                stream.counters.dropped.add(reason, 1);
            }
            return;
        }
        let exported = if self.rules.fields.is_empty() {
            whole.unwrap_or_else(|| text(&event))
        } else {
            self.some_fields(&event)
        };
        let Some(text) = exported else { return ticket.dropped(Reason::OutputFailed) };
        for stream in &self.streams {
            let line = Line { text: Arc::clone(&text), ticket: Arc::clone(&ticket) };
            if let Err(line) = stream.queue.push(line) {
                stream.counters.dropped(&line, Reason::QueueFull);
            }
        }
    }

    /// The states of all outputs.
    pub fn states(&self) -> Vec<OutputState> {
        let state = |name, counters: &Counters, queued| OutputState {
            name,
            written: counters.written.load(std::sync::atomic::Ordering::Relaxed),
            bytes: counters.bytes.load(std::sync::atomic::Ordering::Relaxed),
            dropped: Reason::ALL.map(|reason| (reason, counters.dropped.get(reason))),
            queued,
            failure: counters.failure(),
        };
        let streams =
            self.streams.iter().map(|stream| state(stream.name, &stream.counters, stream.queue.len()));
        let socket = self.socket.iter().map(|(socket, counters)| state("socket", counters, socket.queued()));
        streams.chain(socket).collect()
    }

    /// Ends the outputs: what is in their queues is written, for at most `timeout`.
    pub fn stop(&self, timeout: Duration) {
        if let Some((socket, _)) = &self.socket {
            socket.stop();
        }
        for stream in &self.streams {
            stream.queue.close();
        }
        let deadline = Instant::now() + timeout;
        for stream in &self.streams {
            let Some(thread) = stream.thread.lock().take() else { continue };
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            if thread.is_finished() {
                let _ = thread.join();
                continue;
            }
            // Its thread waits for a pipe or a disk: it ends with the agent.
            let lines = stream.queue.clear();
            for line in &lines {
                stream.counters.dropped(line, Reason::Stopped);
            }
            tracing::warn!(
                "{}: {} records were not written within {} seconds, and are lost",
                stream.name,
                lines.len(),
                timeout.as_secs()
            );
        }
    }

    /// The line of a record with the fields that the filters leave.
    fn some_fields(&self, event: &Event) -> Option<Arc<[u8]>> {
        let mut value = serde_json::to_value(event).ok()?;
        self.rules.fields.apply(event.kind(), value.as_object_mut()?);
        line(serde_json::to_vec(&value).ok()?)
    }
}

fn text(event: &Event) -> Option<Arc<[u8]>> {
    line(event.to_line().ok()?)
}

fn line(mut text: Vec<u8>) -> Option<Arc<[u8]>> {
    text.push(b'\n');
    Some(text.into())
}
