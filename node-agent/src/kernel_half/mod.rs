//! The kernel half as the agent handles it: loading, maps, attaching.
//!
//! [`KernelHalf`] owns everything in the kernel. One [`Function`](function::Function) stands for each kernel function
//! that is hooked; what its classifier looks at comes as [`Tables`] from the policy engine.

pub mod bpffs;
pub mod error;
mod function;
mod objects;
pub mod processes;
mod shared;
mod tracker;
mod undisturbed;

use std::{collections::BTreeMap, path::PathBuf};

use aya::Btf;
use gatewatch_abi::{CountKey, Layout};
use gatewatch_kernel::host::{Features, Preemption, Support};
use gatewatch_policy::classify::Tables;

pub use self::{
    error::LoadError,
    function::{Missed, Prepared},
    objects::empty_programs,
    shared::{CgroupChanges, Usage},
    undisturbed::Interruptible,
};
use self::{function::Function, shared::Shared, tracker::Tracker};

/// A hooked function: its symbol, and whether it is hooked when it returns.
pub type Site = (String, bool);

/// What the kernel half must know of the node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the kernel's structures have their fields.
    pub layout: Layout,
    /// How functions may be attached to.
    pub trampolines: Trampolines,
    /// Whether another task can come in the middle of a system call on a map.
    pub interruptible: Interruptible,
    /// Where the maps are pinned: a folder of its own on a bpf file system.
    pub pins: PathBuf,
}

/// Where fentry and fexit are used instead of kprobes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trampolines {
    /// fentry, at a function's entry: a quarter of a kprobe's cost.
    pub entry: bool,
    /// fexit, at its return: sees arguments and result together, which a kretprobe doesn't.
    pub exit: bool,
}

impl Trampolines {
    /// Kprobes everywhere.
    pub const NONE: Self = Self { entry: false, exit: false };

    /// What is right for a kernel.
    ///
    /// A trampoline lets its program run only once at a time on a processor (kernel/bpf/trampoline.c,
    /// `__bpf_prog_enter_recur`), and where the kernel is preemptible another task can come in the middle of it: all
    /// its calls of the function are then missed. Measured on Linux 7.3 with lazy preemption: thousands in 80,000.
    /// A kprobe's program can't be interrupted by a task, so entries are counted by kprobes there. Returns are not,
    /// since arguments could not be looked at; what is missed is exported.
    pub fn choose(features: &Features) -> Self {
        let supported = !matches!(features.fentry, Support::No(_));
        let whole = matches!(features.preemption, Some(Preemption::None | Preemption::Voluntary));
        Self { entry: supported && whole, exit: supported }
    }
}

/// Everything that we have in the kernel.
pub struct KernelHalf {
    node: Node,
    btf: Btf,
    hash_key: u64,
    shared: Shared,
    tracker: Tracker,
    functions: BTreeMap<Site, Function>,
}

impl KernelHalf {
    /// Loads what follows processes and cgroups, and reads the processes that run already. Nothing is hooked yet.
    pub fn load(node: Node) -> Result<Self, LoadError> {
        bpffs::prepare(&node.pins)?;
        let btf = Btf::from_sys_fs().map_err(LoadError::Btf)?;
        let hash_key = random_key()?;
        let mut tracker = Tracker::load(&node, hash_key)?;
        let mut shared = Shared::take(tracker.ebpf_mut())?;
        tracker.attach(&btf)?;
        shared.scan_processes(hash_key);
        Ok(Self { node, btf, hash_key, shared, tracker, functions: BTreeMap::new() })
    }

    /// Loads a classifier for a function, and attaches to the function if that isn't done yet. Counts nothing
    /// before [`install`](Self::install).
    pub fn prepare(&mut self, site: &Site, tables: &Tables) -> Result<Prepared, LoadError> {
        let mut tables = tables.clone();
        let undisturbed = self.node.interruptible.undisturbed();
        for (set, slot) in tables.follow.iter().zip(&mut tables.spec.follow) {
            slot.mask = self.shared.follow_set(set, self.hash_key)?;
        }
        drop(undisturbed);
        if !self.functions.contains_key(site) {
            let function = Function::attach(&self.node, &self.btf, site)?;
            self.functions.insert(site.clone(), function);
        }
        let Some(function) = self.functions.get(site) else {
            return Err(LoadError::NotAttached(site.0.clone()));
        };
        function.prepare(&self.node, &self.btf, self.hash_key, tables)
    }

    /// Puts a prepared classifier in the place of the one before: from one event to the next.
    pub fn install(&mut self, site: &Site, prepared: Prepared) -> Result<(), LoadError> {
        match self.functions.get_mut(site) {
            Some(function) => function.install(prepared),
            None => Err(LoadError::NotAttached(site.0.clone())),
        }
    }

    /// Writes a row of cgroup classes into a function's classifier.
    pub fn set_class_row(&mut self, site: &Site, class: u32, row: &[u64]) -> Result<(), LoadError> {
        let _undisturbed = self.node.interruptible.undisturbed();
        match self.functions.get_mut(site) {
            Some(function) => function.set_row(class, row),
            None => Err(LoadError::NotAttached(site.0.clone())),
        }
    }

    /// Takes a function's hook away.
    pub fn remove(&mut self, site: &Site) {
        self.functions.remove(site);
    }

    /// Takes away every hook for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(&Site) -> bool) {
        self.functions.retain(|site, _| keep(site));
    }

    /// The hooked functions, and how each is attached: `fentry`, `fexit`, `kprobe` or `kretprobe`.
    pub fn functions(&self) -> impl Iterator<Item = (&Site, &'static str)> {
        self.functions.iter().map(|(site, function)| (site, function.attached_by()))
    }

    /// Makes the overflow counter of a hook.
    pub fn add_hook(&mut self, hook: u32) -> Result<(), LoadError> {
        let _undisturbed = self.node.interruptible.undisturbed();
        self.shared.add_hook(hook)
    }

    /// Forgets the counts of hooks.
    pub fn remove_hooks(&mut self, hooks: &[u32]) -> Result<(), LoadError> {
        let _undisturbed = self.node.interruptible.undisturbed();
        self.shared.remove_counts(|key| hooks.contains(&key.hook))
    }

    /// Forgets the counts of a cgroup that is gone.
    pub fn remove_cgroup_counts(&mut self, cgroups: &[u64]) -> Result<(), LoadError> {
        let _undisturbed = self.node.interruptible.undisturbed();
        self.shared.remove_counts(|key| cgroups.contains(&key.cgroup))
    }

    /// Fills the table of counts up with entries of no hook, so that a test can see what happens then.
    pub fn fill_counts(&mut self) -> Result<(), LoadError> {
        let _undisturbed = self.node.interruptible.undisturbed();
        self.shared.fill_counts()
    }

    /// Says which class a cgroup has; `None`: it isn't classified.
    pub fn set_cgroup_class(&mut self, cgroup: u64, class: Option<u32>) -> Result<(), LoadError> {
        let _undisturbed = self.node.interruptible.undisturbed();
        self.shared.set_cgroup_class(cgroup, class)
    }

    /// All counts, summed over the CPUs. Those of overflow counters have
    /// [`OVERFLOW`](gatewatch_abi::consts::OVERFLOW) for cgroup and program.
    pub fn counts(&self) -> Result<Vec<(CountKey, u64)>, LoadError> {
        let _undisturbed = self.node.interruptible.undisturbed();
        self.shared.counts()
    }

    /// The path of a program, cut at 504 bytes; empty where it isn't known.
    pub fn binary_path(&self, id: u64) -> Vec<u8> {
        let _undisturbed = self.node.interruptible.undisturbed();
        self.shared.binary_path(id)
    }

    /// Cgroups that were made and removed since the last call.
    pub fn cgroup_changes(&mut self) -> Result<CgroupChanges, LoadError> {
        let _undisturbed = self.node.interruptible.undisturbed();
        self.shared.cgroup_changes()
    }

    /// How full the maps are, and what had to be left out.
    pub fn usage(&self) -> Usage {
        let _undisturbed = self.node.interruptible.undisturbed();
        self.shared.usage()
    }

    /// Events that each function's program did not see.
    pub fn missed(&self) -> Vec<(Site, Missed)> {
        self.functions.iter().map(|(site, function)| (site.clone(), function.missed())).collect()
    }

    /// What the verifier looked at: program name, instructions processed.
    pub fn verified_instructions(&self) -> Vec<(String, u32)> {
        let mut all = self.tracker.verified_instructions();
        all.extend(
            self.functions.iter().filter_map(|((symbol, _), function)| {
                Some((symbol.clone(), function.verified_instructions()?))
            }),
        );
        all
    }
}

impl Drop for KernelHalf {
    fn drop(&mut self) {
        bpffs::remove(&self.node.pins);
    }
}

/// A key that nobody can guess.
fn random_key() -> Result<u64, LoadError> {
    let mut key = [0; 8];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| LoadError::Random(errno.into()))?;
    Ok(u64::from_ne_bytes(key))
}
