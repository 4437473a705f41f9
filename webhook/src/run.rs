//! The task `serve`, from start to end.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use gatewatch_serving::{Draining, Server, Transport, bind};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::args::Serve;
use crate::caches;
use crate::cluster::Cluster;
use crate::gate::Gate;
use crate::http::{App, LIMITS, Probed, probes, reviews};
use crate::kernels::keep::keep;
use crate::metrics::Metrics;
use crate::status::lease::Candidate;
use crate::status::write::Writer;
use crate::tls::authority::Settings;
use crate::tls::files::Folder;
use crate::tls::secret::Shared;
use crate::tls::{self, Certificates};

/// Serves until SIGTERM or SIGINT.
pub async fn run(arguments: Serve) -> Result<()> {
    let provider = tls::provider();
    // One provider for all of the process: the client of the API server takes the default.
    let _ = provider.as_ref().clone().install_default();
    let listener = bind(arguments.listen, "--listen")?;
    let metrics_listener = bind(arguments.metrics_address, "--metrics-address")?;
    let client = client(&arguments).await?;

    let cluster = Arc::new(Cluster::default());
    let certificates = Arc::new(Certificates::default());
    let metrics = Arc::new(
        Metrics::new(Arc::clone(&cluster), Arc::clone(&certificates)).context("cannot make the metrics")?,
    );

    let mut work = caches::start(&client, &cluster);
    work.spawn(keep(Arc::clone(&cluster)));
    work.spawn(crate::modes::follow::follow(
        client.clone(),
        arguments.namespace.clone(),
        arguments.modes.clone(),
        Arc::clone(&cluster),
    ));
    follow_certificates(&mut work, &arguments, &client, &certificates)?;
    let identity =
        arguments.identity.clone().unwrap_or_else(|| format!("{}-{}", hostname(), std::process::id()));
    let leases = Api::namespaced(client.clone(), &arguments.namespace);
    let candidate = Candidate::new(leases, arguments.lease.clone(), identity.clone());
    work.spawn(candidate.stand(Arc::clone(&cluster)));
    work.spawn(Writer::new(&client, &identity, Arc::clone(&cluster), arguments.recheck).run());

    let config = tls::server_config(Arc::clone(&certificates), provider)?;
    let draining = Draining::default();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let end = || {
        let mut stopped = stopped.clone();
        // An error means that the sender is gone, which is the end as well.
        async move { drop(stopped.wait_for(|stopped| *stopped).await) }
    };
    let gate = Gate::new(Arc::clone(&cluster), arguments.docs_url.trim_end_matches('/'));
    let app = Arc::new(App { gate, metrics: Arc::clone(&metrics) });
    let probed = Probed { metrics, cluster: Arc::clone(&cluster), certificates, draining: draining.clone() };
    tracing::info!(
        listen = %listener.local_addr()?, metrics = %metrics_listener.local_addr()?,
        version = env!("CARGO_PKG_VERSION"), "serving"
    );
    let server =
        Server { limits: LIMITS, transport: Transport::Tls(Arc::new(config)), draining: draining.clone() };
    let answering = tokio::spawn(server.run(listener, reviews(app), end()));
    // Probes are answered to the very end.
    let server = Server { limits: LIMITS, transport: Transport::Plain, draining: Draining::default() };
    let probing = server.run(metrics_listener, probes(Arc::new(probed)), std::future::pending());
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

fn follow_certificates(
    work: &mut JoinSet<()>,
    arguments: &Serve,
    client: &Client,
    certificates: &Arc<Certificates>,
) -> Result<()> {
    let provider = tls::provider();
    if let Some(path) = &arguments.tls_dir {
        let mut folder = Folder::new(path.clone(), provider);
        folder.look(certificates, SystemTime::now())?;
        work.spawn(folder.follow(Arc::clone(certificates), arguments.tls_poll));
        return Ok(());
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
    let shared = Shared::new(client.clone(), secret, registrations, settings, provider);
    work.spawn(shared.follow(Arc::clone(certificates), arguments.tls_poll));
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
