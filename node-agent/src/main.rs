//! `gatewatch-agent`: see the crate's documentation.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use gatewatch_agent::agent::{Agent, host_namespaces};
use gatewatch_agent::engine::Engine;
use gatewatch_agent::kernel_half::{self, Interruptible, KernelHalf, Node, Trampolines};
use gatewatch_agent::series::SERIES_PER_POLICY;
use gatewatch_agent::sources::{Files, Source};
use gatewatch_agent::{http, policy_dir, privileges};
use gatewatch_kernel::host::{Depth, Support, host_to};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Runs `TracingPolicy` objects in this node's kernel and exports what they count.
#[derive(Debug, Parser)]
#[command(name = "gatewatch-agent", version)]
struct Arguments {
    /// Directory of policies: every .yaml, .yml and .json file in it and below; changes are taken up
    #[arg(long, value_name = "DIR", required_unless_present = "cleanup")]
    policy_dir: Option<PathBuf>,
    /// Where to serve /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:2112")]
    metrics_address: SocketAddr,
    /// Pods of this node, as `kubectl get pods -A -o yaml` prints them; changes are taken up
    #[arg(long, value_name = "FILE")]
    pods: Option<PathBuf>,
    /// Folder for the maps, on a bpf file system
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/gatewatch")]
    bpf_dir: PathBuf,
    /// How many series a policy may have; events beyond are counted in one more, whose binary is "<overflow>"
    #[arg(long, value_name = "NUMBER", default_value_t = SERIES_PER_POLICY)]
    series_per_policy: usize,
    /// Take away everything that agents have in the kernel, what they have counted included, and end
    #[arg(long)]
    cleanup: bool,
    /// Attach by kprobe even where the cheaper fentry would do
    #[arg(long)]
    no_fentry: bool,
}

fn main() -> ExitCode {
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

/// An error with its causes, each said once: many messages hold their cause already.
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

fn run(arguments: Arguments) -> Result<()> {
    if arguments.cleanup {
        privileges::check()?;
        let found = kernel_half::cleanup(&arguments.bpf_dir)?;
        let what = if found { "removed" } else { "nothing is there of" };
        tracing::info!("{what} {}", arguments.bpf_dir.display());
        return Ok(());
    }
    // What can be wrong without touching the kernel comes first.
    let listener = http::bind(arguments.metrics_address)?;
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    if let Some(directory) = arguments.policy_dir {
        policy_dir::check(&directory)?;
        if let Some(pods) = &arguments.pods {
            std::fs::File::open(pods)
                .with_context(|| format!("cannot read the pods in {}", pods.display()))?;
        }
        sources.push(Box::new(Files::new(directory, arguments.pods)));
    }
    privileges::check()?;
    privileges::allow_open_files();
    let kernel = host_to(Depth::Attach)?;
    for gap in &kernel.gaps {
        tracing::warn!("{gap}");
    }
    if let Support::No(reason) = kernel.features.kprobes {
        bail!("policies can't run on this node: {reason}");
    }
    let node = Node {
        layout: kernel.profile.layout()?,
        trampolines: if arguments.no_fentry {
            Trampolines::NONE
        } else {
            Trampolines::choose(&kernel.features)
        },
        interruptible: Interruptible::new(&kernel.features),
        pins: arguments.bpf_dir,
        keep: true,
    };
    let engine = Engine::new(KernelHalf::load(node)?, kernel.profile)?;
    let agent = Arc::new(Agent::start(engine, sources, host_namespaces(), arguments.series_per_policy)?);

    let stop = Arc::new(AtomicBool::new(false));
    let worker = {
        let (agent, stop) = (Arc::clone(&agent), Arc::clone(&stop));
        std::thread::spawn(move || agent.run(&stop))
    };
    let served = serve(listener, agent);
    stop.store(true, Ordering::Relaxed);
    let _ = worker.join();
    served
}

#[tokio::main(flavor = "current_thread")]
async fn serve(listener: http::Listener, agent: Arc<Agent>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tracing::info!("serving metrics on {}", listener.local_addr()?);
    http::serve(listener, agent, async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
    .await?;
    Ok(())
}
