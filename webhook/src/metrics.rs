//! What Prometheus scrapes.

use std::{
    cell::RefCell,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::{
    caches::Cache, cluster::Cluster, kernels::Source, review::Operation, tls::Certificates, verdict::Verdict,
};

/// Media type of the result of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Seconds, from a tenth of a millisecond to the timeout of the API server.
const BUCKETS: [f64; 11] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 3.0];

/// All metrics. Events are counted here as they happen. Other values are read at each scrape.
pub struct Metrics {
    registry: Registry,
    reference: Vec<String>,
    cluster: Arc<Cluster>,
    certificates: Arc<Certificates>,
    requests: IntCounterVec,
    unreadable: IntCounterVec,
    duration: Histogram,
    diagnostics: IntCounterVec,
    cache_synced: IntGaugeVec,
    cache_objects: IntGaugeVec,
    cache_age: IntGaugeVec,
    cache_unreadable: IntGaugeVec,
    cache_errors: IntGaugeVec,
    cache_lists: IntGaugeVec,
    certificate_ends: Gauge,
    certificates_taken: IntGauge,
    certificates_refused: IntGauge,
    policies_without_pods: IntGauge,
    pods_without_required_coverage: IntGauge,
    kernels: IntGaugeVec,
    kernels_unknown: IntGauge,
    modes_refused: IntGauge,
    leader: IntGauge,
    status_write_failures: IntGauge,
    unchecked: IntCounterVec,
    nodes_without_agent: IntGauge,
    admitted: IntGauge,
}

impl Metrics {
    /// The metrics of this cluster and these certificates.
    #[expect(clippy::too_many_lines, reason = "a list of names and helps")]
    pub fn new(cluster: Arc<Cluster>, certificates: Arc<Certificates>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let reference = RefCell::new(Vec::new());
        let note = |name: &str, kind: &str, labels: &[&str], help: &str| {
            reference.borrow_mut().push(format!("| `{name}` | {kind} | {} | {help} |", labels.join(", ")));
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            note(name, "counter", labels, help);
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            note(name, "gauge", labels, help);
            let vec = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let gauge = |name: &str, help: &str| {
            note(name, "gauge", &[], help);
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let (name, help) =
            ("gatewatch_admission_duration_seconds", "Time from receiving a whole request to answering it.");
        note(name, "histogram", &[], help);
        let duration = Histogram::with_opts(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()))?;
        registry.register(Box::new(duration.clone()))?;
        let (name, help) = (
            "gatewatch_certificate_not_after_timestamp_seconds",
            "Expiry time of the certificate in use; 0 while there is none.",
        );
        note(name, "gauge", &[], help);
        let certificate_ends = Gauge::new(name, help)?;
        registry.register(Box::new(certificate_ends.clone()))?;
        let build = gauges("gatewatch_build_info", "Version of the webhook; the value is 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Self {
            requests: counters(
                "gatewatch_admission_requests_total",
                "Answered requests, by endpoint and result.",
                &["kind", "operation", "verdict"],
            )?,
            unreadable: counters(
                "gatewatch_admission_bad_requests_total",
                "Requests that were not a valid AdmissionReview.",
                &["reason"],
            )?,
            duration,
            diagnostics: counters(
                "gatewatch_admission_diagnostics_total",
                "Diagnostics found in requests, by code and the mode that was applied.",
                &["code", "mode"],
            )?,
            cache_synced: gauges(
                "gatewatch_cache_synced",
                "Whether a cache has been filled since the start.",
                &["cache"],
            )?,
            cache_objects: gauges("gatewatch_cache_objects", "Objects in a cache.", &["cache"])?,
            cache_age: gauges(
                "gatewatch_cache_age_seconds",
                "Seconds since the last event of the cache's kind.",
                &["cache"],
            )?,
            cache_unreadable: gauges(
                "gatewatch_cache_unreadable_objects",
                "Objects skipped because they could not be read, since the start.",
                &["cache"],
            )?,
            cache_errors: gauges(
                "gatewatch_cache_watch_errors",
                "Interruptions of a cache's watch, since the start.",
                &["cache"],
            )?,
            cache_lists: gauges(
                "gatewatch_cache_lists",
                "Full lists of a cache's objects, since the start: one, and another one whenever the API server no \
                 longer has the changes since the last.",
                &["cache"],
            )?,
            certificate_ends,
            certificates_taken: gauge(
                "gatewatch_certificate_reloads",
                "Certificates loaded, since the start.",
            )?,
            certificates_refused: gauge(
                "gatewatch_certificate_reload_errors",
                "Certificates rejected, since the start; the previous one stays in use.",
            )?,
            policies_without_pods: gauge(
                "gatewatch_policies_without_pods",
                "Policies for pods that currently select none.",
            )?,
            pods_without_required_coverage: gauge(
                "gatewatch_pods_without_required_coverage",
                "Pods that no policy selects, in namespaces that require coverage.",
            )?,
            kernels: gauges(
                "gatewatch_preflight_nodes",
                "Nodes that policies are checked for, by kernel and source of its profile.",
                &["kernel", "source"],
            )?,
            kernels_unknown: gauge(
                "gatewatch_preflight_nodes_unknown",
                "Nodes whose kernel is unknown; policies are not checked for them.",
            )?,
            modes_refused: gauge(
                "gatewatch_modes_refused",
                "1 while the ConfigMap of modes is invalid and the previous modes stay in force.",
            )?,
            leader: gauge("gatewatch_leader", "Whether this replica writes PolicyCoverage and Events.")?,
            status_write_failures: gauge(
                "gatewatch_status_write_errors",
                "PolicyCoverage objects that could not be written, since the start; each is tried again.",
            )?,
            unchecked: counters(
                "gatewatch_admission_unchecked_total",
                "Checks that were left out because the work of a request was spent, by check.",
                &["check"],
            )?,
            nodes_without_agent: gauge(
                "gatewatch_nodes_without_agent",
                "Nodes that should have an agent and have no ready one.",
            )?,
            admitted: gauge(
                "gatewatch_admitted_changes_pending",
                "Objects with admitted changes that no watch has received yet.",
            )?,
            reference: reference.take(),
            registry,
            cluster,
            certificates,
        })
    }

    /// Counts an answer.
    pub fn answered(&self, kind: &str, operation: Operation, verdict: &Verdict, took: Duration) {
        // A review can contain any kind, but the label values must be bounded.
        let kind = Cache::ALL.into_iter().find(|cache| cache.name() == kind).map_or("other", Cache::name);
        let answer = &verdict.answer;
        let word = match (answer.allowed, answer.warnings.is_empty()) {
            (false, _) => "denied",
            (true, false) => "warned",
            (true, true) => "allowed",
        };
        self.requests.with_label_values(&[kind, operation.name(), word]).inc();
        for (code, mode) in &verdict.codes {
            self.diagnostics.with_label_values(&[code, mode.name()]).inc();
        }
        for check in &verdict.unchecked {
            self.unchecked.with_label_values(&[check]).inc();
        }
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts a request that could not be answered. `reason` is one of a small fixed set.
    pub fn bad_request(&self, reason: &'static str) {
        self.unreadable.with_label_values(&[reason]).inc();
    }

    /// The rows of the table of metrics in docs/metrics.md: name, type, labels, help.
    pub fn reference(&self) -> &[String] {
        &self.reference
    }

    /// Renders all metrics as text.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        self.update();
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    fn update(&self) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        for cache in Cache::ALL {
            let status = self.cluster.health(cache).status();
            let name = &[cache.name()];
            self.cache_synced.with_label_values(name).set(i64::from(status.synced));
            self.cache_objects.with_label_values(name).set(number(status.objects));
            self.cache_age.with_label_values(name).set(number(status.age));
            self.cache_unreadable.with_label_values(name).set(number(status.unreadable));
            self.cache_errors.with_label_values(name).set(number(status.errors));
            self.cache_lists.with_label_values(name).set(number(status.lists));
        }
        let ends = self.certificates.not_after();
        let ends = ends.and_then(|ends| ends.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.certificate_ends.set(ends.map_or(0.0, |since| since.as_secs_f64()));
        let (taken, refused) = self.certificates.counts();
        self.certificates_taken.set(number(taken));
        self.certificates_refused.set(number(refused));
        let (empty, uncovered, admitted) = self.cluster.with_index(|index| {
            let empty = |watch: &&gatewatch_coverage::IndexedPolicy| {
                watch.scope.pods.is_some() && index.selection(watch).total().pods == 0
            };
            let uncovered = index.uncovered().total().pods;
            (index.policies().filter(empty).count(), uncovered, index.admitted_count())
        });
        self.admitted.set(count(admitted));
        self.nodes_without_agent.set(count(self.cluster.nodes_without_agent()));
        self.policies_without_pods.set(count(empty));
        self.pods_without_required_coverage.set(count(uncovered));
        let kernels = self.cluster.kernels();
        self.kernels.reset();
        for kernel in kernels.list() {
            let source = match kernel.source {
                Source::Agent => "agent",
                Source::Shipped => "shipped",
                Source::Assumed => "assumed",
            };
            self.kernels.with_label_values(&[kernel.release.as_str(), source]).add(count(kernel.nodes()));
        }
        self.kernels_unknown.set(count(kernels.unknown()));
        self.modes_refused.set(i64::from(self.cluster.modes_refused.load(Ordering::Relaxed)));
        let failures = self.cluster.status_write_failures.load(Ordering::Relaxed);
        self.status_write_failures.set(number(failures));
        self.leader.set(i64::from(self.cluster.leadership.holds()));
    }
}
