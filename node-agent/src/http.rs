//! The agent's HTTP endpoints: `/metrics`, `/healthz`, `/readyz`, and `/profile` in a cluster.
//!
//! The port is bound before anything is loaded into the kernel, so that a second agent on a node stops at once.

use std::{
    convert::Infallible,
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
use gatewatch_serving::{Draining, Limits, Server, Transport};

pub use gatewatch_serving::{BindError, Listener};

use crate::{
    metrics::{self, CONTENT_TYPE, Source},
    profile::SavedProfile,
};

/// The port is open to the node's network.
const LIMITS: Limits = Limits {
    connections: 64,
    // Scrapers and probes may share the address of a proxy or of the node.
    per_peer: 32,
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

/// Listens on the address of `--metrics-address`. Connections wait until [`serve`] is called.
pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
    gatewatch_serving::bind(address, "--metrics-address")
}

/// Serves until `shutdown` is done, and then for as long as requests under way need. The profile is served as soon as it
/// is there.
pub async fn serve(
    listener: Listener,
    source: Arc<dyn Source>,
    profile: Arc<OnceLock<SavedProfile>>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let server = Server { limits: LIMITS, transport: Transport::Plain, draining: Draining::default() };
    server.run(listener, router(source, profile), shutdown).await
}

struct App {
    source: Arc<dyn Source>,
    profile: Arc<OnceLock<SavedProfile>>,
}

/// GET and HEAD only: the router answers everything else with 405.
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
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "cannot read the metrics; see the agent's log\n")
            .into_response(),
    })
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

async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.source.ready() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: the policies are being loaded\n").into_response()
    }
}

#[cfg(test)]
mod tests;
