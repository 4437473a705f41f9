//! The API server as a source of policies and pods, and as the place where the node's state is written.
//!
//! Each kind is watched by a task of its own; what they find waits in a [`Queue`] until the agent takes it. While the API
//! server is away, what it said last stays in force: counting and scraping need no answer of it.

mod claims;
mod enforcement;
mod installation;
mod node;
mod owners;
mod pods;
mod policies;
mod queue;
mod status;
mod watch;

use std::{path::Path, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

pub use self::enforcement::ConfigMapName;
pub use self::installation::{Installation, NotAnInstallation, Watched, watch_installation};
pub use self::queue::{Objects, Queue};
pub use self::status::{Node as StatusNode, write as write_status};

/// Time to reach the API server in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Name of the agent among those who change objects.
const FIELD_MANAGER: &str = "gatewatch-agent";

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig can't be used.
    #[error("cannot use the kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Neither a service account nor a kubeconfig.
    #[error("no API server is configured: run in a pod with a service account, or pass --kubeconfig ({0})")]
    Nothing(#[from] kube::config::InferConfigError),
    /// What was found can't be used.
    #[error("cannot use the API server: {0}")]
    Client(#[from] kube::Error),
}

/// Whether this process runs in a pod of a cluster.
pub fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        && Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token").exists()
}

/// Makes a client: of a kubeconfig file, or else of what is usual for the place that we run in. Nothing is sent yet.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    // Without effect where one is installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = match kubeconfig {
        Some(path) => {
            Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default())
                .await?
        }
        None => Config::infer().await?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Ok(Client::try_from(config)?)
}

/// Watches policies, the pods of a node, the node itself and the `ConfigMap` of enforcement, until it is dropped.
pub async fn run(client: Client, node: String, queue: Queue, enforcement: Option<ConfigMapName>) {
    tokio::join!(
        policies::watch_cluster(client.clone(), queue.clone()),
        policies::watch_namespaced(client.clone(), queue.clone()),
        pods::watch(client.clone(), node.clone(), queue.clone()),
        enforcement::watch(client.clone(), enforcement, queue.clone()),
        node::watch(client, node, queue),
    );
}
