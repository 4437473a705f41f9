//! The endpoints of the two ports: reviews on one, metrics and probes on the other.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest as _, Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use gatewatch_serving::{Draining, Limits};
use tokio::sync::Semaphore;

use crate::{
    access::PathSecrets,
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
    // A review that is cut off is an object that the API server rejects.
    fair: false,
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

/// Maximum bytes of bodies in memory: as many as four of the largest reviews have. Others wait.
const BYTES_IN_FLIGHT: usize = 4 * BODY_BYTES;
/// The unit in which bytes in flight are counted.
const UNIT: usize = 1 << 10;
/// Maximum decisions at once. They are computed by threads of their own, so the threads that read and write connections
/// always answer.
const MAX_DECISIONS: usize = 8;

/// The state of the endpoints for reviews.
pub struct ReviewState {
    gate: Gate,
    metrics: Arc<Metrics>,
    paths: Arc<PathSecrets>,
    /// Free units of memory for bodies.
    memory: Arc<Semaphore>,
    /// Free threads for decisions.
    threads: Arc<Semaphore>,
}

impl ReviewState {
    /// The state of a server that answers requests with one of these secrets in their path.
    pub fn new(gate: Gate, metrics: Arc<Metrics>, paths: Arc<PathSecrets>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            gate,
            metrics,
            paths,
            memory: Arc::new(Semaphore::new(BYTES_IN_FLIGHT / UNIT)),
            threads: Arc::new(Semaphore::new(processors.clamp(2, MAX_DECISIONS))),
        }
    }
}

/// The router of the port that the API server calls.
pub fn reviews(app: Arc<ReviewState>) -> Router {
    let router = Endpoint::ALL.into_iter().fold(Router::new(), |router, endpoint| {
        let receive =
            move |State(app): State<Arc<ReviewState>>, Path(secret): Path<String>, request: Request| {
                receive(app, endpoint, secret, request)
            };
        router.route(&format!("{}/{{secret}}", endpoint.path()), post(receive))
    });
    router
        .fallback(async |State(app): State<Arc<ReviewState>>| not_found(&app))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(app)
}

fn not_found(app: &ReviewState) -> Response {
    app.metrics.bad_request("secret");
    let text = "not found: expected /validate/policies/SECRET or /validate/workloads/SECRET, with the secret of the \
                registration\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

/// Reads a request if it has the secret, and answers it.
async fn receive(app: Arc<ReviewState>, endpoint: Endpoint, secret: String, request: Request) -> Response {
    // The body is read only after this check.
    if !app.paths.accepts(&secret) {
        return not_found(&app);
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(BODY_BYTES);
    if length > BODY_BYTES {
        app.metrics.bad_request("body");
        return (StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {BODY_BYTES} bytes\n"))
            .into_response();
    }
    // A request that waits too long for memory or a thread ends with the time limit of the server. A semaphore is never
    // closed.
    let units = u32::try_from(length.div_ceil(UNIT)).unwrap_or(u32::MAX);
    let Ok(memory) = Arc::clone(&app.memory).acquire_many_owned(units).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let body = match Bytes::from_request(request, &()).await {
        Ok(body) => body,
        Err(rejection) => {
            app.metrics.bad_request("body");
            return (rejection.status(), format!("cannot read the body: {}\n", rejection.body_text()))
                .into_response();
        }
    };
    let Ok(thread) = Arc::clone(&app.threads).acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let answered = tokio::task::spawn_blocking(move || {
        // They are free again when the answer is known, even if the client has closed the connection before.
        let _held = (memory, thread);
        answer(&app, endpoint, &body)
    });
    answered.await.unwrap_or_else(|_| {
        (StatusCode::INTERNAL_SERVER_ERROR, "cannot decide; see the log\n").into_response()
    })
}

fn answer(app: &ReviewState, endpoint: Endpoint, body: &[u8]) -> Response {
    let start = Instant::now();
    let request = match review::parse(body) {
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
    /// The replica is ready when it knows a secret for the path of reviews.
    pub paths: Arc<PathSecrets>,
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
    if !state.paths.is_loaded() {
        return not("no secret for the path of reviews is loaded yet".to_owned());
    }
    let unsynced: Vec<&str> = state.cluster.unsynced().into_iter().map(Cache::name).collect();
    if !unsynced.is_empty() {
        return not(format!("these caches are still filling: {}", unsynced.join(", ")));
    }
    "ready\n".into_response()
}
