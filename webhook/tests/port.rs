//! The port that the API server calls, met with what no API server sends: a clear answer or a closed connection, and
//! the next request is served.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use gatewatch_serving::{Draining, Transport, bind};
use gatewatch_webhook::{
    cluster::Cluster,
    gate::Gate,
    http::{LIMITS, ReviewState, reviews},
    metrics::Metrics,
    tls::{
        Certificates, Pair,
        authority::{Material, Settings},
        provider, server_config,
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A server with an empty cluster behind it.
struct Server {
    address: SocketAddr,
    certificates: Arc<Certificates>,
    material: Material,
    draining: Draining,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

fn settings() -> Settings {
    let day = Duration::from_hours(24);
    Settings { ca_life: 300 * day, leaf_life: 30 * day, settle: day, names: vec!["127.0.0.1".to_owned()] }
}

fn pair(material: &Material) -> Pair {
    let leaf = &material.leaf;
    let now = SystemTime::now();
    Pair::read(leaf.certificate.as_bytes(), leaf.key.as_bytes(), &provider(), now).unwrap()
}

impl Server {
    fn start() -> Self {
        let material = Material::new(&settings(), SystemTime::now()).unwrap();
        let certificates = Arc::new(Certificates::default());
        certificates.replace(pair(&material));
        let cluster = Arc::new(Cluster::default());
        let metrics = Arc::new(Metrics::new(Arc::clone(&cluster), Arc::clone(&certificates)).unwrap());
        let app = Arc::new(ReviewState { gate: Gate::new(cluster, "https://docs"), metrics });
        let config = server_config(Arc::clone(&certificates), provider()).unwrap();
        let listener = bind("127.0.0.1:0".parse().unwrap(), "").unwrap();
        let address = listener.local_addr().unwrap();
        let draining = Draining::default();
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let transport = Transport::Tls(Arc::new(config));
        let server = gatewatch_serving::Server { limits: LIMITS, transport, draining: draining.clone() };
        let ended = tokio::spawn(server.run(listener, reviews(app), stopped));
        Self { address, certificates, material, draining, stop, ended }
    }

    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_trusting(&self.material.bundle()).await
    }

    async fn connect_trusting(&self, bundle: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::IpAddress(self.address.ip().into());
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// One request on a connection of its own: status and body.
    async fn post(&self, path: &str, body: &[u8]) -> (u16, String) {
        let mut stream = self.connect().await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that has heard enough answers before it has read everything.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, body.to_owned())
    }

    async fn review(&self, path: &str, review: &Value) -> Value {
        let (status, body) = self.post(path, &serde_json::to_vec(review).unwrap()).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// What an API server asks is answered, quickly.
    async fn is_well(&self) {
        let start = Instant::now();
        let answer =
            self.review("/validate/policies", &review("TracingPolicy", "cilium.io", &bad_policy())).await;
        assert_eq!(answer["response"]["allowed"], false, "{answer}");
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
}

fn review(kind: &str, group: &str, object: &Value) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {"uid": "u", "kind": {"group": group, "version": "v", "kind": kind}, "operation": "CREATE",
            "name": "p", "namespace": "n", "userInfo": {"username": "me"}, "object": object},
    })
}

fn bad_policy() -> Value {
    json!({"apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "p"},
    "spec": {"kprobes": [
        {"call": "security_file_permission", "syscall": false, "message": "two faults",
            "args": [{"index": 0, "type": "file"}],
            "selectors": [{"matchArgs": [{"index": 1, "operator": "Equal", "values": ["4"]}]}]},
        {"call": "securty_file_permission", "syscall": false, "message": "ok"},
    ]}})
}

#[tokio::test]
async fn all_errors_come_at_once_before_any_cache_is_filled() {
    let server = Server::start();
    let answer =
        server.review("/validate/policies", &review("TracingPolicy", "cilium.io", &bad_policy())).await;
    let response = &answer["response"];
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("u"), &json!(false)));
    let status = &response["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
    let causes = status["details"]["causes"].as_array().unwrap();
    let fields: Vec<_> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["spec.kprobes[0].selectors[0].matchArgs[0].index", "spec.kprobes[1].call"]);
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("2 errors\n  GW303 spec.kprobes[0]"), "{message}");
    assert!(message.contains("did you mean `security_file_permission`"), "{message}");
    assert!(response["warnings"][0].as_str().unwrap().contains("coverage was not checked"), "{response}");
}

#[tokio::test]
async fn what_is_no_review_has_a_clear_answer() {
    let server = Server::start();
    let mut old = review("Pod", "", &json!({}));
    old["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let old = serde_json::to_vec(&old).unwrap();
    let cases: [(&str, &[u8], u16, &str); 5] = [
        ("/validate/policies", b"<html>", 400, "not JSON"),
        ("/validate/policies", b"", 400, "not JSON"),
        ("/validate/workloads", &old, 400, "v1beta1"),
        ("/validate/workloads", b"{}", 400, "without apiVersion"),
        ("/other", b"{}", 404, "/validate/policies"),
    ];
    for (path, body, status, text) in cases {
        let answer = server.post(path, body).await;
        assert_eq!(answer.0, status, "{path}: {answer:?}");
        assert!(answer.1.contains(text), "{path}: {answer:?}");
    }
    server.is_well().await;
}

#[tokio::test]
async fn other_kinds_are_admitted_with_a_word() {
    let server = Server::start();
    for (path, kind) in [("/validate/policies", "Service"), ("/validate/workloads", "Service")] {
        let answer = server.review(path, &review(kind, "", &json!({"spec": "text"}))).await;
        assert_eq!(answer["response"]["allowed"], true);
        assert!(answer["response"]["warnings"][0].as_str().unwrap().contains("Service"), "{answer}");
    }
    let odd = server.review("/validate/workloads", &review("Pod", "", &json!({"metadata": "text"}))).await;
    assert_eq!(odd["response"]["allowed"], true);
    assert!(odd["response"]["warnings"][0].as_str().unwrap().contains("cannot read"), "{odd}");
}

#[tokio::test]
async fn large_objects() {
    let server = Server::start();
    let labels: serde_json::Map<String, Value> = (0..10_000).map(|i| (format!("k{i}"), json!("v"))).collect();
    let answer = server
        .review("/validate/workloads", &review("Pod", "", &json!({"metadata": {"labels": labels}})))
        .await;
    assert_eq!(answer["response"]["allowed"], true);
    // An object of 3 MiB is accepted, and a larger one than any API server sends is not.
    let mut large = bad_policy();
    large["metadata"]["annotations"] = json!({"a": "x".repeat(3 << 20)});
    let answer = server.review("/validate/policies", &review("TracingPolicy", "cilium.io", &large)).await;
    assert_eq!(answer["response"]["allowed"], false);
    let (status, _) = server.post("/validate/policies", &vec![b' '; 9 << 20]).await;
    // Either the answer arrives or the connection is closed while the client still writes.
    assert!(status == 413 || status == 0, "{status}");
    server.is_well().await;
}

#[tokio::test]
async fn plain_http_is_told_that_it_is_tls() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("speaks TLS"), "{answer}");
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_idle_clients_keep_nobody_out() {
    let server = Server::start();
    let mut held = Vec::new();
    // Slow clients: an incomplete head, and a missing body.
    for text in
        ["POST /validate/policies HTTP/1.1\r\nHo", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"]
    {
        let mut stream = server.connect().await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        held.push(stream);
    }
    // Idle: more than there are places, each as open as its client can have it.
    let mut idle = Vec::new();
    for _ in 0..700 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    server.is_well().await;
    server.is_well().await;
    drop((held, idle));
    server.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_certificates_change() {
    let server = Arc::new(Server::start());
    let (certificates, first) = (Arc::clone(&server.certificates), server.material.clone());
    let rotating = tokio::spawn(async move {
        let mut material = first;
        for _ in 0..20 {
            let renamed = Settings {
                names: vec!["127.0.0.1".to_owned(), format!("n{}", material.names.len())],
                ..settings()
            };
            material.names.push("other".to_owned());
            material = material.advance(&renamed, SystemTime::now()).unwrap().unwrap();
            certificates.replace(pair(&material));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut requests = 0;
    while !rotating.is_finished() || requests < 20 {
        server.is_well().await;
        requests += 1;
    }
    rotating.await.unwrap();
    assert_eq!(server.certificates.counts(), (21, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ending_server_answers_what_has_begun() {
    let server = Server::start();
    let body = serde_json::to_vec(&review("TracingPolicy", "cilium.io", &bad_policy())).unwrap();
    let mut begun = server.connect().await.unwrap();
    let head =
        format!("POST /validate/policies HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    begun.write_all(head.as_bytes()).await.unwrap();
    begun.write_all(&body[..10]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.draining.begin();
    server.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    begun.write_all(&body[10..]).await.unwrap();
    let mut answer = String::new();
    let _ = begun.read_to_string(&mut answer).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    server.ended.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}
