//! The server: TLS (or plain, for metrics) on a port, with everything bounded that a client can hold on to.
//!
//! HTTP/1.1 alone: that is what API servers speak to webhooks. A connection that is idle costs a place and no more; when
//! all places are taken, the one that was idle longest goes, so that idle connections keep nobody out.

mod places;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use places::{Places, Seat};

/// Connections that are open at a time.
const CONNECTIONS: usize = 512;
/// Time for a client to say that it speaks TLS, and for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Time between requests of one connection. Go's HTTP client, and so the API server, drops a connection that was idle
/// for 90 s: were ours shorter, a request could meet the end of its connection.
const IDLE: Duration = Duration::from_mins(2);
/// Time for a request, from its head to its answer. The API server waits for 3 s.
const REQUEST: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES: usize = 32 << 10;
/// Time to wait where the system is out of descriptors or memory, before connections are accepted again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The first byte of a TLS connection: a handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// What is spoken on a port.
#[derive(Clone)]
pub enum Transport {
    /// TLS with this configuration.
    Tls(Arc<rustls::ServerConfig>),
    /// No encryption, for metrics and probes.
    Plain,
}

/// How the end of a server goes: first it is told that it will end ([`begin`](Self::begin)), which answers still
/// announce to clients; then it ends.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From now on every answer says that its connection ends.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end is near.
    pub fn begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a port can't be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// Takes a port.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Serves until `shutdown` is done, and then for as long as requests that have begun need, `grace` at most.
pub async fn serve(
    listener: TcpListener,
    transport: Transport,
    router: Router,
    draining: Draining,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) {
    let places = Places::new(CONNECTIONS);
    let open = GracefulShutdown::new();
    let service = TowerToHyperService::new(router);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Either this connection is gone already or the system is short of something: neither ends the server.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Where every connection has a request under way there is no place; the client sees the connection close.
        let Some(seat) = places.take() else { continue };
        let (transport, service, draining) = (transport.clone(), service.clone(), draining.clone());
        let watcher = open.watcher();
        tokio::spawn(async move {
            let seat = Arc::new(seat);
            let served = connection(stream, transport, service, Arc::clone(&seat), draining, watcher);
            tokio::select! {
                () = served => {}
                () = seat.evicted() => {}
            }
        });
    }
    drop(listener);
    // What is still open then is cut off.
    let _ = tokio::time::timeout(grace, open.shutdown()).await;
}

async fn connection(
    stream: TcpStream,
    transport: Transport,
    service: TowerToHyperService<Router>,
    seat: Arc<Seat>,
    draining: Draining,
    watcher: Watcher,
) {
    // Answers are one small packet each; waiting to fill it would only delay them. Where it fails they are slower.
    let _ = stream.set_nodelay(true);
    match transport {
        Transport::Plain => requests(stream, service, seat, draining, watcher).await,
        Transport::Tls(config) => {
            let handshake = tokio::time::timeout(HANDSHAKE, handshake(stream, config)).await;
            if let Ok(Some(stream)) = handshake {
                requests(stream, service, seat, draining, watcher).await;
            }
        }
    }
}

async fn handshake(
    mut stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 1 && first[0] != TLS_HANDSHAKE {
        let text = "this port speaks TLS: use https://\n";
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        // A client that doesn't take the answer misses it.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        return None;
    }
    TlsAcceptor::from(config).accept(stream).await.ok()
}

/// Answers the requests of one connection.
async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: TowerToHyperService<Router>,
    seat: Arc<Seat>,
    draining: Draining,
    watcher: Watcher,
) {
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let (service, draining) = (service.clone(), draining.clone());
        let busy = seat.busy();
        async move {
            let answered = tokio::time::timeout(REQUEST, service.call(request)).await;
            let mut response: Response<Body> = match answered {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response(),
            };
            if draining.begun() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            drop(busy);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // From the end of one request to the whole head of the next.
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), answer);
    // How a client's connection ended concerns the client alone.
    let _ = watcher.watch(connection).await;
}
