//! The BPF programs as the agent handles them: loading, maps, attaching.
//!
//! [`BpfPrograms`] owns everything in the kernel. Each hooked kernel function has one
//! [`Function`](function::Function). The policy engine builds the [`Tables`] that its matcher reads.

mod alive;
mod attach_object;
mod attach_type;
mod batch;
mod blob;
mod bpffs;
mod counts;
mod enforcement;
pub mod error;
mod fdinfo;
mod follow;
mod function;
mod hook_name;
mod inspect;
mod key;
mod lane;
mod loader;
mod maps;
mod multi;
mod node;
mod objects;
mod processes;
mod programs;
mod reader;
mod realtime;
mod record_limits;
mod records;
mod shared;
mod shares;
mod sizes;
mod store;
mod symbols;
mod syscall;
mod tracker;
mod types;
mod uprobe;
mod verified;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gatewatch_policy::{hook_point::PointKind, match_tables::Tables, plan::HookPoint};

use self::{
    alive::Alive,
    attach_object::AttachObject,
    bpffs::Pins,
    function::Function,
    loader::Loader,
    records::ProcessRecords,
    shared::Shared,
    store::{StateKey, Store},
    tracker::Tracker,
    types::Types,
};
pub use self::{
    attach_object::cgroup_steps,
    bpffs::cleanup,
    enforcement::hold as hold_enforcement,
    error::LoadError,
    fdinfo::Missed,
    function::Prepared,
    lane::Lane,
    multi::empty_fprobe,
    node::{AttachTypes, Node, why_no_lsm},
    objects::empty_programs,
    reader::{Attached, CgroupChanges, Reader, Usage},
    realtime::Interruptible,
    record_limits::RecordLimits,
    records::Ring,
    shares::{TABLES, hierarchy},
    sizes::Processes,
    uprobe::{Uprobe, Uprobes},
};
use crate::{cgroup::PodCgroups, enforcement::Mode};

/// Everything that we have in the kernel.
pub struct BpfPrograms {
    node: Node,
    types: Types,
    loader: Loader,
    attach_object: AttachObject,
    hash_key: u64,
    shared: Shared,
    tracker: Tracker,
    functions: BTreeMap<Lane, Function>,
    /// Those that an earlier agent has hooked, and that counted while there was none.
    adopted: BTreeSet<Lane>,
    alive: Option<Alive>,
    /// What records processes, and the ring buffer, where there are records.
    process_records: Option<ProcessRecords>,
    /// Made for the first policy that needs them.
    uprobes: Option<Arc<Uprobes>>,
    store: Store,
    // The last one: with it goes the folder.
    pins: Pins,
}

impl BpfPrograms {
    /// Loads what follows processes and cgroups, and reads the processes that run already. Nothing is hooked that
    /// wasn't before: hooks of an earlier agent continue to count as they did. The counts are read by the [`Reader`].
    pub fn load(node: Node) -> Result<(Self, Reader), LoadError> {
        let mut types = Types::default();
        // An earlier agent's hooks count meanwhile.
        let realtime = node.interruptible.realtime_guard();
        let mut pins = Pins::prepare(&node.pins, node.keep)?;
        let hash_key = key::take(&mut pins)?;
        let mut loader = Loader::new(pins.dir());
        let sizes = sizes::existing(pins.dir(), node.sizes);
        let mut tracker = Tracker::load(&node, &mut loader, sizes, hash_key)?;
        let mut shared = Shared::take(tracker.ebpf_mut(), pins.taken, sizes, node.hierarchy)?;
        if pins.kept() && !pins.taken {
            // Last: a folder with a key in it is whole.
            key::save(&pins, hash_key)?;
        }
        let store = Store::new(&pins);
        let reader = Reader::new(&shared, tracker.ebpf_mut(), node.interruptible, store.clone())?;
        drop(realtime);
        let process_records = match node.records {
            Some(limits) => Some(ProcessRecords::load(&node, &limits, &pins, (&mut loader, types.get()?))?),
            None => None,
        };
        tracker.attach(types.get()?, &pins)?;
        let attach_object = AttachObject::new(node.cgroup_steps, types.get()?)?;
        let pods = shared::existing_pods(node.cgroups.as_deref())?;
        let realtime = node.interruptible.realtime_guard();
        shared.find_processes(pods, &mut tracker)?;
        let functions: BTreeMap<Lane, Function> =
            if pins.taken { Function::adopt_all(&pins).into_iter().collect() } else { BTreeMap::new() };
        drop(realtime);
        let adopted = functions.keys().cloned().collect();
        let alive = pins.kept().then(|| Alive::open(pins.dir())).flatten();
        let kernel = Self {
            node,
            types,
            loader,
            attach_object,
            hash_key,
            shared,
            tracker,
            functions,
            adopted,
            alive,
            process_records,
            uprobes: None,
            store,
            pins,
        };
        Ok((kernel, reader))
    }

    /// Whether this function was hooked by an earlier agent and counted while there was none.
    pub fn adopted(&self, lane: &Lane) -> bool {
        self.adopted.contains(lane)
    }

    /// Whether this function's hook stays when we end.
    pub fn outlives_us(&self, lane: &Lane) -> bool {
        self.functions.get(lane).is_some_and(Function::is_kept)
    }

    /// Milliseconds since an earlier agent was last alive; `None` where there was none since the machine started.
    pub fn away(&self) -> Option<u64> {
        self.pins.alive.map(|then| alive::now().saturating_sub(then))
    }

    /// Writes that the agent is alive. To be called several times a second.
    pub fn beat(&mut self) {
        let _realtime = self.node.interruptible.realtime_guard();
        if let Some(alive) = &mut self.alive {
            alive.beat();
        }
    }

    /// Saves the meaning of the numbers in the maps for the next agent. Must be called before the kernel counts by them.
    pub fn save(&self, bytes: &[u8]) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.store.save(StateKey::Engine, bytes)
    }

    /// What an earlier agent has saved.
    pub fn saved(&self) -> Result<Option<Vec<u8>>, LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.store.load(StateKey::Engine)
    }

    /// Loads a matcher for a lane of these points, and attaches to their functions if that isn't done yet. Counts nothing
    /// before [`install`](Self::install). `mode`: what the policy of a hook may do, by the hook's number.
    pub fn prepare(
        &mut self,
        lane: &Lane,
        points: &[HookPoint],
        tables: &Tables,
        mode: impl Fn(u32) -> Mode,
    ) -> Result<Prepared, LoadError> {
        let mut tables = tables.clone();
        let realtime = self.node.interruptible.realtime_guard();
        let enforced = enforcement::enforced(&mut self.shared.counts, lane, &tables, mode)?;
        for (set, slot) in tables.follow.iter().zip(&mut tables.config.follow) {
            slot.mask = self.shared.follow_set(set, self.hash_key, &mut self.tracker)?;
        }
        let paths = tables.binaries.iter().map(|(path, _)| path);
        self.shared.programs.name(lane, paths, self.hash_key);
        drop(realtime);
        if lane.point.kind() == PointKind::Uprobe && self.uprobes.is_none() {
            self.uprobes = Some(Arc::new(Uprobes::load(&mut self.loader, self.types.get()?)?));
        }
        if !self.functions.contains_key(lane) {
            let load = (&mut self.loader, self.types.get()?);
            let function =
                Function::attach(&self.node, &self.attach_object, &self.pins, load, (lane, points))?;
            self.functions.insert(lane.clone(), function);
        }
        let Some(function) = self.functions.get(lane) else {
            return Err(LoadError::NotAttached(lane.to_string()));
        };
        function.number(points, &mut tables)?;
        function.prepare(
            &self.node,
            &self.pins,
            (&mut self.loader, self.types.get()?),
            self.hash_key,
            (tables, enforced),
        )
    }

    /// Frees memory that only loading programs needs, if none was loaded since the last call, and the places of removed
    /// counts. To be called now and then.
    pub fn rest(&mut self) -> Result<(), LoadError> {
        self.types.rest();
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.counts.reuse()
    }

    /// The same, without waiting whether more is loaded soon.
    pub fn loaded_all(&mut self) {
        self.types.clear();
    }

    /// Puts a prepared matcher in the place of the one before: from one event to the next.
    pub fn install(&mut self, lane: &Lane, prepared: Prepared) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        match self.functions.get_mut(lane) {
            Some(function) => {
                function.install(prepared)?;
                self.shared.programs.installed(lane);
                Ok(())
            }
            None => Err(LoadError::NotAttached(lane.to_string())),
        }
    }

    /// Writes a row of cgroup policy sets into a function's matcher.
    pub fn set_policy_set_row(&mut self, lane: &Lane, policy_set: u32, row: &[u64]) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        match self.functions.get_mut(lane) {
            Some(function) => function.set_row(policy_set, row),
            None => Err(LoadError::NotAttached(lane.to_string())),
        }
    }

    /// Says which cgroups no policy on a function watches: their events end before the matcher. A cgroup that is to be
    /// watched must be out of this before that is said to be so.
    pub fn set_unwatched(
        &mut self,
        lane: &Lane,
        cgroups: impl Iterator<Item = u64>,
    ) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        match self.functions.get_mut(lane) {
            Some(function) => function.set_unwatched(cgroups),
            None => Err(LoadError::NotAttached(lane.to_string())),
        }
    }

    /// Lets the events of every hook for which `keep` is false pass: what counts there is to be removed, and may be counted by
    /// another program from now on.
    pub fn pause(&mut self, keep: impl Fn(&Lane) -> bool) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.functions
            .iter_mut()
            .filter(|(lane, _)| !keep(lane))
            .try_for_each(|(_, function)| function.pause())
    }

    /// Removes every hook for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(&Lane) -> bool) {
        let gone: Vec<Lane> = self.functions.keys().filter(|lane| !keep(lane)).cloned().collect();
        self.shared.programs.retain_lanes(&keep);
        for lane in gone {
            self.adopted.remove(&lane);
            if let Some(function) = self.functions.remove(&lane) {
                function.remove();
            }
        }
    }

    /// The lanes of the hooked functions, and how each is attached: `fentry`, `fexit`, `fprobe`, `kprobe` or `kretprobe`.
    pub fn functions(&self) -> impl Iterator<Item = (&Lane, &'static str)> {
        self.functions.iter().map(|(lane, function)| (lane, function.attached_by()))
    }

    /// Makes the overflow counter of a hook, and the entries for its records.
    pub fn add_hook(&mut self, hook: u32) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.counts.add_hook(hook)?;
        if self.node.records.is_some() { self.shared.counts.add_records(hook) } else { Ok(()) }
    }

    /// Removes the counts of hooks for whose numbers `unused` is true. Nothing reads counts meanwhile, since that needs
    /// the reader.
    pub fn remove_hooks(
        &mut self,
        unused: impl Fn(u32) -> bool,
        _reader: &mut Reader,
    ) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.remove_counts(|key| unused(key.hook))
    }

    /// Removes the counts of cgroups that no longer exist. Nothing reads counts meanwhile, since that needs the reader.
    pub fn remove_cgroup_counts(&mut self, cgroups: &[u64], _reader: &mut Reader) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.remove_counts(|key| cgroups.contains(&key.cgroup))
    }

    /// Says which cgroups are pods', and in which there will be more: each pod has a share of the tables.
    pub fn set_pods(&mut self, cgroups: PodCgroups) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.set_pods(cgroups)
    }

    /// Removes the paths of programs that nothing uses, and gives pods back what they no longer have. `known`: whether
    /// there may still be counts of a cgroup. The counts must have been read, and nothing reads them meanwhile.
    pub fn settle_shares(
        &mut self,
        known: impl Fn(u64) -> bool,
        _reader: &mut Reader,
    ) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.settle_shares(known)
    }

    /// Fills the table of counts up with entries of no hook, so that a test can see what happens then.
    pub fn fill_counts(&mut self) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.counts.fill()
    }

    /// Says which policy set a cgroup has; `None`: it has none.
    pub fn set_cgroup_policy_set(&mut self, cgroup: u64, policy_set: Option<u32>) -> Result<(), LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.set_cgroup_policy_set(cgroup, policy_set)
    }

    /// The policy sets of cgroups as an earlier agent has set them.
    pub fn cgroup_policy_sets(&self) -> Result<Vec<(u64, u32)>, LoadError> {
        let _realtime = self.node.interruptible.realtime_guard();
        self.shared.cgroup_policy_sets()
    }
}
