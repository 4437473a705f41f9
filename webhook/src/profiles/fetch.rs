//! A kernel's profile from the agent of a node that runs it.

use std::{net::IpAddr, time::Duration};

use axum::{
    body::Bytes,
    http::{Request, StatusCode, Uri, header, uri::PathAndQuery},
};
use gatewatch_kernel::Profile;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Maximum bytes of a packed profile. Those of Debian's kernels are smaller than half a MiB.
const MAX_BYTES: usize = 16 << 20;
/// Time limit of one download.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The reason why a profile cannot be used. Each is a part of a sentence.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL.
    #[error("invalid agent URL {0:?}: expected http://ADDRESS:PORT/profile")]
    Url(String),
    /// The URL has another machine's address.
    #[error("rejected agent URL {0:?}: its host is not an address of the node or of the agent's pod on it")]
    Address(String),
    /// The connection failed.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// The response has an error status.
    #[error("{url} returned {status}")]
    Status {
        /// The URL.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// The body is not a profile.
    #[error("{url} did not return a kernel profile: {reason}")]
    Format {
        /// The URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// The profile is of a different kernel than the agent reported.
    #[error("{url} returned a profile with hash {found}, but the node's NodeTracing reports {expected}")]
    Hash {
        /// The URL.
        url: String,
        /// Hash of the profile.
        found: String,
        /// The reported hash.
        expected: String,
    },
}

/// The path at which agents serve the profile.
const PATH: &str = "/profile";

/// Whether a URL is one at which the agent of a node can serve its profile. Anyone who may write `NodeTracing` chooses the
/// URL, so it must have an address of the node or of its agent's pod.
pub fn check_url(url: &str, allowed: &[IpAddr]) -> Result<(), FetchError> {
    let bad = || FetchError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    let authority = uri.authority().ok_or_else(bad)?;
    let host: Option<IpAddr> = authority.host().trim_matches(['[', ']']).parse().ok();
    let path = uri.path_and_query().map(PathAndQuery::as_str);
    if path != Some(PATH) || authority.as_str().contains('@') {
        return Err(bad());
    }
    if host.is_none_or(|host| !allowed.contains(&host)) {
        return Err(FetchError::Address(url.to_owned()));
    }
    Ok(())
}

/// Downloads the profile with this hash. Everything else is an error.
pub async fn fetch(url: &str, hash: &str) -> Result<Profile, FetchError> {
    let unreachable = |reason: &dyn std::fmt::Display| FetchError::Unreachable {
        url: url.to_owned(),
        reason: reason.to_string(),
    };
    let bytes = tokio::time::timeout(TIMEOUT, get(url))
        .await
        .map_err(|_| unreachable(&format_args!("no response within {} s", TIMEOUT.as_secs())))??;
    let format = |reason: &dyn std::fmt::Display| FetchError::Format {
        url: url.to_owned(),
        reason: reason.to_string(),
    };
    // Unpacking and hashing take long; they must not block requests.
    let (profile, found) = tokio::task::spawn_blocking(move || {
        Profile::from_bytes(&bytes).map(|profile| {
            let hash = profile.hash();
            (profile, hash)
        })
    })
    .await
    .map_err(|error| format(&error))?
    .map_err(|error| format(&error))?;
    if found != hash {
        return Err(FetchError::Hash { url: url.to_owned(), found, expected: hash.to_owned() });
    }
    Ok(profile)
}

async fn get(url: &str) -> Result<Bytes, FetchError> {
    let bad = || FetchError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(bad()) };
    let port = authority.port_u16().ok_or_else(bad)?;
    let unreachable = |reason: &dyn std::fmt::Display| FetchError::Unreachable {
        url: url.to_owned(),
        reason: reason.to_string(),
    };
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, port)).await.map_err(|e| unreachable(&e))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| unreachable(&e))?;
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, authority.as_str())
        .body(Empty::<Bytes>::new())
        .map_err(|_| bad())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| unreachable(&e))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status { url: url.to_owned(), status: response.status() });
        }
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|e| unreachable(&e))
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // If the connection ends early, reading the response fails.
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(unreachable(&error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};

    use super::*;

    fn agent(router: Router) -> String {
        let listener = gatewatch_serving::bind("127.0.0.1:0".parse().unwrap(), "").unwrap();
        let address = listener.local_addr().unwrap();
        let server = gatewatch_serving::Server {
            limits: crate::http::LIMITS,
            transport: gatewatch_serving::Transport::Plain,
            draining: gatewatch_serving::Draining::default(),
        };
        tokio::spawn(server.run(listener, router, std::future::pending()));
        format!("http://{address}/profile")
    }

    #[tokio::test]
    async fn a_profile_is_taken_by_its_hash_alone() {
        let profile = Profile::shipped("6.12").unwrap();
        let (bytes, hash) = (profile.to_bytes().unwrap(), profile.hash());
        let url = agent(Router::new().route("/profile", get(async move || bytes)));
        assert_eq!(fetch(&url, &hash).await.unwrap().release, profile.release);
        let error = fetch(&url, "other").await.unwrap_err().to_string();
        assert!(error.contains("NodeTracing reports other"), "{error}");
    }

    #[test]
    fn only_addresses_of_the_node_and_its_agent_are_called() {
        let allowed = ["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
        for url in ["http://10.0.0.7:2112/profile", "http://[fd00::7]:2112/profile"] {
            assert!(check_url(url, &allowed).is_ok(), "{url}");
        }
        for url in [
            "http://169.254.169.254:80/profile",
            "http://localhost:2112/profile",
            "http://10.0.0.7.example.com:2112/profile",
            "http://10.0.0.7@10.0.0.8:2112/profile",
            "http://10.0.0.8@10.0.0.7:2112/profile",
            "http://10.0.0.7:2112/latest/meta-data",
            "http://10.0.0.7:2112/profile?x",
            "x",
        ] {
            assert!(check_url(url, &allowed).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused_with_a_reason() {
        let url = agent(Router::new().route("/profile", get(async || "hello")));
        assert!(fetch(&url, "h").await.unwrap_err().to_string().contains("did not return a kernel profile"));
        let missing = url.replace("/profile", "/other");
        assert!(fetch(&missing, "h").await.unwrap_err().to_string().contains("404"));
        for url in ["https://127.0.0.1:1/profile", "file:///etc/passwd", "http://127.0.0.1/profile", "x"] {
            assert!(matches!(fetch(url, "h").await, Err(FetchError::Url(_))), "{url}");
        }
        assert!(
            fetch("http://127.0.0.1:1/profile", "h").await.unwrap_err().to_string().contains("cannot reach")
        );
    }
}
