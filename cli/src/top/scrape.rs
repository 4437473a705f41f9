//! Scrapes the metrics of agents.

use std::time::Duration;

use anyhow::{Result, bail};
use ureq::Agent;

use super::Counts;

/// An agent with very many series takes a second; one that takes longer than this is away.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than an agent's metrics ever are.
const LIMIT: u64 = 256 << 20;

/// The agents.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    urls: Vec<String>,
}

/// What all agents say at one time.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) counts: Counts,
    /// A sentence for each agent that didn't answer.
    pub(super) failures: Vec<String>,
}

impl Client {
    /// Takes the agents' URLs; a wrong one is an error. `http://` and `/metrics` may be left out.
    pub(super) fn new(urls: &[String]) -> Result<Self> {
        let urls = urls.iter().map(|url| whole(url)).collect::<Result<_>>()?;
        let config = Agent::config_builder().timeout_global(Some(PATIENCE)).build();
        Ok(Self { agent: config.into(), urls })
    }

    /// Asks all of them.
    pub(super) fn look(&self) -> Look {
        let mut look = Look::default();
        for url in &self.urls {
            match self.get(url) {
                Ok(text) => look.counts.add(&text),
                Err(error) => look.failures.push(format!("{url} returns no metrics: {error}")),
            }
        }
        look
    }

    fn get(&self, url: &str) -> Result<String, ureq::Error> {
        self.agent.get(url).call()?.body_mut().with_config().limit(LIMIT).read_to_string()
    }
}

fn whole(url: &str) -> Result<String> {
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
            assert_eq!(whole(given).unwrap(), meant);
        }
        assert!(
            whole("https://a/metrics").is_err() && whole("ftp://a").is_err() && whole("http://").is_err()
        );
    }
}
