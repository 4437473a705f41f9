//! The BPF programs inside this process, without the agent around it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use gatewatch_abi::{
    Sizes,
    consts::{ENFORCED, OVERFLOW},
    record::consts::{LEDGER, LEDGER_ENTRIES},
};
use gatewatch_agent::{
    agent::host_namespaces,
    attribution::Attribution,
    bpf::{
        AttachTypes, BpfPrograms, Interruptible, Node, Processes, Reader, RecordLimits, cgroup_steps,
        hierarchy, why_no_lsm,
    },
    cgroup,
    engine::{Candidates, Engine, Failure},
    policy_key::PolicyKey,
};
use gatewatch_kernel::host::{Depth, Features, HostKernel, Support, host_to};
use gatewatch_policy::{
    compile::{Environment, compile},
    plan::Plan,
    read::read,
    source,
};

/// The running kernel, as an agent reads it in order to attach. It is read once, because that takes a second in a VM: what
/// a module brings later is not in it.
pub fn host() -> &'static HostKernel {
    static HOST: LazyLock<HostKernel> =
        LazyLock::new(|| host_to(Depth::Attach).expect("a kernel with BTF and tracefs"));
    &HOST
}

/// A way to attach, of those that are to mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// fentry and fexit.
    Trampolines,
    /// fprobe, and fexit.
    Fprobes,
    /// kprobe and kretprobe.
    Probes,
}

impl Way {
    /// Those that this kernel has.
    pub fn all() -> Vec<Self> {
        let fprobes = host().features.fprobe == Support::Yes;
        let all = [(true, Self::Trampolines), (fprobes, Self::Fprobes), (true, Self::Probes)];
        all.into_iter().filter_map(|(has, way)| has.then_some(way)).collect()
    }

    /// Those by which the agent attaches to entries here: its choice for this kernel, and kprobe for functions that this
    /// does not take.
    pub fn used() -> Vec<Self> {
        let mut used = vec![Self::of_this_kernel(), Self::Probes];
        used.dedup();
        used
    }

    /// The one that the agent takes here.
    pub fn of_this_kernel() -> Self {
        match AttachTypes::choose(&host().features) {
            AttachTypes { fentry: true, .. } => Self::Trampolines,
            AttachTypes { fprobe: true, .. } => Self::Fprobes,
            _ => Self::Probes,
        }
    }

    /// How a function's entry is attached to.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trampolines => "fentry",
            Self::Fprobes => "fprobe",
            Self::Probes => "kprobe",
        }
    }

    fn attach_types(self) -> AttachTypes {
        match self {
            Self::Trampolines => AttachTypes { fentry: true, fprobe: false, fprobe_many: true, fexit: true },
            Self::Fprobes => AttachTypes { fentry: false, fprobe: true, fprobe_many: true, fexit: true },
            Self::Probes => AttachTypes::PROBES,
        }
    }
}

/// An engine on this kernel.
pub struct Kernel {
    /// The engine.
    pub engine: Engine,
    /// Its counts.
    pub reader: Reader,
    /// What it knows of cgroups: those that exist now, all of them the host's unless pods are named.
    pub attribution: Attribution,
}

/// A folder that no other BPF programs of this process has.
fn pins() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!("/sys/fs/bpf/gatewatch-{}-{number}", std::process::id()))
}

impl Kernel {
    /// Loads the BPF programs.
    pub fn load() -> Self {
        Self::load_by(AttachTypes::choose)
    }

    /// Loads it to attach in this way.
    pub fn load_with(way: Way) -> Self {
        Self::load_by(|_| way.attach_types())
    }

    /// The same, which records events.
    pub fn load_recording(way: Way, limits: RecordLimits) -> Self {
        Self::load_as(|_| way.attach_types(), Some(limits))
    }

    fn load_by(choose: impl FnOnce(&Features) -> AttachTypes) -> Self {
        Self::load_as(choose, None)
    }

    fn load_as(choose: impl FnOnce(&Features) -> AttachTypes, records: Option<RecordLimits>) -> Self {
        let host = host();
        let node = Node {
            layout: host.profile.layout().expect("every field"),
            cgroup_steps: cgroup_steps(&host.profile),
            hierarchy: hierarchy(&host.profile).expect("every field"),
            cgroups: Some("/sys/fs/cgroup".into()),
            sizes: Sizes::of(250),
            processes: Processes::of(&host.profile.release, None),
            attach_types: choose(&host.features),
            no_lsm: why_no_lsm(&host.features),
            records,
            interruptible: Interruptible::new(&host.features),
            pins: pins(),
            keep: false,
        };
        let (programs, reader) = BpfPrograms::load(node).expect("the BPF programs load");
        let engine = Engine::new(programs, host.profile.clone()).expect("an engine");
        let mut attribution = Attribution::new(gatewatch_agent::attribution::POD_GRACE);
        for (id, path) in cgroup::walk("/sys/fs/cgroup".as_ref()).expect("cgroups") {
            attribution.add_cgroup(id, &path, Instant::now());
        }
        Self { engine, reader, attribution }
    }

    /// Makes these policies run, and no others.
    pub fn apply(&mut self, plans: impl IntoIterator<Item = Plan>) -> BTreeMap<PolicyKey, Failure> {
        let plans = plans
            .into_iter()
            .map(|plan| (PolicyKey { namespace: plan.namespace.clone(), name: plan.name.clone() }, plan))
            .collect();
        let mut candidates = Candidates { plans, failed: BTreeMap::new() };
        let failed = loop {
            let change = self.engine.load(candidates);
            match self.engine.commit(change, Instant::now()) {
                Ok(failed) => break failed,
                Err(rest) => candidates = rest,
            }
        };
        self.engine.detach_unused();
        self.engine.finish();
        self.engine.remove_unused(&mut self.reader);
        self.engine.bpf_mut().set_pods(self.attribution.pod_cgroups()).expect("pods are entered");
        let cgroups = self.attribution.cgroups(Instant::now());
        self.engine.assign_policy_sets(cgroups).expect("policy sets are assigned");
        failed
    }

    /// Compiles policies from text.
    pub fn compile(&self, text: &str) -> Vec<Plan> {
        let namespaces = host_namespaces();
        let environment = Environment { kernel: self.engine.profile(), host_namespaces: &namespaces };
        source::parse(text)
            .iter()
            .map(|document| {
                let (policy, diagnostics) = read(document);
                assert!(
                    !diagnostics.iter().any(gatewatch_policy::diagnostic::Diagnostic::is_error),
                    "{diagnostics:?}"
                );
                let (plan, diagnostics) = compile(&policy.expect("a policy"), environment);
                plan.unwrap_or_else(|| panic!("{diagnostics:?}"))
            })
            .collect()
    }

    /// What became of the records of a policy, by `LEDGER_*`.
    pub fn ledger(&self, policy: &str) -> [u64; LEDGER_ENTRIES as usize] {
        let mut ledger = [0; LEDGER_ENTRIES as usize];
        let hooks = self.engine.view().hooks;
        for (key, value) in self.reader.counts().expect("counts") {
            let entry = usize::try_from(key.binary.wrapping_sub(LEDGER)).unwrap_or(usize::MAX);
            if key.cgroup == OVERFLOW
                && let Some(sum) = ledger.get_mut(entry)
                && hooks.get(&key.hook).is_some_and(|hook| &*hook.policy == policy)
            {
                *sum += value;
            }
        }
        ledger
    }

    /// What was counted, by policy.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut by_policy = BTreeMap::new();
        let hooks = self.engine.view().hooks;
        let all = self.reader.counts().expect("counts");
        for (key, value) in all.into_iter().filter(|(key, _)| key.cgroup != ENFORCED) {
            // What became of records are no counts.
            if key.cgroup == OVERFLOW && (LEDGER..LEDGER + u64::from(LEDGER_ENTRIES)).contains(&key.binary) {
                continue;
            }
            if let Some(hook) = hooks.get(&key.hook) {
                *by_policy.entry(hook.policy.to_string()).or_default() += value;
            }
        }
        by_policy
    }
}
