//! A server of reviews on loopback, and a client of it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use gatewatch_serving::{Draining, Transport, bind};
use gatewatch_webhook::{
    access::PathSecrets,
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

/// The secret in the path of reviews.
pub(crate) const SECRET: &str = "2f4a9d60c3b58e17";

/// The path of an endpoint with its secret.
pub(crate) fn at(path: &str) -> String {
    format!("{path}/{SECRET}")
}

/// A server with an empty cluster behind it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) paths: Arc<PathSecrets>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) material: Material,
    pub(crate) draining: Draining,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub(crate) fn settings() -> Settings {
    let day = Duration::from_hours(24);
    Settings { ca_life: 300 * day, leaf_life: 30 * day, settle: day, names: vec!["127.0.0.1".to_owned()] }
}

pub(crate) fn pair(material: &Material) -> Pair {
    let leaf = &material.leaf;
    let now = SystemTime::now();
    Pair::read(leaf.certificate.as_bytes(), leaf.key.as_bytes(), &provider(), now).unwrap()
}

impl Server {
    pub(crate) fn start() -> Self {
        let material = Material::new(&settings(), SystemTime::now()).unwrap();
        let certificates = Arc::new(Certificates::default());
        certificates.replace(pair(&material));
        let cluster = Arc::new(Cluster::default());
        let metrics = Arc::new(Metrics::new(Arc::clone(&cluster), Arc::clone(&certificates)).unwrap());
        let paths = Arc::new(PathSecrets::default());
        paths.replace(vec![SECRET.to_owned()]);
        let gate = Gate::new(Arc::clone(&cluster), "https://docs");
        let app = Arc::new(ReviewState::new(gate, Arc::clone(&metrics), Arc::clone(&paths)));
        let config = server_config(Arc::clone(&certificates), provider()).unwrap();
        let listener = bind("127.0.0.1:0".parse().unwrap(), "").unwrap();
        let address = listener.local_addr().unwrap();
        let draining = Draining::default();
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let transport = Transport::Tls(Arc::new(config));
        let server = gatewatch_serving::Server { limits: LIMITS, transport, draining: draining.clone() };
        let ended = tokio::spawn(server.run(listener, reviews(app), stopped));
        Self { address, certificates, paths, cluster, metrics, material, draining, stop, ended }
    }

    pub(crate) async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_trusting(&self.material.bundle()).await
    }

    pub(crate) async fn connect_trusting(&self, bundle: &str) -> std::io::Result<TlsStream<TcpStream>> {
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
    pub(crate) async fn post(&self, path: &str, body: &[u8]) -> (u16, String) {
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

    pub(crate) async fn review(&self, path: &str, review: &Value) -> Value {
        let (status, body) = self.post(&at(path), &serde_json::to_vec(review).unwrap()).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// What an API server asks is answered, quickly.
    pub(crate) async fn is_well(&self) {
        let start = Instant::now();
        let answer =
            self.review("/validate/policies", &review("TracingPolicy", "cilium.io", &bad_policy())).await;
        assert_eq!(answer["response"]["allowed"], false, "{answer}");
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
}

pub(crate) fn review(kind: &str, group: &str, object: &Value) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {"uid": "u", "kind": {"group": group, "version": "v", "kind": kind}, "operation": "CREATE",
            "name": "p", "namespace": "n", "userInfo": {"username": "me"}, "object": object},
    })
}

pub(crate) fn bad_policy() -> Value {
    json!({"apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "p"},
    "spec": {"kprobes": [
        {"call": "security_file_permission", "syscall": false, "message": "two faults",
            "args": [{"index": 0, "type": "file"}],
            "selectors": [{"matchArgs": [{"index": 1, "operator": "Equal", "values": ["4"]}]}]},
        {"call": "securty_file_permission", "syscall": false, "message": "ok"},
    ]}})
}
