use std::time::Instant;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use super::*;
use crate::metrics::{
    Snapshot,
    tests::{Fixed, sample},
};

struct Server {
    address: SocketAddr,
    probes: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

fn start(source: Arc<dyn Source>) -> Server {
    let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let for_probes = bind_probes(([127, 0, 0, 1], 0).into()).unwrap();
    let probes = for_probes.local_addr().unwrap();
    let listeners = Listeners { metrics: listener, probes: Some(for_probes) };
    let (stop, stopped) = oneshot::channel();
    let profile =
        Arc::new(OnceLock::from(SavedProfile { hash: "0f".to_owned(), bytes: b"GWPROFIL".to_vec() }));
    let task = tokio::spawn(serve(listeners, source, profile, async {
        let _ = stopped.await;
    }));
    Server { address, probes, stop, task }
}

fn fixed(ready: bool) -> Arc<dyn Source> {
    let snapshot =
        Snapshot { samples: [sample("/usr/bin/sudo", "", 1)].into_iter().collect(), ..Snapshot::default() };
    Arc::new(Fixed { snapshot, ready })
}

/// Sends bytes and reads the answer to its end.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn request(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let answer = exchange(address, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn answers() {
    let server = start(fixed(true));
    let (status, head, body) = request(server.address, "GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(body.contains("tetragon_policy_events_total{binary=\"/usr/bin/sudo\","), "{body}");
    let (status, head, body) = request(server.address, "HEAD", "/metrics").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("version=0.0.4"));
    for (method, path, want) in [
        ("GET", "/healthz", 200),
        ("GET", "/profile", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics?x=1", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/healthz", 405),
        ("PUT", "/readyz", 405),
    ] {
        assert_eq!(request(server.address, method, path).await.0, want, "{method} {path}");
    }
    let (_, head, _) = request(server.address, "POST", "/metrics").await;
    assert!(head.contains("allow: get,head"), "{head}");
}

#[tokio::test]
async fn not_ready() {
    let server = start(fixed(false));
    assert_eq!(request(server.address, "GET", "/readyz").await.0, 503);
    assert_eq!(request(server.address, "GET", "/healthz").await.0, 200);
    assert_eq!(request(server.probes, "GET", "/readyz").await.0, 503);
}

#[tokio::test]
async fn probes_have_a_port_of_their_own() {
    let server = start(fixed(true));
    for (path, want) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 404), ("/profile", 404)] {
        assert_eq!(request(server.probes, "GET", path).await.0, want, "{path}");
    }
    server.stop.send(()).unwrap();
    server.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.probes).await.is_err(), "it ends with the other one");
}

#[tokio::test]
async fn bad_requests_end_their_own_connection_only() {
    let server = start(fixed(true));
    assert!(exchange(server.address, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(LIMITS.head_bytes));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may close while we write.
    let _ = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(request(server.address, "GET", "/healthz").await.0, 200);
}

#[tokio::test]
async fn idle_and_slow_clients_delay_no_other_client() {
    let server = start(fixed(true));
    let mut held = Vec::new();
    for text in ["", "GET /metr"] {
        for _ in 0..2 * LIMITS.connections {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            // The server may have closed it.
            let _ = stream.write_all(text.as_bytes()).await;
            held.push(stream);
        }
        let start = Instant::now();
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(request(server.address, "GET", path).await.0, 200);
        }
        assert!(start.elapsed() < LIMITS.head / 2, "{:?}", start.elapsed());
    }
}

/// Connects from an address of the loopback network: 127.0.0.1 is the scraper.
async fn connect_as(client: u8, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, client], 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// Each answers soon, whatever others hold.
async fn answers_in_time(server: &Server) {
    for (address, path) in
        [(server.address, "/metrics"), (server.address, "/healthz"), (server.probes, "/readyz")]
    {
        let start = Instant::now();
        assert_eq!(request(address, "GET", path).await.0, 200, "{path}");
        // Others may have used up the burst: then a rendering begins each second, and another one may run before it.
        assert!(start.elapsed() < Duration::from_secs(3), "{path}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn connections_from_many_addresses_delay_no_scrape() {
    let server = start(fixed(true));
    let mut held = Vec::new();
    // Silent, in the midst of a head, and with an answer that isn't read.
    for text in ["", "GET /metr", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"] {
        for client in 2..=201 {
            for _ in 0..2 {
                let mut stream = connect_as(client, server.address).await;
                // The server may have closed it.
                let _ = stream.write_all(text.as_bytes()).await;
                held.push(stream);
            }
        }
        answers_in_time(&server).await;
    }
    // The same on the port of probes.
    for client in 2..=201 {
        held.push(connect_as(client, server.probes).await);
    }
    answers_in_time(&server).await;
}

/// A scrape that never ends holds no other: requests under way of one address are bounded, and probes have their own port.
#[tokio::test]
async fn requests_that_never_end_take_no_place_of_others() {
    let (_go, wait) = std::sync::mpsc::channel();
    let server = start(Arc::new(Slow(wait.into())));
    let mut held = Vec::new();
    let share = u8::try_from(LIMITS.connections / LIMITS.per_peer).unwrap();
    for client in 2..2 + share {
        for _ in 0..LIMITS.per_peer {
            let mut stream = connect_as(client, server.address).await;
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            held.push(stream);
        }
        if client == 3 {
            // One address more than its share.
            let mut more = connect_as(client, server.address).await;
            let mut answer = Vec::new();
            let _ = more.read_to_end(&mut answer).await;
            assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
            assert_eq!(request(server.address, "GET", "/readyz").await.0, 200);
        }
    }
    // All slots are taken by requests under way.
    let start = Instant::now();
    assert_eq!(request(server.address, "GET", "/readyz").await.0, 200);
    assert_eq!(request(server.probes, "GET", "/healthz").await.0, 200);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_port_that_is_taken() {
    let first = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let error = bind(first.local_addr().unwrap()).unwrap_err().to_string();
    assert!(error.contains("already in use") && error.contains("--metrics-address"), "{error}");
}

/// Answers only when the test lets it.
struct Slow(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Source for Slow {
    fn snapshot(&self) -> Snapshot {
        self.0.lock().unwrap().recv().unwrap();
        Snapshot::default()
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test]
async fn a_scrape_delays_no_other_request_and_is_finished_at_shutdown() {
    let (go, wait) = std::sync::mpsc::channel();
    let server = start(Arc::new(Slow(wait.into())));
    let scrape = tokio::spawn(async move { request(server.address, "GET", "/metrics").await });
    // On the same thread as the scrape's connection.
    assert_eq!(request(server.address, "GET", "/readyz").await.0, 200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "no new connections");
    go.send(()).unwrap();
    let (status, _, body) = scrape.await.unwrap();
    assert_eq!(status, 200);
    assert!(body.contains("gatewatch_build_info"));
    server.task.await.unwrap().unwrap();
}

struct Broken;

impl Source for Broken {
    fn snapshot(&self) -> Snapshot {
        panic!("on purpose");
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test]
async fn a_scrape_that_fails_is_an_error_and_not_the_end() {
    let server = start(Arc::new(Broken));
    assert_eq!(request(server.address, "GET", "/metrics").await.0, 500);
    assert_eq!(request(server.address, "GET", "/healthz").await.0, 200);
}
