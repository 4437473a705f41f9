//! Scrapes the metrics of agents.

use std::time::Duration;

use anyhow::{Result, bail};
use ureq::Agent;

use super::Counts;

/// Time limit of a scrape. An agent with very many series needs a second.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum bytes of a response, more than any agent exports.
const MAX_BYTES: u64 = 256 << 20;

/// An HTTP client for the agents.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    urls: Vec<String>,
}

/// The counts of all agents at one time.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    pub(super) counts: Counts,
    /// A sentence for each agent that did not answer.
    pub(super) failures: Vec<String>,
}

impl Client {
    /// A client for these URLs. An invalid URL is an error. `http://` and `/metrics` are optional.
    pub(super) fn new(urls: &[String]) -> Result<Self> {
        let urls = urls.iter().map(|url| complete_url(url)).collect::<Result<_>>()?;
        let config = Agent::config_builder().timeout_global(Some(TIMEOUT)).build();
        Ok(Self { agent: config.into(), urls })
    }

    /// Scrapes all agents.
    pub(super) fn scrape(&self) -> Scrape {
        let mut scrape = Scrape::default();
        for url in &self.urls {
            match self.get(url) {
                Ok(text) => scrape.counts.add(&text),
                Err(error) => scrape.failures.push(format!("{url} returns no metrics: {error}")),
            }
        }
        scrape
    }

    fn get(&self, url: &str) -> Result<String, ureq::Error> {
        self.agent.get(url).call()?.body_mut().with_config().limit(MAX_BYTES).read_to_string()
    }
}

fn complete_url(url: &str) -> Result<String> {
    if url.starts_with("https://") {
        bail!("{url}: agents serve plain HTTP; behind a TLS proxy, use `kubectl port-forward`");
    }
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let Some(place) = url.strip_prefix("http://").filter(|place| !place.is_empty()) else {
        bail!("invalid URL {url}: expected http://…");
    };
    Ok(if place.contains('/') { url } else { format!("{url}/metrics") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_completed() {
        for (given, meant) in [
            ("localhost:2112", "http://localhost:2112/metrics"),
            ("http://[::1]:2112", "http://[::1]:2112/metrics"),
            ("http://a/m", "http://a/m"),
        ] {
            assert_eq!(complete_url(given).unwrap(), meant);
        }
        assert!(
            complete_url("https://a/metrics").is_err()
                && complete_url("ftp://a").is_err()
                && complete_url("http://").is_err()
        );
    }
}
