use std::time::Instant;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
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
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

fn start(source: Arc<dyn Source>) -> Server {
    let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let profile =
        Arc::new(OnceLock::from(SavedProfile { hash: "0f".to_owned(), bytes: b"GWPROFIL".to_vec() }));
    let task = tokio::spawn(serve(listener, source, profile, async {
        let _ = stopped.await;
    }));
    Server { address, stop, task }
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

    fn ready(&self) -> bool {
        true
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

    fn ready(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_scrape_that_fails_is_an_error_and_not_the_end() {
    let server = start(Arc::new(Broken));
    assert_eq!(request(server.address, "GET", "/metrics").await.0, 500);
    assert_eq!(request(server.address, "GET", "/healthz").await.0, 200);
}
