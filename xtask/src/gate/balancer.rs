//! What a Service is in a cluster: one address before several replicas. A connection goes to the next replica that
//! takes it.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};

/// A balancer, in threads of this process.
#[derive(Debug)]
pub(crate) struct Balancer {
    port: u16,
}

impl Balancer {
    /// Starts one before these ports of loopback.
    pub(crate) fn start(backends: Vec<u16>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
        let port = listener.local_addr()?.port();
        let turn = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (backends, turn) = (backends.clone(), Arc::clone(&turn));
                thread::spawn(move || {
                    let first = turn.fetch_add(1, Ordering::Relaxed);
                    let mut order = (0..backends.len()).map(|i| backends[(first + i) % backends.len()]);
                    let reached = order.find_map(|port| TcpStream::connect(("127.0.0.1", port)).ok());
                    if let Some(backend) = reached {
                        // Its end is the end of the connection.
                        let _ = join(client, backend);
                    }
                });
            }
        });
        Ok(Self { port })
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

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
