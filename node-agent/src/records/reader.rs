//! The thread that reads records. It shares no lock with scrapes or with the loading of policies: what it needs of them are
//! values that they publish.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use gatewatch_abi::record::consts::RECORD_HOOK;
use gatewatch_events::Timestamp;
use gatewatch_export::{Outputs, Tally};

use super::{
    catalog::Catalog,
    clock::Clock,
    convert::{Converter, Draft, Node},
    decode,
    owners::Owners,
    processes::{Processes, running},
    waiting::{Outgoing, Waiting},
};
use crate::bpf::Ring;

/// How long it sleeps when nothing comes.
const IDLE: Duration = Duration::from_millis(500);
/// The same while records wait for something.
const BUSY: Duration = Duration::from_millis(50);
/// Records that are read before anything else is done.
const AT_ONCE: usize = 1_024;
/// Records of hooks that aren't known yet.
const UNKNOWN: usize = 4_096;
/// How long such a one waits: the reconciler publishes a hook right after its first event may come.
const UNKNOWN_FOR: Duration = Duration::from_secs(2);

/// What the reader and the rest of the agent have in common.
#[derive(Default)]
pub struct Shared {
    /// The hooks.
    pub catalog: ArcSwap<Catalog>,
    /// The pods.
    pub owners: ArcSwap<Owners>,
    /// What became of the records of processes.
    pub of_processes: Arc<Tally>,
    /// Records that no hook is known for, or that made no sense.
    pub unknown: AtomicU64,
    /// Processes that are known.
    pub processes: AtomicU64,
    /// Programs whose texts were cut, because their pod was over its share of the memory for them.
    pub cut: AtomicU64,
    /// Records that wait for their pods.
    pub waiting: AtomicU64,
}

/// See the module's documentation.
pub struct Reader {
    ring: Ring,
    work: Work,
}

struct Work {
    shared: Arc<Shared>,
    node: Node,
    clock: Clock,
    started: Timestamp,
    processes: Processes,
    waiting: Waiting,
    unknown: VecDeque<(Instant, Vec<u8>)>,
    outputs: Arc<Outputs>,
    seq: u64,
}

impl Reader {
    /// Begins with the processes that run. `cgroups` is where their hierarchy is mounted.
    pub fn new(
        ring: Ring,
        shared: Arc<Shared>,
        mut node: Node,
        outputs: Arc<Outputs>,
        cgroups: Option<&Path>,
    ) -> Self {
        let mut processes = Processes::default();
        for found in running(cgroups) {
            // The first process has the host's namespaces.
            if let (1, Some(who)) = (found.image.id.pid, found.image.who) {
                node.namespaces = who.namespaces;
            }
            processes.found(found);
        }
        let started = Timestamp(
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .ok()
                .and_then(|since| i64::try_from(since.as_nanos()).ok())
                .unwrap_or(0),
        );
        let work = Work {
            shared,
            node,
            clock: Clock::now(),
            started,
            processes,
            waiting: Waiting::default(),
            unknown: VecDeque::new(),
            outputs,
            seq: 0,
        };
        Self { ring, work }
    }

    /// Reads until `stop` is set, and then what is left.
    pub fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let waits = self.work.waiting.len() > 0 || !self.work.unknown.is_empty();
            self.ring.wait(if waits { BUSY } else { IDLE });
            self.read();
        }
        self.read();
        self.work.end();
    }

    fn read(&mut self) {
        loop {
            let now = Instant::now();
            self.work.begin(now);
            let mut read = 0;
            while read < AT_ONCE && self.ring.next(|bytes| self.work.handle(bytes, now)) {
                read += 1;
            }
            if read < AT_ONCE {
                break;
            }
        }
    }
}

impl Work {
    /// What is due before more records are handled.
    fn begin(&mut self, now: Instant) {
        self.clock.follow(now);
        self.processes.check(now, |pid| Path::new(&format!("/proc/{pid}")).exists());
        self.processes.forget(now);
        for _ in 0..self.unknown.len() {
            if let Some((since, bytes)) = self.unknown.pop_front() {
                self.handle_since(&bytes, since, now);
            }
        }
        let owners = self.shared.owners.load_full();
        for event in self.waiting.ready(&owners, now) {
            self.send(event, &owners);
        }
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.shared.waiting.store(number(self.waiting.len()), Ordering::Relaxed);
        self.shared.processes.store(number(self.processes.len()), Ordering::Relaxed);
        self.shared.cut.store(self.processes.cut(), Ordering::Relaxed);
    }

    /// One record.
    fn handle(&mut self, bytes: &[u8], now: Instant) {
        self.handle_since(bytes, now, now);
    }

    fn handle_since(&mut self, bytes: &[u8], since: Instant, now: Instant) {
        let Some(record) = decode(bytes) else {
            self.shared.unknown.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut converter =
            Converter { node: &self.node, clock: &self.clock, processes: &mut self.processes };
        let event = if record.head.kind == RECORD_HOOK {
            let catalog = self.shared.catalog.load();
            let Some(known) = catalog.get(record.head.hook) else {
                drop(catalog);
                return self.later(bytes, since, now);
            };
            Outgoing { draft: converter.event(&record, known), tally: Arc::clone(&known.tally) }
        } else {
            match converter.process(&record, now) {
                Some(draft) => Outgoing { draft, tally: Arc::clone(&self.shared.of_processes) },
                None => return,
            }
        };
        let owners = self.shared.owners.load_full();
        if let Some(event) = self.waiting.take(event, &owners, now) {
            self.send(event, &owners);
        }
    }

    /// Keeps a record of a hook that isn't known yet.
    fn later(&mut self, bytes: &[u8], since: Instant, now: Instant) {
        if now.saturating_duration_since(since) < UNKNOWN_FOR && self.unknown.len() < UNKNOWN {
            self.unknown.push_back((since, bytes.to_vec()));
        } else {
            self.shared.unknown.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn send(&mut self, event: Outgoing, owners: &Owners) {
        let Outgoing { draft: Draft { mut event, cgroup, parent, .. }, tally } = event;
        if let Some(processes) = event.processes_mut() {
            owners.complete(cgroup.0, cgroup.1, &mut processes.process);
            if let (Some(process), Some((cgroup, ns_pid))) = (&mut processes.parent, parent) {
                owners.complete(cgroup, ns_pid, process);
            }
        }
        self.seq += 1;
        event.seq = self.seq;
        event.agent_start = Some(self.started);
        self.outputs.send(event, &tally);
    }

    /// Writes what waits still.
    fn end(&mut self) {
        let owners = self.shared.owners.load_full();
        for event in self.waiting.rest(&owners) {
            self.send(event, &owners);
        }
    }
}
