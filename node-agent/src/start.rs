//! Starts what counts, or what says why nothing does.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use gatewatch_abi::Sizes;
use gatewatch_agent::{
    agent::{self, PolicySet, Retention, cgroup_root, host_namespaces},
    bpf::{AttachTypes, BpfPrograms, Interruptible, Node, Processes, cgroup_steps, hierarchy, why_no_lsm},
    enforcement::{Mode, Restrictions},
    engine::Engine,
    metrics,
    records::{self, Recording},
    series::SeriesLimits,
    sources::Source,
    unsupported::Unsupported,
};
use gatewatch_kernel::{Profile, host::HostKernel};
use tokio::sync::watch;

/// The limits of the command line.
pub(crate) struct Limits {
    pub(crate) series: SeriesLimits,
    pub(crate) max_pods: u32,
    pub(crate) max_processes: Option<u32>,
    pub(crate) remembered: Duration,
    pub(crate) enforcement: Mode,
}

/// An agent that was started.
pub(crate) struct Started {
    pub(crate) source: Arc<dyn metrics::Source>,
    pub(crate) policies: watch::Receiver<PolicySet>,
    /// Keeps it up to date, on a thread of its own.
    pub(crate) run: Box<dyn FnOnce(&AtomicBool) + Send>,
}

/// Loads what counts, and continues with the counts of the agent before this one.
pub(crate) fn count(
    kernel: HostKernel,
    sources: Vec<Box<dyn Source>>,
    (limits, recording): (&Limits, Recording),
    pins: PathBuf,
    no_fentry: bool,
) -> Result<Started> {
    let node = Node {
        layout: kernel.profile.layout()?,
        cgroup_steps: cgroup_steps(&kernel.profile),
        hierarchy: hierarchy(&kernel.profile)
            .context("this kernel's type information lacks the structures of cgroups")?,
        cgroups: cgroup_root(),
        sizes: Sizes::of(limits.max_pods),
        processes: Processes::of(&kernel.profile.release, limits.max_processes),
        attach_types: if no_fentry { AttachTypes::PROBES } else { AttachTypes::choose(&kernel.features) },
        no_lsm: why_no_lsm(&kernel.features),
        records: recording.limits,
        interruptible: Interruptible::new(&kernel.features),
        pins,
        keep: true,
    };
    let (programs, counts) = BpfPrograms::load(node)?;
    let mut engine = Engine::new(programs, kernel.profile)?;
    let shared = engine.bpf().has_records().then(Arc::<records::Shared>::default);
    let reader = recording.reader(&mut engine, shared.as_ref());
    let retention = Retention { series: limits.series, remembered: limits.remembered };
    let restrictions = Restrictions { own: limits.enforcement, ..Restrictions::default() };
    let kept = (retention, restrictions);
    let (agent, reconciler) = agent::start(engine, counts, sources, host_namespaces(), kept, shared)?;
    let run = move |stop: &AtomicBool| {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            if let Some(reader) = reader {
                scope.spawn(|| reader.run(&ended));
            }
            reconciler.run(stop);
            // With the engine, what records has ended, too: what the buffer has now is the last of it.
            ended.store(true, Ordering::Relaxed);
        });
    };
    Ok(Started { policies: agent.policies(), source: agent, run: Box::new(run) })
}

/// Loads nothing, and reports the reason.
pub(crate) fn refuse(reason: Unsupported, profile: Profile, sources: Vec<Box<dyn Source>>) -> Started {
    let (refused, reader) = agent::refuse(reason, profile, sources, host_namespaces());
    Started { policies: refused.policies(), source: refused, run: Box::new(move |stop| reader.run(stop)) }
}
