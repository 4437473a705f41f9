//! A unix socket for `gatewatch events`: each reader gets every record from its connection on, unfiltered, as a line in
//! Tetragon's format. A reader that is too slow loses records, and its stream says how many.

use std::{
    fs, io,
    io::Write as _,
    os::{
        fd::OwnedFd,
        unix::{
            fs::FileTypeExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Builder,
    time::Duration,
};

use gatewatch_events::{
    Event,
    event::{Body, RateLimitInfo},
};
use parking_lot::Mutex;
use rustix::{
    fs::{Mode, chmod},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with},
};
use thiserror::Error;

use crate::{
    ledger::Reason,
    queue::{Bounds, Counters, Line, Queue, Taken},
};

/// Why the socket cannot be offered.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Another agent offers it.
    #[error("{} is in use by another agent; pass another path with --export-socket", .0.display())]
    InUse(PathBuf),
    /// There is another kind of file.
    #[error("{} exists and is not a socket; pass another path with --export-socket", .0.display())]
    Occupied(PathBuf),
    /// A system call failed.
    #[error("cannot offer the socket {}: {source}", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Readers at the same time: each has a thread and a queue.
const MAX_READERS: usize = 8;
/// The queue of a reader.
const READER: Bounds = Bounds { lines: 10_000, bytes: 2 << 20 };
const TICK: Duration = Duration::from_secs(1);
/// A reader that takes nothing for so long is disconnected.
const STALLED: Duration = Duration::from_mins(1);

type Readers = Arc<Mutex<Vec<Arc<Queue>>>>;

/// The socket.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    readers: Readers,
    counters: Arc<Counters>,
    stopped: Arc<AtomicBool>,
}

impl Socket {
    /// Offers the socket at `path`, for the agent's user alone.
    pub(crate) fn start(path: &Path, counters: Arc<Counters>) -> Result<Self, SocketError> {
        let fault = |source: io::Error| SocketError::Io { path: path.to_owned(), source };
        let listener = UnixListener::from(offer(path)?);
        let readers = Readers::default();
        let stopped = Arc::new(AtomicBool::new(false));
        let accepting = Accept {
            listener,
            readers: Arc::clone(&readers),
            counters: Arc::clone(&counters),
            stopped: Arc::clone(&stopped),
        };
        Builder::new().name("export-socket".to_owned()).spawn(move || accepting.run()).map_err(fault)?;
        Ok(Self { path: path.to_owned(), readers, counters, stopped })
    }

    /// Puts a line into the queue of each reader. Never waits.
    pub(crate) fn send(&self, line: &Line) {
        let readers = self.readers.lock();
        if readers.is_empty() {
            self.counters.dropped(line, Reason::NoReader);
        }
        for reader in readers.iter() {
            if let Err(line) = reader.push(line.clone()) {
                self.counters.dropped(&line, Reason::QueueFull);
            }
        }
    }

    /// Whether a program reads it.
    pub(crate) fn has_readers(&self) -> bool {
        !self.readers.lock().is_empty()
    }

    /// Counts a record for which no line was made, because no reader is connected.
    pub(crate) fn no_reader(&self) {
        self.counters.dropped.add(Reason::NoReader, 1);
    }

    /// Lines in the queues of all readers.
    pub(crate) fn queued(&self) -> usize {
        self.readers.lock().iter().map(|reader| reader.len()).sum()
    }

    /// Ends the streams of all readers, and removes the socket.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        for reader in self.readers.lock().iter() {
            reader.close();
        }
        // The accepting thread waits for a connection: this is one.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds the socket. Its mode is set before it accepts connections.
fn offer(path: &Path) -> Result<OwnedFd, SocketError> {
    let fault = |source: io::Error| SocketError::Io { path: path.to_owned(), source };
    if let Ok(metadata) = fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(SocketError::Occupied(path.to_owned()));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(SocketError::InUse(path.to_owned()));
        }
        fs::remove_file(path).map_err(fault)?;
    }
    let system = |error: rustix::io::Errno| fault(error.into());
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(system)?;
    bind(&socket, &SocketAddrUnix::new(path).map_err(system)?).map_err(system)?;
    chmod(path, Mode::RUSR | Mode::WUSR).map_err(system)?;
    listen(&socket, 16).map_err(system)?;
    Ok(socket)
}

struct Accept {
    listener: UnixListener,
    readers: Readers,
    counters: Arc<Counters>,
    stopped: Arc<AtomicBool>,
}

impl Accept {
    fn run(self) {
        loop {
            let accepted = self.listener.accept();
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            match accepted {
                Ok((stream, _)) => self.serve(stream),
                Err(error) => {
                    self.counters.failed("socket", &[], &format!("cannot accept a reader: {error}"));
                    std::thread::sleep(TICK);
                }
            }
        }
    }

    fn serve(&self, stream: UnixStream) {
        let mut readers = self.readers.lock();
        if readers.len() >= MAX_READERS {
            tracing::warn!(
                "socket: rejected a reader, because {MAX_READERS} programs read the records already"
            );
            return;
        }
        let queue = Arc::new(Queue::new(READER));
        let (all, counters) = (Arc::clone(&self.readers), Arc::clone(&self.counters));
        let own = Arc::clone(&queue);
        let started = Builder::new().name("export-reader".to_owned()).spawn(move || {
            read(&stream, &own, &counters);
            all.lock().retain(|other| !Arc::ptr_eq(other, &own));
            for line in own.clear() {
                counters.dropped(&line, Reason::NoReader);
            }
        });
        match started {
            Ok(_) => readers.push(queue),
            Err(error) => tracing::error!("socket: cannot start a thread for a reader: {error}"),
        }
    }
}

/// Sends lines to one reader until it leaves.
fn read(mut stream: &UnixStream, queue: &Queue, counters: &Counters) {
    if stream.set_write_timeout(Some(STALLED)).is_err() {
        return;
    }
    loop {
        match queue.take(TICK) {
            Taken::Lines(lines, lost) => {
                if lost > 0 && stream.write_all(&notice(lost)).is_err() {
                    return left(&lines, counters);
                }
                for (sent, line) in lines.iter().enumerate() {
                    if let Err(error) = stream.write_all(&line.text) {
                        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
                            tracing::warn!(
                                "socket: disconnected a reader that took nothing for {} seconds",
                                STALLED.as_secs()
                            );
                        }
                        return left(&lines[sent..], counters);
                    }
                    counters.wrote("socket", std::slice::from_ref(line));
                }
            }
            Taken::Nothing => {
                if hung_up(stream) {
                    return;
                }
            }
            Taken::Closed => return,
        }
    }
}

fn left(lines: &[Line], counters: &Counters) {
    for line in lines {
        counters.dropped(line, Reason::NoReader);
    }
}

/// The record that says how many were left out, in Tetragon's form.
fn notice(lost: u64) -> Vec<u8> {
    let body = Body::RateLimitInfo(RateLimitInfo { number_of_dropped_process_events: lost });
    let mut event = Event::new(body, gatewatch_events::Timestamp::default());
    event.time = None;
    let mut line = event.to_line().unwrap_or_default();
    line.push(b'\n');
    line
}

/// Whether the reader has closed its end: it never sends anything.
fn hung_up(stream: &UnixStream) -> bool {
    use rustix::net::{RecvFlags, recv};
    let mut byte = [0_u8; 1];
    matches!(recv(stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((0, _)))
}
