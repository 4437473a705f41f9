//! Whether the agent ends for good.
//!
//! What an agent has in the kernel outlives it, for the next one. When the chart is uninstalled, there is no next one, and
//! the agent removes it at its end. It gets the same signal in both cases, so it asks for its `DaemonSet`: a pod whose
//! `DaemonSet` is deleted has no successor.
//!
//! Helm deletes the agent's rights and account in the same second, and then the API server answers no more questions. A
//! watch that was begun before continues, so the agent watches its account, an object that otherwise never changes.

use std::{str::FromStr, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::ServiceAccount};
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use tokio::sync::watch;

/// Time for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Time to find out. The pod is killed when its `terminationGracePeriodSeconds` are over.
const WITHIN: Duration = Duration::from_secs(5);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(250);

/// The `DaemonSet` and the `ServiceAccount` of an agent, which have one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Their namespace.
    pub namespace: String,
    /// Their name.
    pub name: String,
}

/// Why a text names no installation.
#[derive(Debug, thiserror::Error)]
#[error("expected NAMESPACE/NAME, found {0:?}")]
pub struct NotAnInstallation(String);

impl FromStr for Installation {
    type Err = NotAnInstallation;

    fn from_str(text: &str) -> Result<Self, NotAnInstallation> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(NotAnInstallation(text.to_owned())),
        }
    }
}

/// An installation that is watched.
pub struct Watched {
    installation: Installation,
    client: Client,
    /// Whether its account is deleted.
    gone: watch::Receiver<bool>,
}

/// Watches an installation, in a task of its own.
pub fn watch_installation(client: Client, installation: Installation) -> Watched {
    let (sender, gone) = watch::channel(false);
    tokio::spawn(watch_account(client.clone(), installation.clone(), sender));
    Watched { installation, client, gone }
}

async fn watch_account(client: Client, installation: Installation, gone: watch::Sender<bool>) {
    let Installation { namespace, name } = installation;
    let api: Api<PartialObjectMeta<ServiceAccount>> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher::watcher(api, config).default_backoff());
    let mut listed = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = false,
            Ok(Event::InitApply(_)) => listed = true,
            Ok(Event::InitDone) => {
                gone.send_replace(!listed);
            }
            Ok(Event::Apply(_)) => {
                gone.send_replace(false);
            }
            Ok(Event::Delete(_)) => {
                gone.send_replace(true);
            }
            // What was known stays known. Without an answer nothing is removed.
            Err(error) => tracing::debug!("cannot watch ServiceAccount {namespace}/{name}: {error}"),
        }
    }
}

impl Watched {
    /// Whether the installation is deleted. Asked at the end of the agent; takes some seconds without an answer. In doubt it
    /// exists.
    pub async fn is_removed(self) -> bool {
        let found = tokio::time::timeout(WITHIN, async {
            loop {
                match self.daemon_set().await {
                    Some(exists) => return !exists,
                    None if *self.gone.borrow() => return true,
                    None => tokio::time::sleep(PAUSE).await,
                }
            }
        });
        found.await.unwrap_or(false)
    }

    /// Whether the `DaemonSet` is there and stays; `None` if that can't be had.
    async fn daemon_set(&self) -> Option<bool> {
        let Installation { namespace, name } = &self.installation;
        let api: Api<DaemonSet> = Api::namespaced(self.client.clone(), namespace);
        let answer = tokio::time::timeout(ANSWER_WITHIN, api.get_metadata_opt(name)).await.ok()?.ok()?;
        Some(answer.is_some_and(|found| found.metadata.deletion_timestamp.is_none()))
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        Router,
        body::Body,
        http::{StatusCode, Uri, header},
        response::{IntoResponse as _, Response},
        routing::get,
    };
    use hyper::server::conn::http1;
    use hyper_util::{rt::TokioIo, service::TowerToHyperService};
    use serde_json::{Value, json};

    use super::*;

    /// What an API server knows of an installation.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Known {
        Exists,
        Deleting,
        Gone,
        /// The rights of the agent are deleted.
        Forbidden,
    }

    fn json_of(value: &Value) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
    }

    fn status(code: StatusCode, reason: &str) -> Response {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason,
            "code": code.as_u16(),
        });
        (code, json_of(&body)).into_response()
    }

    fn metadata() -> Value {
        json!({"name": "gatewatch-agent", "namespace": "gatewatch", "uid": "1", "resourceVersion": "1"})
    }

    fn account_object() -> Value {
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata()})
    }

    fn daemon_set(known: Known) -> Response {
        let mut object = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata()});
        match known {
            Known::Exists => {}
            Known::Deleting => object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"),
            Known::Gone => return status(StatusCode::NOT_FOUND, "NotFound"),
            Known::Forbidden => return status(StatusCode::FORBIDDEN, "Forbidden"),
        }
        json_of(&object)
    }

    /// Lists the account, and then watches it until it is deleted.
    fn accounts(uri: &Uri, account: &Account) -> Response {
        if !uri.query().unwrap_or_default().contains("watch=true") {
            let list = json!({
                "apiVersion": "v1", "kind": "ServiceAccountList", "metadata": {"resourceVersion": "1"},
                "items": [account_object()],
            });
            return json_of(&list);
        }
        account.watched.send_replace(true);
        let mut deleted = account.deleted.subscribe();
        let event = async move {
            let _ = deleted.wait_for(|deleted| *deleted).await;
            let event = json!({"type": "DELETED", "object": account_object()});
            Ok::<_, std::convert::Infallible>(format!("{event}\n"))
        };
        let events = futures::stream::once(event).chain(futures::stream::pending());
        Body::from_stream(events).into_response()
    }

    /// The account of the agent: whether it is watched, and whether it is deleted.
    #[derive(Clone)]
    struct Account {
        watched: watch::Sender<bool>,
        deleted: watch::Sender<bool>,
    }

    /// An API server, and the agent that watches its installation there.
    struct Scene {
        agent: Watched,
        known: watch::Sender<Known>,
        account: Account,
    }

    async fn scene() -> Scene {
        let (known, now) = watch::channel(Known::Exists);
        let account = Account { watched: watch::Sender::new(false), deleted: watch::Sender::new(false) };
        let of_account = account.clone();
        let router = Router::new()
            .route(
                "/apis/apps/v1/namespaces/gatewatch/daemonsets/gatewatch-agent",
                get(async move || daemon_set(*now.borrow())),
            )
            .route(
                "/api/v1/namespaces/gatewatch/serviceaccounts",
                get(async move |uri: Uri| accounts(&uri, &of_account)),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        let client = Client::try_from(config).unwrap();
        let agent = watch_installation(client, "gatewatch/gatewatch-agent".parse().unwrap());
        // Before anything is deleted.
        let mut watched = account.watched.subscribe();
        tokio::time::timeout(Duration::from_secs(10), watched.wait_for(|watched| *watched))
            .await
            .expect("the account is watched")
            .unwrap();
        Scene { agent, known, account }
    }

    #[tokio::test]
    async fn an_agent_that_is_replaced_has_a_daemon_set() {
        assert!(!scene().await.agent.is_removed().await);
        // Whatever becomes of the account.
        let scene = scene().await;
        scene.account.deleted.send_replace(true);
        tokio::time::sleep(PAUSE).await;
        assert!(!scene.agent.is_removed().await);
    }

    #[tokio::test]
    async fn a_daemon_set_that_is_deleted_is_the_end() {
        for known in [Known::Gone, Known::Deleting] {
            let scene = scene().await;
            scene.known.send_replace(known);
            assert!(scene.agent.is_removed().await, "{known:?}");
        }
    }

    #[tokio::test]
    async fn helm_deletes_the_rights_as_well() {
        let scene = scene().await;
        scene.known.send_replace(Known::Forbidden);
        let account = scene.account.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            account.deleted.send_replace(true);
        });
        assert!(scene.agent.is_removed().await);
    }

    #[tokio::test]
    async fn in_doubt_nothing_is_removed() {
        let scene = scene().await;
        scene.known.send_replace(Known::Forbidden);
        assert!(!scene.agent.is_removed().await);
    }

    #[test]
    fn names() {
        let found: Installation = "gatewatch/gatewatch-agent".parse().unwrap();
        assert_eq!((found.namespace.as_str(), found.name.as_str()), ("gatewatch", "gatewatch-agent"));
        for wrong in ["", "gatewatch", "/x", "x/", "a/b/c"] {
            assert!(wrong.parse::<Installation>().is_err(), "{wrong}");
        }
    }
}
