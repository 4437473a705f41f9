//! The agent's HTTP server: `/metrics`, `/healthz`, `/readyz`, and `/profile` in a cluster.
//!
//! The port is bound before anything is loaded into the kernel, so that a second agent on a node stops at once.
//! It is open to the node's network, so what a client can hold on to is bounded: time to send a request, time
//! to take the answer, size of the request, number of connections.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::metrics::{self, CONTENT_TYPE, Source};
use crate::profile::SavedProfile;

/// Connections that are served at a time; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// Time for a client to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a whole connection. Prometheus gives up after 10 s unless it is told otherwise.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 16 * 1024;
/// Time for open connections to end at shutdown.
const DRAIN: Duration = Duration::from_secs(5);
/// Time to wait where the system is out of descriptors or memory, before connections are accepted again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that is ours.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// The address that it listens on, with the port that the system chose where 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Why the port can't be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has it.
    #[error(
        "cannot listen on {0}: address already in use; another agent runs here, or choose --metrics-address"
    )]
    InUse(SocketAddr),
    /// It needs a privilege.
    #[error("cannot listen on {0}: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE")]
    Denied(SocketAddr),
    /// This machine doesn't have the address.
    #[error(
        "cannot listen on {0}: no interface of this machine has that address; choose another --metrics-address"
    )]
    NotLocal(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Why the server stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port can't be used.
    #[error("cannot serve metrics: {0}")]
    Listen(#[from] io::Error),
}

/// Takes the port. Connections wait until [`serve`] is called.
pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        io::ErrorKind::PermissionDenied => BindError::Denied(address),
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal(address),
        _ => BindError::Other { address, source },
    };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(Listener(listener))
}

/// Serves until `shutdown` is done (the profile from when there is one), and then for as long as requests that have begun need, 5 s at most.
pub async fn serve(
    listener: Listener,
    source: Arc<dyn Source>,
    profile: Arc<OnceLock<SavedProfile>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let listener = tokio::net::TcpListener::from_std(listener.0)?;
    let service = TowerToHyperService::new(router(source, profile));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let open = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accepted => accepted,
        };
        let Ok((stream, _)) = stream else {
            // Either this connection is gone already or the system is short of something: neither ends the server.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = open.watch(connection(stream, service.clone()));
        tokio::spawn(async move {
            // How a client's connection ended concerns the client alone.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, open.shutdown()).await;
    Ok(())
}

/// One request, then the connection ends: nobody keeps a place that others wait for.
fn connection(
    stream: TcpStream,
    service: TowerToHyperService<Router>,
) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
}

struct App {
    source: Arc<dyn Source>,
    profile: Arc<OnceLock<SavedProfile>>,
}

/// What answers requests. GET and HEAD only: everything else gets 405 from the router.
fn router(source: Arc<dyn Source>, profile: Arc<OnceLock<SavedProfile>>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/profile", get(kernel_profile))
        .fallback(async || {
            (StatusCode::NOT_FOUND, "not found: there are /metrics, /healthz, /readyz and /profile\n")
        })
        .with_state(Arc::new(App { source, profile }))
}

async fn scrape(State(app): State<Arc<App>>) -> Result<Response, Infallible> {
    // Reading the kernel's maps takes system calls by the thousand, on a thread of their own.
    let rendered = tokio::task::spawn_blocking(move || metrics::render(&*app.source)).await;
    Ok(match rendered {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be read; see the agent's log\n")
            .into_response(),
    })
}

/// What this node's kernel offers, as `gatewatch profile` writes it. The hash in `NodeTracing` tells whether it changed.
async fn kernel_profile(State(app): State<Arc<App>>) -> Response {
    match app.profile.get() {
        Some(profile) => {
            let kind = [
                (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                (header::ETAG, format!("\"{}\"", profile.hash)),
            ];
            (kind, profile.bytes.clone()).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "the profile is not made, or not yet\n").into_response(),
    }
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.source.ready() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: the policies are being loaded\n").into_response()
    }
}

#[cfg(test)]
mod tests;
