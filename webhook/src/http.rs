//! The endpoints of the two ports: reviews on one, metrics and probes on the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use gatewatch_serving::{Draining, Limits};

use crate::{
    caches::Cache,
    cluster::Cluster,
    gate::{Endpoint, Gate},
    metrics::{CONTENT_TYPE, Metrics},
    review::{self, ReviewError},
    tls::Certificates,
};

/// The limits of both ports.
pub const LIMITS: Limits = Limits {
    connections: 512,
    // API servers may reach the webhook through one proxy (konnectivity).
    per_peer: 384,
    handshake: Duration::from_secs(5),
    // Go's HTTP client, and so the API server, closes a connection that was idle for 90 s. If the webhook closed it
    // earlier, a request could meet the end of its connection.
    head: Duration::from_mins(2),
    // The API server waits for 3 s.
    request: Duration::from_secs(10),
    connection: None,
    head_bytes: 32 << 10,
    keep_alive: true,
    // Time for open requests at shutdown.
    grace: Duration::from_secs(5),
};

/// Maximum bytes of a review. The API server accepts objects of up to 3 MiB; the review of an update has two.
const BODY_BYTES: usize = 7 << 20;

/// The state of the endpoints for reviews.
pub struct ReviewState {
    /// Decides about requests.
    pub gate: Gate,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// The router of the port that the API server calls.
pub fn reviews(app: Arc<ReviewState>) -> Router {
    Router::new()
        .route("/validate/policies", post(async |state, body| answer(state, Endpoint::Policies, body)))
        .route("/validate/workloads", post(async |state, body| answer(state, Endpoint::Workloads, body)))
        .fallback(async || {
            (StatusCode::NOT_FOUND, "not found: there are /validate/policies and /validate/workloads\n")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(app)
}

fn answer(
    State(app): State<Arc<ReviewState>>,
    endpoint: Endpoint,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let start = Instant::now();
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            app.metrics.bad_request("body");
            return (rejection.status(), format!("cannot read the body: {}\n", rejection.body_text()))
                .into_response();
        }
    };
    let request = match review::parse(&body) {
        Ok(request) => request,
        Err(error) => {
            app.metrics.bad_request(match error {
                ReviewError::NotJson(_) => "json",
                ReviewError::Other { .. } => "version",
                ReviewError::Malformed(_) | ReviewError::NoRequest => "form",
            });
            return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
        }
    };
    let verdict = app.gate.decide(endpoint, &request);
    app.metrics.answered(&request.kind.kind, request.operation, &verdict, start.elapsed());
    let answer = &verdict.answer;
    if !answer.allowed || !answer.warnings.is_empty() {
        tracing::info!(
            uid = request.uid,
            kind = request.kind.kind,
            namespace = request.namespace.as_deref().unwrap_or_default(),
            name = request.name,
            operation = request.operation.name(),
            user = request.user_info.username,
            dry_run = request.dry_run,
            allowed = answer.allowed,
            codes = ?verdict.codes.iter().map(|(code, _)| *code).collect::<Vec<_>>(),
            "answered"
        );
    } else {
        tracing::debug!(uid = request.uid, kind = request.kind.kind, name = request.name, "admitted");
    }
    match verdict.answer.into_review() {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => {
            tracing::error!(uid = request.uid, "cannot write the answer: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "cannot write the answer; see the log\n").into_response()
        }
    }
}

/// The state of the endpoints for metrics and probes.
pub struct ProbeState {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The replica is ready when its caches are filled.
    pub cluster: Arc<Cluster>,
    /// The replica is ready when a certificate is loaded.
    pub certificates: Arc<Certificates>,
    /// Whether this replica is shutting down.
    pub draining: Draining,
}

/// The router of the port for metrics and probes.
pub fn probes(state: Arc<ProbeState>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .fallback(async || (StatusCode::NOT_FOUND, "not found: there are /metrics, /healthz and /readyz\n"))
        .with_state(state)
}

async fn metrics(State(state): State<Arc<ProbeState>>) -> Response {
    match tokio::task::spawn_blocking(move || state.metrics.render()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "cannot read the metrics; see the log\n").into_response()
        }
    }
}

async fn ready(State(state): State<Arc<ProbeState>>) -> Response {
    let not = |why: String| (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response();
    if state.draining.begun() {
        return not("shutting down".to_owned());
    }
    if state.certificates.not_after().is_none() {
        return not("no certificate is loaded yet".to_owned());
    }
    let unsynced: Vec<&str> = state.cluster.unsynced().into_iter().map(Cache::name).collect();
    if !unsynced.is_empty() {
        return not(format!("these caches are still filling: {}", unsynced.join(", ")));
    }
    "ready\n".into_response()
}
