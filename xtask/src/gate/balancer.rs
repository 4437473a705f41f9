//! What a Service is in a cluster: one address before several replicas. A connection goes to the next replica that is
//! ready and takes it.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::probe;

/// How often each replica is asked whether it is ready.
const PROBE: Duration = Duration::from_millis(100);

/// A replica.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backend {
    /// The port of reviews.
    pub(crate) port: u16,
    /// The port that is probed.
    pub(crate) probes: u16,
}

/// A balancer, in threads of this process.
#[derive(Debug)]
pub(crate) struct Balancer {
    port: u16,
    sticky: Arc<AtomicBool>,
    /// Open connections of clients.
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Balancer {
    /// Starts one before these replicas. Where none is ready, one that isn't has to do.
    pub(crate) fn start(backends: &[Backend]) -> Result<Self> {
        let backends: Vec<(u16, Arc<AtomicBool>)> =
            backends.iter().map(|backend| (backend.port, probed(backend.probes))).collect();
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
        let port = listener.local_addr()?.port();
        let turn = Arc::new(AtomicUsize::new(0));
        let sticky = Arc::new(AtomicBool::new(false));
        let stays = Arc::clone(&sticky);
        let open = Arc::new(Mutex::new(Vec::<TcpStream>::new()));
        let clients = Arc::clone(&open);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (backends, turn) = (backends.clone(), Arc::clone(&turn));
                let mut known = clients.lock().unwrap_or_else(PoisonError::into_inner);
                known.retain(|client| client.peer_addr().is_ok());
                known.extend(client.try_clone());
                drop(known);
                let step = usize::from(!stays.load(Ordering::Relaxed));
                thread::spawn(move || {
                    let first = turn.fetch_add(step, Ordering::Relaxed);
                    let (mut order, rest): (Vec<_>, Vec<_>) = (0..backends.len())
                        .map(|i| &backends[(first + i) % backends.len()])
                        .partition(|(_, ready)| ready.load(Ordering::Relaxed));
                    order.extend(rest);
                    let reached =
                        order.iter().find_map(|(port, _)| TcpStream::connect(("127.0.0.1", *port)).ok());
                    if let Some(backend) = reached {
                        // Its end is the end of the connection.
                        let _ = join(client, backend);
                    }
                });
            }
        });
        Ok(Self { port, sticky, open })
    }

    /// Whether connections stay at one replica, as with a Service's `sessionAffinity: ClientIP`. Closes those that are
    /// open.
    pub(crate) fn set_sticky(&self, sticky: bool) {
        self.sticky.store(sticky, Ordering::Relaxed);
        for client in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // One that has ended already is what is wanted.
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// Whether the replica that is probed at this port is ready, from now on.
fn probed(port: u16) -> Arc<AtomicBool> {
    let ready = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&ready);
    thread::spawn(move || {
        loop {
            told.store(matches!(probe::get(port, "/readyz"), Ok((200, _))), Ordering::Relaxed);
            thread::sleep(PROBE);
        }
    });
    ready
}

/// Passes bytes on both ways until one side ends.
fn join(client: TcpStream, backend: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    backend.set_nodelay(true)?;
    let (mut from_client, mut to_backend) = (client.try_clone()?, backend.try_clone()?);
    let up = thread::spawn(move || {
        let done = io::copy(&mut from_client, &mut to_backend);
        let _ = to_backend.shutdown(Shutdown::Write);
        done
    });
    let (mut from_backend, mut to_client) = (backend, client);
    let done = io::copy(&mut from_backend, &mut to_client);
    // Whoever of the two ends, the other learns of it.
    let _ = to_client.shutdown(Shutdown::Both);
    let _ = from_backend.shutdown(Shutdown::Both);
    let _ = up.join();
    done.map(drop)
}
