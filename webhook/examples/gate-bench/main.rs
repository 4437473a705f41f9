//! What a decision costs beside a handler that answers a constant: the same TLS, the same client, one run.
//!
//! `cargo xtask bench webhook` builds and runs it, and fails where it is over budget. Columns: what was asked about, who
//! answered, the time from request to answer over one connection in microseconds (medians of all rounds), its p99 over
//! the constant's of the same round, and answers per second over four connections. The argument is the number of rounds.
//! With `--json`, each row is an object on a line of its own instead, and everything else is written to standard error.

mod fixtures;

use std::{
    fmt,
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use axum::{Router, body::Bytes, routing::post};
use gatewatch_serving::{Draining, Transport, bind};
use gatewatch_webhook::{
    access::PathSecrets,
    cluster::Cluster,
    gate::{Endpoint, Gate},
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
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use self::fixtures::{cluster, pod, policy, review};

const CONNECTIONS: usize = 4;
/// Times that every server is asked over all connections.
const RUSHES: usize = 5;
/// Requests before anything is measured, of each server.
const WARM_UP: usize = 200;
/// Requests of each server in a round.
const PER_ROUND: usize = 400;
/// Policies that are asked about in turns, as no two of a cluster are the same.
const POLICIES_ASKED: usize = 100;

/// The budget: p99 of decisions over p99 of the constant, at 10,000 pods and 1,000 policies.
const RATIO: f64 = 2.0;
/// The budget for resident memory at its highest, in KiB. This process holds the client and a second cluster as well.
const MEMORY: usize = 150 << 10;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<ExitCode> {
    let (mut rounds, mut json) = (31, false);
    for argument in std::env::args().skip(1) {
        match argument.parse() {
            _ if argument == "--json" => json = true,
            Ok(n) if n > 0 => rounds = n,
            _ => return Err(format!("{argument:?}: there are a number of rounds and --json").into()),
        }
    }
    // What goes with the table.
    let say = |line: String| if json { eprintln!("{line}") } else { println!("{line}") };
    let tls = Tls::new()?;
    let before = memory("VmRSS:");
    let large = cluster(10_000, 1000);
    say(format!("memory: {before} KiB before, {} KiB with 10000 pods and 1000 policies", memory("VmRSS:")));
    let constant = Router::new().route("/constant", post(async |_: Bytes| CONSTANT));
    let servers = [
        Server { name: "a constant", cluster: "", address: tls.serve(constant)? },
        Server {
            name: "the gate",
            cluster: "100 pods, 10 policies",
            address: tls.serve(reviews(app(cluster(100, 10), &tls)?))?,
        },
        Server {
            name: "the gate",
            cluster: "10000 pods, 1000 policies",
            address: tls.serve(reviews(app(large, &tls)?))?,
        },
    ];
    let pods = vec![serde_json::to_vec(&review("Pod", "", "CREATE", &pod()))?];
    let policies = (0..POLICIES_ASKED)
        .map(|i| serde_json::to_vec(&review("TracingPolicy", "cilium.io", "CREATE", &policy(2000 + i * 7))))
        .collect::<Result<Vec<_>, _>>()?;
    say(format!(
        "{:9} {:12} {:26} {:>8} {:>8} {:>9} {:>9}",
        "about", "answered by", "that knows", "p50 us", "p99 us", "× p99", "per s"
    ));
    let mut over = Vec::new();
    for (what, endpoint, bodies) in
        [("a pod", Endpoint::Workloads, &pods), ("a policy", Endpoint::Policies, &policies)]
    {
        let path = &format!("{}/bench", endpoint.path());
        let rows = tls.compare(what, path, bodies, &servers, rounds).await?;
        for row in &rows {
            println!("{}", if json { row.json().to_string() } else { row.to_string() });
        }
        let ratio = rows.last().map_or(f64::INFINITY, |row| row.ratio);
        if ratio > RATIO {
            over.push(format!(
                "{what}: p99 is {ratio:.2} times that of a constant, and may be {RATIO} times"
            ));
        }
    }
    let most = memory("VmHWM:");
    if json {
        println!("{}", json!({"bench": "webhook", "memory_kib": most, "budget": MEMORY}));
    } else {
        println!("memory: {most} KiB at its highest");
    }
    if most > MEMORY {
        over.push(format!("{most} KiB of memory, and {MEMORY} KiB are allowed"));
    }
    for line in &over {
        say(format!("over budget: {line}"));
    }
    if over.is_empty() {
        say(format!("within budget: p99 at most {RATIO} times a constant's, {MEMORY} KiB"));
    }
    Ok(if over.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One of those that are compared.
struct Server {
    name: &'static str,
    cluster: &'static str,
    address: SocketAddr,
}

/// What was measured of one of them.
struct Row {
    asked: &'static str,
    by: &'static str,
    knows: &'static str,
    p50: f64,
    p99: f64,
    ratio: f64,
    per_second: f64,
}

impl Row {
    fn json(&self) -> Value {
        let gate = !self.knows.is_empty();
        let by = if gate { format!("{}, {}", self.by, self.knows) } else { self.by.to_owned() };
        json!({
            "bench": "webhook", "asked": self.asked, "answered_by": by, "p50_us": tenths(self.p50),
            "p99_us": tenths(self.p99), "ratio": (self.ratio * 100.0).round() / 100.0,
            "per_second": self.per_second.round(), "budget": gate.then_some(RATIO),
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, by, knows, p50, p99, ratio, per_second } = self;
        write!(f, "{asked:9} {by:12} {knows:26} {p50:>8.0} {p99:>8.0} {ratio:>9.2} {per_second:>9.0}")
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

const CONSTANT: &str =
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u","allowed":true}}"#;

/// Resident memory of this process in KiB: `VmRSS:` now, `VmHWM:` at its highest (proc(5), /proc/PID/status).
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn app(cluster: Arc<Cluster>, tls: &Tls) -> Outcome<Arc<ReviewState>> {
    let metrics = Arc::new(Metrics::new(Arc::clone(&cluster), Arc::clone(&tls.certificates))?);
    let paths = Arc::new(PathSecrets::default());
    paths.replace(vec!["bench".to_owned()]);
    Ok(Arc::new(ReviewState::new(Gate::new(cluster, "https://docs"), metrics, paths)))
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
        certificates.replace(Pair::read(leaf.certificate.as_bytes(), leaf.key.as_bytes(), &provider(), now)?);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(material.bundle().as_bytes())?)?;
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { certificates, client: Arc::new(client) })
    }

    fn serve(&self, router: Router) -> Outcome<SocketAddr> {
        let listener = bind("127.0.0.1:0".parse()?, "")?;
        let address = listener.local_addr()?;
        let config = server_config(Arc::clone(&self.certificates), provider())?;
        let transport = Transport::Tls(Arc::new(config));
        let server = gatewatch_serving::Server { limits: LIMITS, transport, draining: Draining::default() };
        tokio::spawn(server.run(listener, router, std::future::pending()));
        Ok(address)
    }

    async fn connect(&self, address: SocketAddr) -> Outcome<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(address.ip().into());
        Ok(TlsConnector::from(Arc::clone(&self.client)).connect(name, stream).await?)
    }

    /// Asks all servers the same in turns, round by round, so that what the machine does meanwhile falls on all of them.
    /// Gives a row for each, in their order: p99 is held against that of the first, the median of all rounds.
    async fn compare(
        &self,
        asked_about: &'static str,
        path: &str,
        bodies: &[Vec<u8>],
        servers: &[Server],
        rounds: usize,
    ) -> Outcome<Vec<Row>> {
        let mut asked = Vec::new();
        for (i, server) in servers.iter().enumerate() {
            let path = if i == 0 { "/constant" } else { path };
            let requests: Arc<[Vec<u8>]> = bodies.iter().map(|body| request(path, body)).collect();
            let mut stream = self.connect(server.address).await?;
            for n in 0..WARM_UP {
                ask(&mut stream, &requests[n % requests.len()]).await?;
            }
            asked.push((server, requests, stream, Vec::new()));
        }
        for _ in 0..rounds {
            for (_, requests, stream, percentiles) in &mut asked {
                let mut times = Vec::with_capacity(PER_ROUND);
                for n in 0..PER_ROUND {
                    let start = Instant::now();
                    ask(stream, &requests[n % requests.len()]).await?;
                    times.push(start.elapsed().as_secs_f64() * 1e6);
                }
                times.sort_by(f64::total_cmp);
                percentiles.push((times[PER_ROUND / 2], times[PER_ROUND * 99 / 100]));
            }
        }
        let constants: Vec<f64> = asked[0].3.iter().map(|(_, p99)| *p99).collect();
        let mut rates = vec![Vec::with_capacity(RUSHES); asked.len()];
        for _ in 0..RUSHES {
            for ((server, requests, ..), rates) in asked.iter().zip(&mut rates) {
                rates.push(self.throughput(server.address, requests).await?);
            }
        }
        let rows = asked.iter().zip(rates).map(|((server, _, _, percentiles), rates)| Row {
            asked: asked_about,
            by: server.name,
            knows: server.cluster,
            p50: median(percentiles.iter().map(|(p50, _)| *p50)),
            p99: median(percentiles.iter().map(|(_, p99)| *p99)),
            ratio: median(percentiles.iter().zip(&constants).map(|((_, p99), constant)| p99 / constant)),
            per_second: median(rates.into_iter()),
        });
        Ok(rows.collect())
    }

    /// Answers a second over several connections.
    async fn throughput(&self, address: SocketAddr, requests: &Arc<[Vec<u8>]>) -> Outcome<f64> {
        let mut workers = tokio::task::JoinSet::new();
        let start = Instant::now();
        for _ in 0..CONNECTIONS {
            let (mut stream, requests) = (self.connect(address).await?, Arc::clone(requests));
            workers.spawn(async move {
                for n in 0..PER_ROUND {
                    ask(&mut stream, &requests[n % requests.len()]).await?;
                }
                Outcome::Ok(())
            });
        }
        while let Some(done) = workers.join_next().await {
            done??;
        }
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let asked = (CONNECTIONS * PER_ROUND) as f64;
        Ok(asked / start.elapsed().as_secs_f64())
    }
}

fn request(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One request and its whole answer.
async fn ask(stream: &mut TlsStream<TcpStream>, request: &[u8]) -> Outcome<()> {
    stream.write_all(request).await?;
    // What TLS holds back is not sent by reading.
    stream.flush().await?;
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
