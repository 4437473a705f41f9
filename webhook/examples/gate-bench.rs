//! What a decision costs beside a handler that answers a constant: the same TLS, the same client, one run.
//!
//! `cargo xtask bench webhook` builds and runs it. Columns: what was asked, how many pods and policies there were, the
//! time from request to answer in microseconds, and answers per second over four connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use gatewatch_coverage::{Labels, Shape, Workload};
use gatewatch_webhook::caches::Cache;
use gatewatch_webhook::caches::follow::Change;
use gatewatch_webhook::cluster::{Cluster, Stored};
use gatewatch_webhook::gate::Gate;
use gatewatch_webhook::http::{App, reviews};
use gatewatch_webhook::metrics::Metrics;
use gatewatch_webhook::serve::{Draining, Transport, bind, serve};
use gatewatch_webhook::tls::authority::{Material, Settings};
use gatewatch_webhook::tls::{Certificates, Pair, provider, server_config};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const CONNECTIONS: usize = 4;
const WARM_UP: usize = 200;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let requests = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(2000);
    let tls = Tls::new()?;
    let before = rss();
    let large = cluster(10_000, 1000);
    println!("memory: {before} KiB before, {} KiB with 10000 pods and 1000 policies", rss());
    let small = cluster(100, 10);
    let constant = Router::new().route("/constant", post(async |_: Bytes| CONSTANT));
    let constant = tls.serve(constant).await?;
    let large = tls.serve(reviews(app(large, &tls)?)).await?;
    let small = tls.serve(reviews(app(small, &tls)?)).await?;
    println!(
        "{:32} {:>6} {:>9} {:>8} {:>8} {:>9}",
        "request", "pods", "policies", "p50 us", "p99 us", "per s"
    );
    let pod = serde_json::to_vec(&review("Pod", "", "CREATE", &pod()))?;
    let policy = serde_json::to_vec(&review("TracingPolicy", "cilium.io", "CREATE", &policy(17)))?;
    // Twice, so that what the machine does meanwhile falls on all of them.
    for _ in 0..2 {
        for (what, body) in [("a pod", &pod), ("a policy", &policy)] {
            let path = if what == "a pod" { "/validate/workloads" } else { "/validate/policies" };
            tls.measure(
                &format!("{what}, answered by a constant"),
                "-",
                "-",
                constant,
                "/constant",
                body,
                requests,
            )
            .await?;
            tls.measure(what, "100", "10", small, path, body, requests).await?;
            tls.measure(what, "10000", "1000", large, path, body, requests).await?;
        }
    }
    Ok(())
}

const CONSTANT: &str =
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u","allowed":true}}"#;

/// Resident memory of this process in KiB.
fn rss() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn labels(i: usize) -> Labels {
    [("app", format!("app-{}", i % 500)), ("team", format!("team-{}", i % 40)), ("pod", format!("p{i}"))]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn policy(i: usize) -> Value {
    json!({
        "apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": format!("policy-{i}")},
        "spec": {
            "podSelector": {"matchLabels": {"app": format!("app-{}", i % 500), "team": format!("team-{}", i % 40)}},
            "kprobes": [{"call": "security_file_permission", "syscall": false, "message": "reads",
                "args": [{"index": 0, "type": "file"}, {"index": 1, "type": "int"}],
                "selectors": [{"matchArgs": [
                    {"index": 0, "operator": "Prefix", "values": [format!("/etc/{i}"), "/usr/lib"]},
                    {"index": 1, "operator": "Equal", "values": ["4"]}]}]}],
        },
    })
}

/// A pod as large as pods are, with one label that is nearly a policy's.
fn pod() -> Value {
    let container = |i: usize| {
        json!({"name": format!("c{i}"), "image": "registry.example/team/app:1.2.3", "env": (0..30).map(|n| json!({
            "name": format!("SETTING_{n}"), "value": "x".repeat(40)})).collect::<Vec<_>>(),
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}, "volumeMounts": [{"name": "v", "mountPath": "/v"}]})
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ns-1", "labels": {"app": "app-17", "team": "team-l7"}},
        "spec": {"containers": [container(0), container(1)], "volumes": [{"name": "v", "emptyDir": {}}]},
    })
}

fn review(kind: &str, group: &str, operation: &str, object: &Value) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {"uid": "u", "kind": {"group": group, "version": "v", "kind": kind}, "operation": operation,
            "name": "p", "namespace": "ns-1", "userInfo": {"username": "me"}, "object": object},
    })
}

/// A cluster whose caches are all filled.
fn cluster(pods: usize, policies: usize) -> Arc<Cluster> {
    let cluster = Arc::new(Cluster::default());
    let pods = (0..pods).map(|i| {
        Workload::pod(
            format!("pod-{i}"),
            Shape { namespace: format!("ns-{}", i % 50), labels: labels(i), containers: Some(Vec::new()) },
        )
    });
    cluster.workloads_changed(Change::Reset(pods.collect()), Cache::Pod);
    let policies = (0..policies).filter_map(|i| Stored::read(&policy(i)));
    cluster.policies_changed(Change::Reset(policies.collect()), false);
    cluster.assume_synced();
    cluster
}

fn app(cluster: Arc<Cluster>, tls: &Tls) -> Outcome<Arc<App>> {
    let metrics = Arc::new(Metrics::new(Arc::clone(&cluster), Arc::clone(&tls.certificates))?);
    Ok(Arc::new(App { gate: Gate::new(cluster, "https://docs"), metrics }))
}

struct Tls {
    certificates: Arc<Certificates>,
    client: Arc<ClientConfig>,
}

impl Tls {
    fn new() -> Outcome<Self> {
        let life = Duration::from_hours(24);
        let settings =
            Settings { ca_life: life, leaf_life: life, settle: life, names: vec!["127.0.0.1".to_owned()] };
        let material = Material::new(&settings, SystemTime::now())?;
        let leaf = &material.leaf;
        let certificates = Arc::new(Certificates::default());
        let now = SystemTime::now();
        certificates.show(Pair::read(leaf.certificate.as_bytes(), leaf.key.as_bytes(), &provider(), now)?);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(material.bundle().as_bytes())?)?;
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { certificates, client: Arc::new(client) })
    }

    async fn serve(&self, router: Router) -> Outcome<SocketAddr> {
        let listener = bind("127.0.0.1:0".parse()?).await?;
        let address = listener.local_addr()?;
        let config = server_config(Arc::clone(&self.certificates), provider())?;
        let transport = Transport::Tls(Arc::new(config));
        let never = std::future::pending();
        tokio::spawn(serve(listener, transport, router, Draining::default(), never, Duration::ZERO));
        Ok(address)
    }

    async fn connect(&self, address: SocketAddr) -> Outcome<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        Ok(TlsConnector::from(Arc::clone(&self.client)).connect(name, stream).await?)
    }

    #[expect(clippy::too_many_arguments, reason = "a row of a table")]
    async fn measure(
        &self,
        what: &str,
        pods: &str,
        policies: &str,
        address: SocketAddr,
        path: &str,
        body: &[u8],
        requests: usize,
    ) -> Outcome<()> {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        let request: Arc<[u8]> = [head.as_bytes(), body].concat().into();
        // Latency over one connection.
        let mut stream = self.connect(address).await?;
        for _ in 0..WARM_UP {
            ask(&mut stream, &request).await?;
        }
        let mut times = Vec::with_capacity(requests);
        for _ in 0..requests {
            let began = Instant::now();
            ask(&mut stream, &request).await?;
            times.push(began.elapsed());
        }
        times.sort();
        let at = |part: f64| {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a position in a small list"
            )]
            let i = (times.len() as f64 * part) as usize;
            times.get(i).copied().unwrap_or_default().as_micros()
        };
        // Throughput over several.
        let began = Instant::now();
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (mut stream, request) = (self.connect(address).await?, Arc::clone(&request));
            workers.spawn(async move {
                for _ in 0..requests / CONNECTIONS {
                    ask(&mut stream, &request).await?;
                }
                Outcome::Ok(())
            });
        }
        while let Some(done) = workers.join_next().await {
            done??;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let rate = requests as f64 / began.elapsed().as_secs_f64();
        println!("{what:32} {pods:>6} {policies:>9} {:>8} {:>8} {rate:>9.0}", at(0.5), at(0.99));
        Ok(())
    }
}

/// One request and its whole answer.
async fn ask(stream: &mut TlsStream<TcpStream>, request: &[u8]) -> Outcome<()> {
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Err("the connection ended".into());
        }
        answer.extend_from_slice(&buffer[..n]);
        let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .ok_or("an answer without a length")?;
        if !head.starts_with("http/1.1 200") {
            return Err(head.into());
        }
        if answer.len() >= end + 4 + length {
            return Ok(());
        }
    }
}
