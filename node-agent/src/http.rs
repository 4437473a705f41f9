//! The agent's HTTP endpoints: `/metrics`, `/healthz`, `/readyz`, and `/profile` in a cluster.
//!
//! The port is bound before anything is loaded into the kernel, so that a second agent on a node stops at once. Probes can
//! have a port of their own: no number of other clients can take their connections.

mod renderings;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures::FutureExt as _;
use gatewatch_serving::{Draining, Limits, Server, Transport};

use self::renderings::Renderings;
use crate::{
    metrics::{CONTENT_TYPE, Source},
    profile::SavedProfile,
};

pub use gatewatch_serving::{BindError, Listener};

/// The port is open to the node's network.
const LIMITS: Limits = Limits {
    connections: 256,
    // Scrapers and probes may share the address of a proxy or of the node.
    per_peer: 16,
    // Clients that wait for a rendering by the hundred keep no other away.
    fair: true,
    handshake: Duration::ZERO,
    head: Duration::from_secs(5),
    request: Duration::from_secs(30),
    // Prometheus gives up after 10 s by default.
    connection: Some(Duration::from_secs(30)),
    head_bytes: 16 << 10,
    // One request each: a connection that is kept would only take a slot.
    keep_alive: false,
    grace: Duration::from_secs(5),
};

/// The port of probes: kubelet has one connection at a time for each probe.
const PROBE_LIMITS: Limits = Limits {
    connections: 64,
    per_peer: 16,
    head: Duration::from_secs(2),
    request: Duration::from_secs(2),
    connection: Some(Duration::from_secs(5)),
    head_bytes: 8 << 10,
    ..LIMITS
};

/// Listens on the address of `--metrics-address`. Connections wait until [`serve`] is called.
pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
    gatewatch_serving::bind(address, "--metrics-address")
}

/// Listens on the address of `--probe-address`, likewise.
pub fn bind_probes(address: SocketAddr) -> Result<Listener, BindError> {
    gatewatch_serving::bind(address, "--probe-address")
}

/// The ports of the agent.
#[derive(Debug)]
pub struct Listeners {
    /// For everything.
    pub metrics: Listener,
    /// For probes alone.
    pub probes: Option<Listener>,
}

/// Serves until `shutdown` is done, and then for as long as requests under way need. The profile is served as soon as it
/// is there.
pub async fn serve(
    listeners: Listeners,
    source: Arc<dyn Source>,
    profile: Arc<OnceLock<SavedProfile>>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let server = |limits| Server { limits, transport: Transport::Plain, draining: Draining::default() };
    let shutdown = shutdown.shared();
    let probes = async {
        match listeners.probes {
            Some(listener) => {
                let router = probes(Arc::clone(&source)).fallback(async || {
                    (StatusCode::NOT_FOUND, "not found: there are /healthz and /readyz\n")
                });
                server(PROBE_LIMITS).run(listener, router, shutdown.clone()).await
            }
            None => Ok(()),
        }
    };
    let all = router(Arc::clone(&source), profile);
    let metrics = server(LIMITS).run(listeners.metrics, all, shutdown.clone());
    tokio::try_join!(metrics, probes).map(|_| ())
}

struct App {
    renderings: Renderings,
    profile: Arc<OnceLock<SavedProfile>>,
}

/// GET and HEAD only: the router answers everything else with 405.
fn router(source: Arc<dyn Source>, profile: Arc<OnceLock<SavedProfile>>) -> Router {
    let renderings = Renderings::new(Arc::clone(&source));
    let own = Router::new()
        .route("/metrics", get(scrape))
        .route("/profile", get(kernel_profile))
        .with_state(Arc::new(App { renderings, profile }));
    own.merge(probes(source)).fallback(async || {
        (StatusCode::NOT_FOUND, "not found: there are /metrics, /healthz, /readyz and /profile\n")
    })
}

/// The probes alone.
fn probes(source: Arc<dyn Source>) -> Router {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready)).with_state(source)
}

async fn scrape(State(app): State<Arc<App>>) -> Response {
    match app.renderings.current().await {
        Some(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        None => (StatusCode::INTERNAL_SERVER_ERROR, "cannot read the metrics; see the agent's log\n")
            .into_response(),
    }
}

/// The profile of this node's kernel, as `gatewatch profile` writes it. Its hash is in `NodeTracing`.
async fn kernel_profile(State(app): State<Arc<App>>) -> Response {
    match app.profile.get() {
        Some(profile) => {
            let kind = [
                (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                (header::ETAG, format!("\"{}\"", profile.hash)),
            ];
            (kind, profile.bytes.clone()).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "this node's profile is not available, or not yet\n")
            .into_response(),
    }
}

async fn ready(State(source): State<Arc<dyn Source>>) -> Response {
    match source.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests;
