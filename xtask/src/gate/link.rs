//! The way from the webhook to the API server, which tests break off: watches end, and none begins until it is repaired.

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};

use super::balancer::join;

/// A way to one port, in threads of this process.
#[derive(Debug)]
pub(crate) struct Link {
    port: u16,
    state: Arc<Mutex<State>>,
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
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Whoever comes while it is broken, or finds nobody at the other end, sees the connection close.
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
                // Its end is the end of the connection.
                thread::spawn(move || join(client, backend));
            }
        });
        Ok(Self { port, state })
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

    /// Takes connections again.
    pub(crate) fn restore(&self) {
        locked(&self.state).broken = false;
    }
}

/// The state is right after each step, so it is even where a thread broke down in between.
fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
