//! Logs of OpenTelemetry (OTLP) over HTTP, in JSON: `POST ENDPOINT/v1/logs`. The specification is "OpenTelemetry Protocol
//! Specification", section OTLP/HTTP.
//!
//! A batch is sent again until the receiver has taken it; meanwhile the queue fills, and then records are lost and
//! counted. A receiver that took a batch but whose answer was lost gets it twice: `gatewatch.seq` shows that.

mod encode;

use std::{
    io,
    sync::Arc,
    thread::{self, Builder, JoinHandle},
    time::Duration,
};

use thiserror::Error;
use ureq::Agent;

use self::encode::request;
use crate::queue::{Counters, Line, Queue, Taken};

/// A mistake in the endpoint.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// TLS.
    #[error(
        "{0}: the agent speaks OTLP over HTTP without TLS; send to a collector on the same node, for example \
         http://127.0.0.1:4318, and let it use TLS"
    )]
    Tls(String),
    /// Not a URL.
    #[error("invalid endpoint {0:?}: expected http://HOST:PORT, for example http://127.0.0.1:4318")]
    NotUrl(String),
}

const NAME: &str = "otlp";
const PATH: &str = "/v1/logs";
const TIMEOUT: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_secs(1);
/// Pauses between attempts double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 << 10;

/// The URL that logs are sent to.
pub(crate) fn url(endpoint: &str) -> Result<String, EndpointError> {
    if endpoint.starts_with("https://") {
        return Err(EndpointError::Tls(endpoint.to_owned()));
    }
    let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
    match url.strip_prefix("http://") {
        Some(place) if !place.is_empty() && !place.starts_with('/') => {
            let place = place.trim_end_matches('/');
            Ok(format!("http://{place}{}", if place.contains('/') { "" } else { PATH }))
        }
        _ => Err(EndpointError::NotUrl(endpoint.to_owned())),
    }
}

/// Starts the thread of the output.
pub(crate) fn start(url: String, queue: Arc<Queue>, counters: Arc<Counters>) -> io::Result<JoinHandle<()>> {
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .user_agent(concat!("gatewatch-agent/", env!("CARGO_PKG_VERSION")))
        .build();
    let sender = Sender { agent: config.into(), url, queue, counters };
    Builder::new().name("export-otlp".to_owned()).spawn(move || sender.run())
}

struct Sender {
    agent: Agent,
    url: String,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
}

/// What became of a batch.
enum Answer {
    /// Taken, except so many records.
    Taken(usize),
    /// To be sent again, after this time if the receiver asks for one.
    Again(String, Option<Duration>),
    /// Rejected for good.
    Refused(String),
}

impl Sender {
    fn run(self) {
        loop {
            match self.queue.take(TICK) {
                Taken::Lines(lines, _) => self.deliver(&lines),
                Taken::Nothing => {}
                Taken::Closed => return,
            }
        }
    }

    fn deliver(&self, lines: &[Line]) {
        let body = request(lines);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.post(&body) {
                Answer::Taken(rejected) => {
                    let (taken, refused) = lines.split_at(lines.len().saturating_sub(rejected));
                    self.counters.wrote(NAME, taken);
                    if !refused.is_empty() {
                        let message = format!("{} rejected {rejected} of {} records", self.url, lines.len());
                        self.counters.failed(NAME, refused, &message);
                    }
                    return;
                }
                Answer::Refused(message) => return self.counters.failed(NAME, lines, &message),
                Answer::Again(message, wanted) => {
                    // The agent ends: this was the last attempt.
                    if self.queue.is_closed() {
                        return self.counters.failed(NAME, lines, &message);
                    }
                    self.counters.stalled(NAME, &message);
                    self.wait(wanted.unwrap_or(pause).min(LAST_PAUSE));
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }

    /// Waits, but not longer than the agent runs.
    fn wait(&self, pause: Duration) {
        const STEP: Duration = Duration::from_millis(100);
        let mut left = pause;
        while !left.is_zero() && !self.queue.is_closed() {
            thread::sleep(left.min(STEP));
            left = left.saturating_sub(STEP);
        }
    }

    fn post(&self, body: &[u8]) -> Answer {
        let sent = self.agent.post(&self.url).header("content-type", "application/json").send(body);
        let mut answer = match sent {
            Ok(answer) => answer,
            Err(error) => return Answer::Again(format!("cannot reach {}: {error}", self.url), None),
        };
        let status = answer.status().as_u16();
        let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let text = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_string().unwrap_or_default();
        match status {
            200..=299 => Answer::Taken(rejected(&text)),
            // The specification's list of answers after which a client tries again.
            429 | 502 | 503 | 504 => Answer::Again(
                format!("{} answers with status {status}", self.url),
                after.map(Duration::from_secs),
            ),
            _ => {
                let reason: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
                Answer::Refused(format!("{} rejects records with status {status}: {reason}", self.url))
            }
        }
    }
}

/// The number of records that a receiver rejected of a batch that it took (`partialSuccess`).
fn rejected(answer: &str) -> usize {
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    let number = &answer["partialSuccess"]["rejectedLogRecords"];
    let number = number.as_u64().or_else(|| number.as_str()?.parse().ok()).unwrap_or_default();
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_completed() {
        for (given, meant) in [
            ("127.0.0.1:4318", "http://127.0.0.1:4318/v1/logs"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/logs"),
            ("http://a/otlp/v1/logs", "http://a/otlp/v1/logs"),
        ] {
            assert_eq!(url(given).unwrap(), meant);
        }
        assert!(matches!(url("https://a"), Err(EndpointError::Tls(_))));
        for wrong in ["", "http://", "grpc://a:4317", "http:///x"] {
            assert!(matches!(url(wrong), Err(EndpointError::NotUrl(_))), "{wrong}");
        }
    }

    #[test]
    fn a_partial_success_names_the_refused() {
        assert_eq!(rejected(r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"x"}}"#), 3);
        assert_eq!(rejected("{}"), 0);
        assert_eq!(rejected(""), 0);
    }
}
