//! The HTTP server of the agent and the webhook.
//!
//! Both are reachable from a whole network, so everything that a client can hold on to is bounded by [`Limits`]: the number
//! of connections, in all and for each peer; the time for a TLS handshake, for the head of a request, for its answer and
//! for a whole connection; the size of a head. Idle connections block no client: when all slots are taken, the server closes
//! one that is idle. hyper speaks the protocol, axum routes, rustls encrypts; the limits on connections are ours because
//! tower's limit services only, and no crate evicts idle connections.
//!
//! HTTP/1.1 alone: API servers speak it to webhooks, and Prometheus to its targets.

mod connections;
mod handshake;
mod listen;
mod server;

pub use listen::{BindError, Listener, bind};
pub use server::{Draining, Limits, Server, Transport};
