//! `gatewatch-agent`: see the crate's documentation.

mod start;

use std::{
    io::IsTerminal as _,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use gatewatch_agent::{
    agent::PolicySet,
    allocator,
    attribution::REMEMBERED,
    bpf,
    enforcement::Mode,
    hold::Hold,
    http, kubernetes, metrics, policy_dir, privileges,
    profile::{self, SavedProfile},
    records::{RecordOptions, Recording},
    series::SeriesLimits,
    sources::{EnforcementFile, Files, Source},
    unsupported,
};
use gatewatch_export::{ExportOptions, Outputs};
use gatewatch_kernel::host::{Depth, Features, host_to};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::EnvFilter;

use self::start::{Limits, Started, count, refuse};

/// Runs `TracingPolicy` objects in this node's kernel and exports what they count.
#[derive(Debug, Parser)]
#[command(name = "gatewatch-agent", version)]
#[expect(clippy::struct_excessive_bools, reason = "a flag of the command line each")]
struct Arguments {
    /// Read policies from every .yaml, .yml and .json file in this directory and below; changes apply automatically
    #[arg(long, value_name = "DIR")]
    policy_dir: Option<PathBuf>,
    /// Read policies and pods from the API server, and write the node's state there: the default in a pod of a cluster,
    /// unless --policy-dir is set
    #[arg(long)]
    kubernetes: bool,
    /// Name of this node in the cluster
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,
    /// Kubeconfig of the API server [default: the pod's service account, $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Publish the URL of this node's kernel profile in `NodeTracing`, with this address
    #[arg(long, value_name = "ADDRESS", env = "HOST_IP")]
    host_ip: Option<IpAddr>,
    /// `DaemonSet` and `ServiceAccount` of this agent. If they are deleted, the agent removes all pinned programs, maps and
    /// counts when it ends
    #[arg(long, value_name = "NAMESPACE/NAME")]
    installation: Option<kubernetes::Installation>,
    /// Address for /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:2112")]
    metrics_address: SocketAddr,
    /// Also serve /healthz and /readyz at this address, which clients of the metrics cannot occupy
    #[arg(long, value_name = "ADDRESS")]
    probe_address: Option<SocketAddr>,
    /// Read the pods of this node from this file, as `kubectl get pods -A -o yaml` prints them; changes apply automatically
    #[arg(long, value_name = "FILE", requires = "policy_dir", conflicts_with = "kubernetes")]
    pods: Option<PathBuf>,
    /// Directory on a bpf file system for everything that outlives the agent
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/gatewatch")]
    bpf_dir: PathBuf,
    /// Limit of series per policy; further events count in one more series per hook, with the binary "<overflow>" and no pod
    #[arg(long, value_name = "NUMBER", default_value_t = SeriesLimits::default().per_policy)]
    series_per_policy: usize,
    /// Limit of series per policy and pod; further events count in one more series per hook, with the binary "<overflow>"
    #[arg(long, value_name = "NUMBER", default_value_t = SeriesLimits::default().per_pod)]
    series_per_pod: usize,
    /// Pods for which the BPF maps have shares of their own: the kubelet's maxPods
    #[arg(long, value_name = "NUMBER", default_value_t = 250)]
    max_pods: u32,
    /// Limit of processes whose programs are known [default: as many as the kernel can have, before Linux 6.1 at most 65536]
    #[arg(long, value_name = "NUMBER")]
    max_processes: Option<u32>,
    /// Seconds for which deleted pods and cgroups are remembered
    #[arg(long, value_name = "SECONDS", default_value_t = REMEMBERED.as_secs(), hide = true)]
    remember: u64,
    /// What policies may do on this node at most: off, monitor (count what would be done) or enforce
    #[arg(long, value_name = "MODE", default_value_t = Mode::Enforce)]
    enforcement: Mode,
    /// Read what policies may do from this file too: lines such as `enforcement: monitor` and `policy_NAME: off`; changes
    /// apply within a second
    #[arg(long, value_name = "FILE")]
    enforcement_file: Option<PathBuf>,
    /// Read it from this `ConfigMap` too; changes apply within a second
    #[arg(long, value_name = "NAMESPACE/NAME")]
    enforcement_config: Option<kubernetes::ConfigMapName>,
    /// Hold all policies of this node to off or monitor at once, whether an agent runs or not, then exit; `configured` lifts
    /// that
    #[arg(long, value_name = "MODE")]
    enforcement_now: Option<Hold>,
    /// Remove all pinned programs, maps and counts, then exit
    #[arg(long)]
    cleanup: bool,
    /// Write the kernel's profile to standard output, then exit
    #[arg(long, hide = true)]
    print_profile: bool,
    /// Attach by kprobe even where the cheaper fentry or fprobe would do
    #[arg(long)]
    no_fentry: bool,
    #[command(flatten)]
    records: RecordOptions,
    #[command(flatten)]
    export: ExportOptions,
}

/// How long the outputs may take to write their last records when the agent ends: a part of the pod's grace period.
const LAST_RECORDS: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    allocator::begin();
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("GATEWATCH_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gatewatch-agent: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each once: many messages contain their cause already.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut text, cause| {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        text
    })
}

/// An error without the privileges that nothing works without; warnings about others.
fn check_privileges() -> Result<()> {
    privileges::check()?;
    privileges::allow_open_files();
    for sentence in privileges::lacking() {
        tracing::warn!("{sentence}");
    }
    Ok(())
}

/// Removes the pinned programs and maps.
fn clean_up(pins: &Path) -> Result<()> {
    privileges::check()?;
    let pins_text = pins.display();
    if bpf::cleanup(pins)? {
        tracing::info!("removed {pins_text}");
    } else {
        tracing::info!("nothing to remove: {pins_text} does not exist");
    }
    Ok(())
}

fn run(arguments: Arguments) -> Result<()> {
    if let Some(mode) = arguments.enforcement_now {
        privileges::check()?;
        println!("enforcement on this node: {}", mode.apply(&arguments.bpf_dir)?);
        return Ok(());
    }
    if arguments.print_profile {
        return Ok(profile::print()?);
    }
    if arguments.cleanup {
        return clean_up(&arguments.bpf_dir);
    }
    // Mistakes that show without touching the kernel come first.
    let listeners = http::Listeners {
        metrics: http::bind(arguments.metrics_address)?,
        probes: arguments.probe_address.map(http::bind_probes).transpose()?,
    };
    let outputs = outputs(&arguments.export)?;
    let cluster = Cluster::of(&arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    let client = match &cluster {
        Some(cluster) => {
            sources.push(Box::new(cluster.queue.clone()));
            Some(runtime.block_on(kubernetes::connect(arguments.kubeconfig.as_deref()))?)
        }
        None => None,
    };
    if let Some(directory) = arguments.policy_dir {
        sources.push(Box::new(files(directory, arguments.pods)?));
    }
    if let Some(file) = arguments.enforcement_file {
        sources.push(Box::new(EnforcementFile::new(file)));
    }
    let supported = unsupported::check_user_namespace();
    if supported.is_ok() {
        check_privileges()?;
    }
    let kernel = host_to(Depth::Attach)?;
    for gap in &kernel.gaps {
        tracing::warn!("{gap}");
    }
    let (release, features) = (kernel.profile.release.clone(), kernel.features);
    let limits = Limits {
        series: SeriesLimits { per_policy: arguments.series_per_policy, per_pod: arguments.series_per_pod },
        max_pods: arguments.max_pods,
        max_processes: arguments.max_processes,
        remembered: Duration::from_secs(arguments.remember),
        enforcement: arguments.enforcement,
    };
    let recording = Recording {
        limits: arguments.records.limits(outputs.is_some()),
        node: arguments.records.node(arguments.node_name.as_deref()),
        outputs: outputs.clone(),
    };
    let pins = arguments.bpf_dir;
    let started = match supported.and_then(|()| unsupported::check(features.kprobes)) {
        Ok(()) => count(kernel, sources, (&limits, recording), pins.clone(), arguments.no_fentry)?,
        Err(reason) => refuse(reason, kernel.profile, sources),
    };
    let Started { source, policies, run } = started;

    let stop = Arc::new(AtomicBool::new(false));
    let worker = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || run(&stop))
    };
    let (host_ip, port) = (arguments.host_ip, arguments.metrics_address.port());
    let enforcement_config = arguments.enforcement_config;
    let installation = arguments.installation.zip(client.clone());
    let watched = installation.map(|(installation, client)| {
        let _context = runtime.enter();
        kubernetes::watch_installation(client, installation)
    });
    let served = runtime.block_on(async move {
        let profile = Arc::new(OnceLock::new());
        if let (Some(cluster), Some(client)) = (cluster, client) {
            tokio::spawn(kubernetes::run(
                client.clone(),
                cluster.node.clone(),
                cluster.queue,
                enforcement_config,
            ));
            let endpoint =
                host_ip.map(|address| format!("http://{}/profile", SocketAddr::new(address, port)));
            tokio::spawn(state(client, cluster.node, release, features, endpoint, policies, profile.clone()));
        }
        serve(listeners, source, profile).await
    });
    stop.store(true, Ordering::Relaxed);
    let _ = worker.join();
    if let Some(outputs) = outputs {
        outputs.stop(LAST_RECORDS);
    }
    if let Some(watched) = watched
        && runtime.block_on(watched.is_removed())
    {
        bpf::cleanup(&pins)?;
        tracing::info!("the installation is deleted: removed what is in {}", pins.display());
    }
    served
}

/// The outputs of records, if there are any.
fn outputs(options: &ExportOptions) -> Result<Option<Arc<Outputs>>> {
    if !options.is_enabled() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Outputs::start(options).context("cannot export records")?)))
}

/// Policies and pods in files.
fn files(directory: PathBuf, pods: Option<PathBuf>) -> Result<Files> {
    policy_dir::check(&directory)?;
    if let Some(pods) = &pods {
        std::fs::File::open(pods).with_context(|| format!("cannot read the pods in {}", pods.display()))?;
    }
    Ok(Files::new(directory, pods))
}

/// The agent's place in a cluster.
struct Cluster {
    node: String,
    queue: kubernetes::Queue,
}

impl Cluster {
    /// `None`: policies come from a directory alone.
    fn of(arguments: &Arguments) -> Result<Option<Self>> {
        let wanted = arguments.kubernetes || (arguments.policy_dir.is_none() && kubernetes::in_cluster());
        if !wanted {
            if arguments.policy_dir.is_none() {
                bail!("no policy source: pass --policy-dir DIR or --kubernetes");
            }
            return Ok(None);
        }
        match arguments.node_name.as_deref() {
            Some(node) if !node.is_empty() => {
                Ok(Some(Self { node: node.to_owned(), queue: kubernetes::Queue::default() }))
            }
            _ => bail!("no node name: pass --node-name NAME, or set NODE_NAME to the pod's spec.nodeName"),
        }
    }
}

/// Makes the kernel's profile, then keeps the node's state in the API server.
async fn state(
    client: kube::Client,
    name: String,
    release: String,
    features: Features,
    endpoint: Option<String>,
    policies: watch::Receiver<PolicySet>,
    profile: Arc<OnceLock<SavedProfile>>,
) {
    let made = match tokio::task::spawn_blocking(profile::make).await {
        Ok(Ok(made)) => made,
        Ok(Err(error)) => return tracing::error!("{error}; no NodeTracing is written"),
        Err(error) => return tracing::error!("{error}; no NodeTracing is written"),
    };
    let profile_hash = profile.get_or_init(|| made).hash.clone();
    let machine = std::env::consts::ARCH.to_owned();
    let node = kubernetes::StatusNode { name, release, machine, profile_hash, endpoint, features };
    kubernetes::write_status(client, node, policies).await;
}

async fn serve(
    listeners: http::Listeners,
    source: Arc<dyn metrics::Source>,
    profile: Arc<OnceLock<SavedProfile>>,
) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tracing::info!("serving metrics on {}", listeners.metrics.local_addr()?);
    http::serve(listeners, source, profile, async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
    .await?;
    Ok(())
}
