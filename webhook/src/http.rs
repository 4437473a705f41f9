//! What is answered on the two ports: reviews on the one, metrics and probes on the other.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use crate::caches::Cache;
use crate::cluster::Cluster;
use crate::gate::{Door, Gate};
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::review::{self, BadReview};
use crate::serve::Draining;
use crate::tls::Certificates;

/// Bytes of a review. The API server takes objects of 3 MiB at the most; a review of an update holds two.
const BODY_BYTES: usize = 7 << 20;

/// What requests are answered with.
pub struct App {
    /// The judge.
    pub gate: Gate,
    /// The counts.
    pub metrics: Arc<Metrics>,
}

/// The router of the port that the API server calls.
pub fn reviews(app: Arc<App>) -> Router {
    Router::new()
        .route("/validate/policies", post(async |state, body| answer(state, Door::Policies, body)))
        .route("/validate/workloads", post(async |state, body| answer(state, Door::Workloads, body)))
        .fallback(async || {
            (StatusCode::NOT_FOUND, "not found: there are /validate/policies and /validate/workloads\n")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(app)
}

fn answer(State(app): State<Arc<App>>, door: Door, body: Result<Bytes, BytesRejection>) -> Response {
    let began = Instant::now();
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            app.metrics.bad_request("body");
            return (rejection.status(), format!("the body can't be taken: {}\n", rejection.body_text()))
                .into_response();
        }
    };
    let request = match review::parse(&body) {
        Ok(request) => request,
        Err(error) => {
            app.metrics.bad_request(match error {
                BadReview::NotJson(_) => "json",
                BadReview::Other { .. } => "version",
                BadReview::Malformed(_) | BadReview::NoRequest => "form",
            });
            return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response();
        }
    };
    let verdict = app.gate.decide(door, &request);
    app.metrics.answered(&request.kind.kind, request.operation, &verdict, began.elapsed());
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
            codes = ?verdict.said.iter().map(|(code, _)| *code).collect::<Vec<_>>(),
            "answered"
        );
    } else {
        tracing::debug!(uid = request.uid, kind = request.kind.kind, name = request.name, "admitted");
    }
    match verdict.answer.into_review() {
        Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => {
            tracing::error!(uid = request.uid, "the answer can't be written: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "the answer can't be written; see the log\n").into_response()
        }
    }
}

/// What probes ask about.
pub struct Probed {
    /// The counts.
    pub metrics: Arc<Metrics>,
    /// Whose caches have to be filled.
    pub cluster: Arc<Cluster>,
    /// One of them has to be there.
    pub certificates: Arc<Certificates>,
    /// Whether this replica is about to end.
    pub draining: Draining,
}

/// The router of the port for metrics and probes.
pub fn probes(probed: Arc<Probed>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .fallback(async || (StatusCode::NOT_FOUND, "not found: there are /metrics, /healthz and /readyz\n"))
        .with_state(probed)
}

async fn metrics(State(probed): State<Arc<Probed>>) -> Response {
    match tokio::task::spawn_blocking(move || probed.metrics.render()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be read; see the log\n").into_response()
        }
    }
}

async fn ready(State(probed): State<Arc<Probed>>) -> Response {
    let not = |why: String| (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response();
    if probed.draining.begun() {
        return not("shutting down".to_owned());
    }
    if probed.certificates.not_after().is_none() {
        return not("there is no certificate yet".to_owned());
    }
    let unsynced: Vec<&str> = probed.cluster.unsynced().into_iter().map(Cache::name).collect();
    if !unsynced.is_empty() {
        return not(format!("these caches are still filling: {}", unsynced.join(", ")));
    }
    "ready\n".into_response()
}
