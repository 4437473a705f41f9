//! The task `serve`, from start to end.

use std::{sync::Arc, time::SystemTime};

use anyhow::{Context as _, Result};
use gatewatch_serving::{Draining, Server, Transport, bind};
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use crate::{
    access::PathSecrets,
    args::Serve,
    cluster::Cluster,
    gate::Gate,
    http::{LIMITS, ProbeState, ReviewState, probes, reviews},
    metrics::Metrics,
    profiles,
    status::{lease::LeaseCandidate, write::Writer},
    tls::{
        self, Certificates,
        authority::Settings,
        directory::CertificateDirectory,
        secret::{Issues, SharedSecret},
    },
    watches,
};

/// Serves until SIGTERM or SIGINT.
pub async fn run(arguments: Serve) -> Result<()> {
    let provider = tls::provider();
    // One provider for the whole process: the client of the API server uses the default.
    let _ = provider.as_ref().clone().install_default();
    let listener = bind(arguments.listen, "--listen")?;
    let metrics_listener = bind(arguments.metrics_address, "--metrics-address")?;
    let client = client(&arguments).await?;

    let cluster = Arc::new(Cluster::default());
    let certificates = Arc::new(Certificates::default());
    let paths = Arc::new(PathSecrets::default());
    let metrics = Arc::new(
        Metrics::new(Arc::clone(&cluster), Arc::clone(&certificates)).context("cannot make the metrics")?,
    );

    let agent_pods = watches::AgentPodSource {
        namespace: arguments.namespace.clone(),
        selector: arguments.agent_selector.clone(),
    };
    let mut work = watches::start(&client, &cluster, &agent_pods);
    work.spawn(profiles::sync(Arc::clone(&cluster)));
    work.spawn(watches::modes::watch(
        client.clone(),
        arguments.namespace.clone(),
        arguments.modes.clone(),
        Arc::clone(&cluster),
    ));
    spawn_certificates(&mut work, &arguments, &client, &certificates, &paths)?;
    let identity =
        arguments.identity.clone().unwrap_or_else(|| format!("{}-{}", hostname(), std::process::id()));
    let leases = Api::namespaced(client.clone(), &arguments.namespace);
    let candidate = LeaseCandidate::new(leases, arguments.lease.clone(), identity.clone());
    work.spawn(candidate.run(Arc::clone(&cluster)));
    work.spawn(Writer::new(&client, &identity, Arc::clone(&cluster), arguments.recheck).run());

    let config = tls::server_config(Arc::clone(&certificates), provider)?;
    let draining = Draining::default();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let end = || {
        let mut stopped = stopped.clone();
        // An error means that the sender was dropped, which is a shutdown too.
        async move { drop(stopped.wait_for(|stopped| *stopped).await) }
    };
    let gate = Gate::new(Arc::clone(&cluster), arguments.docs_url.trim_end_matches('/'))
        .with_templates(arguments.templates.clone().into());
    let app = Arc::new(ReviewState::new(gate, Arc::clone(&metrics), Arc::clone(&paths)));
    let state = ProbeState {
        metrics,
        cluster: Arc::clone(&cluster),
        certificates,
        paths,
        draining: draining.clone(),
    };
    tracing::info!(
        listen = %listener.local_addr()?, metrics = %metrics_listener.local_addr()?,
        version = env!("CARGO_PKG_VERSION"), "serving"
    );
    let server =
        Server { limits: LIMITS, transport: Transport::Tls(Arc::new(config)), draining: draining.clone() };
    let answering = tokio::spawn(server.run(listener, reviews(app), end()));
    // Probes are answered until the end.
    let server = Server { limits: LIMITS, transport: Transport::Plain, draining: Draining::default() };
    let probing = server.run(metrics_listener, probes(Arc::new(state)), std::future::pending());
    work.spawn(async move {
        if let Err(error) = probing.await {
            tracing::error!("cannot serve metrics and probes: {error}");
        }
    });

    termination().await?;
    tracing::info!("shutting down in {:?}", arguments.drain);
    draining.begin();
    tokio::time::sleep(arguments.drain).await;
    // An error means that the server has ended already.
    let _ = stop.send(true);
    answering.await.context("the server ended in a panic")?.context("cannot serve reviews")?;
    work.shutdown().await;
    tracing::info!("all requests are answered");
    Ok(())
}

async fn client(arguments: &Serve) -> Result<Client> {
    let config = match &arguments.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("cannot use the kubeconfig {}", path.display()))?
        }
        None => Config::infer().await.context(
            "no API server is configured: in a cluster the pod needs a service account, elsewhere pass --kubeconfig",
        )?,
    };
    Client::try_from(config).context("cannot make a client of the API server")
}

fn spawn_certificates(
    work: &mut JoinSet<()>,
    arguments: &Serve,
    client: &Client,
    certificates: &Arc<Certificates>,
    paths: &Arc<PathSecrets>,
) -> Result<()> {
    let provider = tls::provider();
    let mut issues = Issues::Certificate;
    if let Some(path) = &arguments.tls_dir {
        let mut directory = CertificateDirectory::new(path.clone(), Arc::clone(&provider));
        directory.poll(certificates, SystemTime::now())?;
        work.spawn(directory.run(Arc::clone(certificates), arguments.tls_poll));
        issues = Issues::PathAlone;
    }
    let Serve { namespace, service, .. } = arguments;
    let names = if arguments.tls_names.is_empty() {
        vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
            format!("{service}.{namespace}"),
        ]
    } else {
        arguments.tls_names.clone()
    };
    let settings = Settings {
        ca_life: arguments.ca_life,
        leaf_life: arguments.leaf_life,
        settle: arguments.ca_settle,
        names,
    };
    let secret = (namespace.as_str(), arguments.tls_secret.as_str());
    let registrations = arguments.registrations.clone();
    let shared_secret =
        SharedSecret::new(client.clone(), secret, registrations, (settings, issues), provider);
    work.spawn(shared_secret.run(Arc::clone(certificates), Arc::clone(paths), arguments.tls_poll));
    Ok(())
}

/// The host's name, which is the pod's in a cluster.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Waits for SIGINT or SIGTERM.
async fn termination() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
