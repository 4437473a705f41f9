//! The kernel half inside this process, without the agent around it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use gatewatch_agent::{
    agent::host_namespaces,
    attribution::Attribution,
    cgroup,
    engine::{Engine, Failure, PolicyKey},
    kernel_half::{Interruptible, KernelHalf, Node, Trampolines, cgroup_steps},
};
use gatewatch_kernel::host::{Depth, Features, HostKernel, host_to};
use gatewatch_policy::{
    compile::{Environment, compile},
    plan::Plan,
    read::read,
    source,
};

/// An engine on this kernel.
pub struct Kernel {
    /// The engine.
    pub engine: Engine,
    /// What it knows of cgroups: those that exist now, all of them the host's unless pods are named.
    pub attribution: Attribution,
}

/// A folder that no other kernel half of this process has.
fn pins() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!("/sys/fs/bpf/gatewatch-{}-{number}", std::process::id()))
}

impl Kernel {
    /// Loads the kernel half.
    pub fn load() -> Self {
        Self::load_by(Trampolines::choose)
    }

    /// Loads it to attach by fentry and fexit, or by kprobe and kretprobe.
    pub fn load_with(trampolines: bool) -> Self {
        Self::load_by(|_| Trampolines { entry: trampolines, exit: trampolines })
    }

    fn load_by(choose: impl FnOnce(&Features) -> Trampolines) -> Self {
        let host: HostKernel = host_to(Depth::Attach).expect("a kernel with BTF");
        let node = Node {
            layout: host.profile.layout().expect("every field"),
            cgroup_steps: cgroup_steps(&host.profile),
            trampolines: choose(&host.features),
            interruptible: Interruptible::new(&host.features),
            pins: pins(),
            keep: false,
        };
        let engine = Engine::new(KernelHalf::load(node).expect("the kernel half loads"), host.profile)
            .expect("an engine");
        let mut attribution = Attribution::new(gatewatch_agent::attribution::POD_GRACE);
        for (id, path) in cgroup::walk("/sys/fs/cgroup".as_ref()).expect("cgroups") {
            attribution.add_cgroup(id, &path, Instant::now());
        }
        Self { engine, attribution }
    }

    /// Makes these policies run, and no others.
    pub fn apply(&mut self, plans: impl IntoIterator<Item = Plan>) -> BTreeMap<PolicyKey, Failure> {
        let plans = plans
            .into_iter()
            .map(|plan| (PolicyKey { namespace: plan.namespace.clone(), name: plan.name.clone() }, plan))
            .collect();
        self.engine.apply(plans, &self.attribution, Instant::now())
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

    /// What was counted, by policy.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut by_policy = BTreeMap::new();
        for (key, value) in self.engine.kernel().counts().expect("counts") {
            if let Some(hook) = self.engine.hooks().get(&key.hook) {
                *by_policy.entry(hook.policy.to_string()).or_default() += value;
            }
        }
        by_policy
    }
}
