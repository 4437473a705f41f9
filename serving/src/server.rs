//! Accepting connections and answering their requests.

use std::{
    convert::Infallible,
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse as _,
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Listener,
    connections::{Connections, Slot},
    handshake,
};

/// Time to wait where the system is out of descriptors or memory, before connections are accepted again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The bounds of a server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections in all.
    pub connections: usize,
    /// Open connections of one IP address.
    pub per_peer: usize,
    /// If all connections are busy, whether a new one takes the place of one of the peer that has most, rather than being
    /// rejected. For servers whose requests can be repeated.
    pub fair: bool,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time from the beginning of a connection, or from the end of a request, to the whole head of the next request.
    pub head: Duration,
    /// Time from the head of a request to its answer.
    pub request: Duration,
    /// Time for a whole connection, the client's reading of the answer included; `None` where clients keep connections.
    pub connection: Option<Duration>,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Whether a connection may have more than one request.
    pub keep_alive: bool,
    /// Time for requests under way at the end of the server.
    pub grace: Duration,
}

/// The protocol below HTTP.
#[derive(Clone)]
pub enum Transport {
    /// TLS with this configuration.
    Tls(Arc<rustls::ServerConfig>),
    /// No encryption, for metrics and probes.
    Plain,
}

/// Announces the end of a server: first [`begin`](Self::begin), after which every answer asks its client to close the
/// connection; then the server ends.
#[derive(Clone, Debug, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From now on every answer closes its connection.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the server is about to end.
    pub fn begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A server of one port.
#[derive(Clone)]
pub struct Server {
    /// The bounds.
    pub limits: Limits,
    /// The protocol below HTTP.
    pub transport: Transport,
    /// Announces the end.
    pub draining: Draining,
}

impl Server {
    /// Serves until `shutdown` is done, and then for as long as requests under way need, [`Limits::grace`] at most. An
    /// error means that the port can't be used at all.
    pub async fn run(
        self,
        listener: Listener,
        router: Router,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let listener = listener.into_tokio()?;
        let connections = Connections::new(self.limits.connections, self.limits.per_peer, self.limits.fair);
        let open = GracefulShutdown::new();
        let service = TowerToHyperService::new(router);
        let grace = self.limits.grace;
        let server = Arc::new(self);
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, peer)) = accepted else {
                // The connection is closed already, or the system is out of something: neither ends the server.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // The client sees the connection close.
            let Some(slot) = connections.open(peer.ip()) else { continue };
            let (server, service, watcher) = (Arc::clone(&server), service.clone(), open.watcher());
            tokio::spawn(async move {
                let slot = Arc::new(slot);
                let limit = server.limits.connection.unwrap_or(Duration::MAX);
                let exchange = timeout(limit, server.connection(stream, service, Arc::clone(&slot), watcher));
                tokio::select! {
                    _ = exchange => {}
                    () = slot.evicted() => {}
                }
            });
        }
        drop(listener);
        // A connection that is still open then is cut off.
        let _ = timeout(grace, open.shutdown()).await;
        Ok(())
    }

    async fn connection(
        &self,
        stream: TcpStream,
        service: TowerToHyperService<Router>,
        slot: Arc<Slot>,
        watcher: Watcher,
    ) {
        // Answers are one small packet each; waiting to fill it would only delay them. If it fails they are slower.
        let _ = stream.set_nodelay(true);
        match &self.transport {
            Transport::Plain => self.requests(stream, service, slot, watcher).await,
            Transport::Tls(config) => {
                let accepted = handshake::accept(stream, Arc::clone(config));
                if let Ok(Some(stream)) = timeout(self.limits.handshake, accepted).await {
                    self.requests(stream, service, slot, watcher).await;
                }
            }
        }
    }

    /// Answers the requests of one connection.
    async fn requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        service: TowerToHyperService<Router>,
        slot: Arc<Slot>,
        watcher: Watcher,
    ) {
        let (limit, draining) = (self.limits.request, self.draining.clone());
        let answer = service_fn(move |request: hyper::Request<Incoming>| {
            let (service, draining) = (service.clone(), draining.clone());
            let busy = slot.busy();
            async move {
                let mut response: Response<Body> = match timeout(limit, service.call(request)).await {
                    Ok(Ok(response)) => response,
                    Ok(Err(never)) => match never {},
                    Err(_) => (StatusCode::REQUEST_TIMEOUT, "the request took too long\n").into_response(),
                };
                if draining.begun() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                drop(busy);
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .keep_alive(self.limits.keep_alive)
            .max_buf_size(self.limits.head_bytes)
            .serve_connection(TokioIo::new(stream), answer);
        // A connection that ends in an error concerns its client alone.
        let _ = watcher.watch(connection).await;
    }
}
