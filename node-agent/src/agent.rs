//! The agent: takes policies and pods up from where they come, keeps the kernel in step, and answers scrapes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatewatch_abi::consts::OVERFLOW;
use gatewatch_policy::compile::Environment;
use gatewatch_policy::diagnostic::Severity;
use gatewatch_policy::model::NamespaceKind;

use crate::attribution::{Attribution, POD_GRACE, REMEMBERED};
use crate::cgroup;
use crate::engine::{Engine, PolicyKey};
use crate::kernel_half::LoadError;
use crate::metrics::{MapFill, PolicyState, PolicyStatus, Snapshot, Source};
use crate::pods::parse_pods;
use crate::policies::{Library, read_file};
use crate::policy_dir::{DirError, PolicyDir};
use crate::series::{Count, HookTotals, Series};

/// How often new cgroups are looked for. A container's first events are counted without that; it only decides how
/// soon they have a name.
const CGROUPS_EVERY: Duration = Duration::from_millis(250);
/// How often policies and pods are looked for.
const FILES_EVERY: Duration = Duration::from_secs(1);
/// How often counts are taken up and what is gone is forgotten, if nobody scrapes.
const FOLD_EVERY: Duration = Duration::from_secs(30);

/// Where policies and pods come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// A directory of policies.
    pub policies: PathBuf,
    /// A file of pods.
    pub pods: Option<PathBuf>,
}

/// See the module's documentation.
pub struct Agent {
    state: Mutex<State>,
    ready: AtomicBool,
}

struct State {
    engine: Engine,
    attribution: Attribution,
    series: Series,
    overflow: HookTotals,
    missed: HookTotals,
    library: Library,
    directory: PolicyDir,
    pods: Option<PodsFile>,
    host_namespaces: BTreeMap<NamespaceKind, u32>,
    cgroup_root: Option<PathBuf>,
    statuses: Vec<PolicyStatus>,
    pending: u64,
    unreadable: u64,
}

struct PodsFile {
    path: PathBuf,
    text: Option<String>,
    broken: bool,
}

impl Agent {
    /// Takes up the policies and pods that there are now. When this returns, they are counted for.
    pub fn start(
        engine: Engine,
        sources: Sources,
        host_namespaces: BTreeMap<NamespaceKind, u32>,
    ) -> Result<Self, DirError> {
        let mut state = State {
            engine,
            attribution: Attribution::new(POD_GRACE),
            series: Series::default(),
            overflow: HookTotals::default(),
            missed: HookTotals::default(),
            library: Library::default(),
            directory: PolicyDir::new(sources.policies),
            pods: sources.pods.map(|path| PodsFile { path, text: None, broken: false }),
            host_namespaces,
            cgroup_root: cgroup_root(),
            statuses: Vec::new(),
            pending: 0,
            unreadable: 0,
        };
        let now = Instant::now();
        state.find_cgroups(now);
        state.read_pods(now);
        state.read_policies(now)?;
        Ok(Self { state: Mutex::new(state), ready: AtomicBool::new(true) })
    }

    /// Keeps everything up to date until `stop` is set.
    pub fn run(&self, stop: &AtomicBool) {
        let (mut files, mut fold) = (Instant::now(), Instant::now());
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(CGROUPS_EVERY);
            let now = Instant::now();
            let mut state = self.state();
            state.follow_cgroups(now);
            if now.duration_since(files) >= FILES_EVERY {
                files = now;
                state.read_pods(now);
                if let Err(error) = state.read_policies(now) {
                    tracing::error!("{error}; the policies stay as they are");
                }
            }
            if now.duration_since(fold) >= FOLD_EVERY {
                fold = now;
                if let Err(error) = state.fold(now) {
                    tracing::error!(%error, "cannot read the counts");
                }
                state.forget(now);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in another thread doesn't make the numbers wrong.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Agent {
    fn snapshot(&self) -> Snapshot {
        let now = Instant::now();
        let mut state = self.state();
        state.follow_cgroups(now);
        if let Err(error) = state.fold(now) {
            tracing::error!(%error, "cannot read the counts");
        }
        state.snapshot(now)
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

impl State {
    /// Enters the cgroups that exist.
    fn find_cgroups(&mut self, now: Instant) {
        let Some(root) = &self.cgroup_root else {
            tracing::warn!("no cgroup2 file system is mounted; events can't be told apart by pod");
            return;
        };
        match cgroup::walk(root) {
            Ok(cgroups) => {
                for (id, path) in cgroups {
                    self.attribution.add_cgroup(id, &path, now);
                }
            }
            Err(error) => tracing::warn!(path = %root.display(), %error, "cannot read the cgroups"),
        }
    }

    /// Takes up cgroups that came and went.
    fn follow_cgroups(&mut self, now: Instant) {
        let changes = match self.engine.kernel_mut().cgroup_changes() {
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(%error, "cannot read which cgroups came and went");
                return;
            }
        };
        for (id, path) in &changes.made {
            self.attribution.add_cgroup(*id, path, now);
        }
        for id in &changes.removed {
            self.attribution.remove_cgroup(*id, now);
        }
        if !changes.made.is_empty() || !changes.removed.is_empty() {
            self.classify_cgroups(now);
        }
    }

    fn classify_cgroups(&mut self, now: Instant) {
        if let Err(error) = self.engine.classify_cgroups(&self.attribution, now) {
            tracing::error!(%error, "cannot tell the kernel which policies watch which cgroups");
        }
    }

    fn read_pods(&mut self, now: Instant) {
        let Some(file) = &mut self.pods else { return };
        let text = match fs::read_to_string(&file.path) {
            Ok(text) => text,
            Err(error) => {
                if !file.broken {
                    tracing::error!(
                        "cannot read the pods in {}: {error}; they stay as they are",
                        file.path.display()
                    );
                }
                file.broken = true;
                return;
            }
        };
        if file.text.as_ref() == Some(&text) {
            return;
        }
        match parse_pods(&text) {
            Ok(pods) => {
                for problem in &pods.problems {
                    tracing::warn!("{}: {problem}", file.path.display());
                }
                tracing::info!("{}: {} pods", file.path.display(), pods.pods.len());
                file.broken = !pods.problems.is_empty();
                self.attribution.set_pods(pods.pods, now);
            }
            Err(error) => {
                tracing::error!("{}: {error}; the pods stay as they are", file.path.display());
                file.broken = true;
            }
        }
        file.text = Some(text);
        self.classify_cgroups(now);
    }

    fn read_policies(&mut self, now: Instant) -> Result<(), DirError> {
        let changes = self.directory.poll()?;
        self.unreadable = u64::try_from(self.directory.unreadable()).unwrap_or(u64::MAX);
        for problem in &changes.problems {
            tracing::error!("{problem}");
        }
        if changes.changed.is_empty() && changes.removed.is_empty() {
            return Ok(());
        }
        for path in &changes.removed {
            self.library.remove(path);
        }
        for (path, text) in changes.changed {
            let environment =
                Environment { kernel: self.engine.profile(), host_namespaces: &self.host_namespaces };
            let contents = read_file(&path, &text, environment);
            for (severity, message) in &contents.messages {
                match severity {
                    Severity::Error => tracing::error!("{message}"),
                    Severity::Warning => tracing::warn!("{message}"),
                    Severity::Note => tracing::debug!("{message}"),
                }
            }
            self.library.set(path, contents);
        }
        self.apply(now);
        Ok(())
    }

    fn apply(&mut self, now: Instant) {
        let wanted = self.library.wanted();
        for message in &wanted.messages {
            tracing::error!("{message}");
        }
        // What policies that go have counted is folded while their hooks are known.
        if let Err(error) = self.fold(now) {
            tracing::error!(%error, "cannot read the counts");
        }
        let failed = self.engine.apply(wanted.plans, &self.attribution, now);
        let mut statuses: BTreeMap<PolicyKey, (PolicyState, &'static str)> = BTreeMap::new();
        for (key, failure) in &failed {
            tracing::error!("policy {key} can't be loaded: {failure}; the others run");
            statuses.insert(key.clone(), (PolicyState::Failed, "load"));
        }
        for (key, reason) in &wanted.refused {
            let still =
                if self.engine.running().contains_key(key) { "; it runs as it was before" } else { "" };
            tracing::error!("policy {key} is refused ({reason}){still}");
            statuses.insert(key.clone(), (PolicyState::Refused, reason));
        }
        for key in self.engine.running().keys() {
            statuses.entry(key.clone()).or_insert((PolicyState::Running, ""));
        }
        self.statuses = statuses
            .into_iter()
            .map(|(key, (state, reason))| PolicyStatus {
                name: key.name,
                namespace: key.namespace,
                state,
                reason: reason.into(),
                kernel_memory_bytes: None,
            })
            .collect();
        let attached: Vec<String> =
            self.engine.kernel().functions().map(|((symbol, _), by)| format!("{symbol} ({by})")).collect();
        tracing::info!(
            "{} policies run on {} kernel functions: {}",
            self.engine.running().len(),
            attached.len(),
            attached.join(", ")
        );
    }

    /// Takes up what the kernel has counted.
    fn fold(&mut self, now: Instant) -> Result<(), LoadError> {
        let kernel = self.engine.kernel();
        let (overflow, counts): (Vec<_>, Vec<_>) =
            kernel.counts()?.into_iter().partition(|(key, _)| key.cgroup == OVERFLOW);
        let mut paths: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (key, _) in &counts {
            paths.entry(key.binary).or_insert_with(|| kernel.binary_path(key.binary));
        }
        let counts = counts.iter().map(|(key, value)| Count {
            hook: key.hook,
            cgroup: key.cgroup,
            binary: key.binary,
            path: paths.get(&key.binary).map_or(&[], Vec::as_slice),
            value: *value,
        });
        let hooks = self.engine.hooks();
        let folded = self.series.fold(counts, hooks, &self.attribution, now);
        self.pending = folded.pending;
        self.overflow.fold(overflow.into_iter().map(|(key, value)| (key.hook, value)), hooks);
        // What a function's program missed, each policy missed once, however many hooks it has there.
        let mut missed: BTreeMap<(&str, Option<&str>, &str), (u32, u64)> = BTreeMap::new();
        let by_site = kernel.missed();
        for (id, hook) in hooks {
            let of_symbol = by_site.iter().filter(|((symbol, _), _)| **symbol == *hook.symbol);
            let times = of_symbol.map(|(_, missed)| missed.recursion).sum();
            missed.entry((&hook.policy, hook.namespace.as_deref(), &hook.symbol)).or_insert((*id, times));
        }
        self.missed.fold(missed.into_values(), hooks);
        // A cgroup that was made before the kernel half could note it, or while its notes had no room.
        if !folded.unknown.is_empty() {
            self.find_cgroups(now);
            self.classify_cgroups(now);
        }
        Ok(())
    }

    /// Forgets cgroups that are gone for long, here and in the kernel.
    fn forget(&mut self, now: Instant) {
        let forgotten = self.attribution.forget(REMEMBERED, now);
        if let Err(error) = self.engine.kernel_mut().remove_cgroup_counts(&forgotten.ids) {
            tracing::warn!(%error, "cannot forget the counts of cgroups that are gone");
            return;
        }
        self.series.forget(&forgotten);
        // Pods whose object didn't come in time are decided about now.
        self.classify_cgroups(now);
    }

    fn snapshot(&mut self, now: Instant) -> Snapshot {
        let usage = self.engine.kernel().usage();
        Snapshot {
            samples: self.series.samples(now),
            policies: self.statuses.clone(),
            overflow: self.overflow.samples(),
            missed: self.missed.samples(),
            pending_events: self.pending,
            maps: usage
                .maps
                .iter()
                .map(|(map, entries, capacity)| MapFill { map, entries: *entries, capacity: *capacity })
                .collect(),
            left_out: usage.left_out,
            policy_set_hash: self.policy_set_hash(),
            source_problems: self.unreadable
                + u64::try_from(self.library.broken()).unwrap_or(u64::MAX)
                + u64::from(self.pods.as_ref().is_some_and(|file| file.broken)),
        }
    }

    /// Names the set of policies that run, whatever their order.
    fn policy_set_hash(&self) -> String {
        let hash = self.engine.running().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, (key, plan)| {
            // Debug text of a plan says all of it; FNV-1a is stable between builds, which the standard hasher isn't.
            format!("{key}\0{plan:?}\0")
                .bytes()
                .fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        });
        format!("{hash:016x}")
    }
}

/// Where the cgroup v2 hierarchy is mounted.
fn cgroup_root() -> Option<PathBuf> {
    cgroup::find_cgroup2_mount(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// The inode numbers of the host's namespaces: those of process 1.
pub fn host_namespaces() -> BTreeMap<NamespaceKind, u32> {
    NamespaceKind::ALL.iter().filter_map(|kind| Some((*kind, inode(*kind)?))).collect()
}

fn inode(kind: NamespaceKind) -> Option<u32> {
    let name = match kind {
        NamespaceKind::Uts => "uts",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Mnt => "mnt",
        NamespaceKind::Pid => "pid",
        NamespaceKind::PidForChildren => "pid_for_children",
        NamespaceKind::Net => "net",
        NamespaceKind::Time => "time",
        NamespaceKind::TimeForChildren => "time_for_children",
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::User => "user",
    };
    // `mnt:[4026531841]`
    let link = fs::read_link(Path::new("/proc/1/ns").join(name)).ok()?;
    link.to_str()?.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}
