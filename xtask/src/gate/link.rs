//! The connections between the webhook and the API server. Tests interrupt them: watches end, and none begins until the
//! link is repaired. Tests also stall them: connections stay open, and no byte arrives.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// A way to one port, in threads of this process.
#[derive(Debug)]
pub(crate) struct Link {
    port: u16,
    state: Arc<Mutex<State>>,
    stalled: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    broken: bool,
    open: Vec<TcpStream>,
}

impl Link {
    /// Starts one to this port of loopback.
    pub(crate) fn start(target: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let stalled = Arc::new(AtomicBool::new(false));
        let stall = Arc::clone(&stalled);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that connects while the link is broken, or has no server, sees the connection close.
                let Ok(backend) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let Ok(handle) = client.try_clone() else { continue };
                {
                    let mut state = locked(&shared);
                    if state.broken {
                        continue;
                    }
                    state.open.retain(|stream| stream.peer_addr().is_ok());
                    state.open.push(handle);
                }
                let stall = Arc::clone(&stall);
                // Its end is the end of the connection.
                thread::spawn(move || join(&client, &backend, &stall));
            }
        });
        Ok(Self { port, state, stalled })
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections, and takes no more.
    pub(crate) fn cut(&self) {
        let mut state = locked(&self.state);
        state.broken = true;
        for stream in state.open.drain(..) {
            // One that has ended already is what is wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Keeps connections open, and passes nothing on, until it is called with `false`.
    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Takes connections again.
    pub(crate) fn restore(&self) {
        locked(&self.state).broken = false;
    }
}

/// The state is right after each step, so it is even where a thread broke down in between.
fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes bytes on both ways until one side ends.
fn join(client: &TcpStream, backend: &TcpStream, stalled: &AtomicBool) -> io::Result<()> {
    client.set_nodelay(true)?;
    backend.set_nodelay(true)?;
    thread::scope(|scope| {
        let up = scope.spawn(|| pass(client, backend, stalled));
        let down = pass(backend, client, stalled);
        let _ = client.shutdown(Shutdown::Both);
        let _ = backend.shutdown(Shutdown::Both);
        let _ = up.join();
        down
    })
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, stalled: &AtomicBool) -> io::Result<()> {
    let mut buffer = [0; 1 << 14];
    loop {
        let length = from.read(&mut buffer)?;
        while stalled.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        if length == 0 {
            return to.shutdown(Shutdown::Write);
        }
        to.write_all(&buffer[..length])?;
    }
}
