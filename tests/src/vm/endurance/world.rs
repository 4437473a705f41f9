//! The agent, its policies and pods, and what is expected of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use super::{
    calls::{self, Background, Call},
    ledger::{Key, Ledger},
    policy::{Caller, Offers, Spec, UNKNOWN_FUNCTION},
    random::Random,
};
use crate::{
    agent::{Agent, sum},
    pod::{self, Container},
    scrape::samples,
    vm::{SETUID, policy},
};

/// The policy that always is there and never changes.
pub(super) const ALWAYS: &str = "always";
/// How long the agent may take for a change, on an emulated machine with others beside it.
const SETTLED_WITHIN: Duration = Duration::from_mins(3);

/// A file of the policy folder, with the one policy that it is about.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// As `gatewatch_policy_info` is to tell it; none where the agent can't know the policy's name.
    pub(super) state: Option<&'static str>,
    /// Whether it can't be read as a policy at all.
    pub(super) broken: bool,
    /// What counts: also that of a file that has become wrong, until the agent ends.
    pub(super) in_force: Option<Spec>,
    /// Whether the one that would be in force is too big to be loaded.
    pub(super) too_big: bool,
    /// Whether the next agent will load what counts now.
    pub(super) lasts: bool,
}

/// A pod in the pods file.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) namespace: &'static str,
    pub(super) org: &'static str,
    pub(super) uid: String,
    pub(super) id: String,
    /// `None` if it was deleted and the pod is still in the file.
    pub(super) container: Option<Container>,
}

impl Pod {
    fn caller(&self) -> Caller {
        Caller::Pod { namespace: self.namespace, org: self.org }
    }

    fn manifest(&self) -> String {
        pod::manifest(self.namespace, &self.name, &self.uid, &self.id, &[("org", self.org)])
    }
}

/// Processes that make calls, and what they will have made.
#[derive(Default)]
pub(super) struct Running {
    processes: Vec<Child>,
    makes: Vec<(Key, Option<String>, u64)>,
}

/// See the module's documentation.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) agent: Agent,
    pub(super) offers: Offers,
    /// Whether hooks stay while there is no agent.
    pub(super) kept: bool,
    /// By name, which is that of the policy.
    pub(super) files: BTreeMap<String, File>,
    pub(super) pods: Vec<Pod>,
    pub(super) ledger: Ledger,
    pub(super) background: Option<Background>,
    /// The pod in which calls are made all the time.
    pub(super) lasting: Pod,
    pub(super) next_pod: u32,
    pub(super) next_marker: u32,
    /// What was done, with the seconds since the start.
    pub(super) diary: Vec<String>,
    pub(super) begun: Instant,
}

impl World {
    pub(super) fn note(&mut self, what: impl AsRef<str>) {
        self.diary.push(format!("{:7.1} s: {}", self.begun.elapsed().as_secs_f64(), what.as_ref()));
    }

    /// Ends the test: what is wrong, and what led to it.
    pub(super) fn fail(&self, what: &str) -> ! {
        let last = self.diary.len().saturating_sub(60);
        let log = self.agent.log();
        let lines: Vec<&str> = log.lines().collect();
        let log = lines[lines.len().saturating_sub(60)..].join("\n");
        panic!(
            "{what}\nWhat was done last:\n{}\nThe agent's last words:\n{log}",
            self.diary[last..].join("\n")
        )
    }

    /// Writes a file in one step.
    pub(super) fn write(&self, name: &str, text: &str) {
        let file = self.agent.policies.join(name);
        let new = self.agent.policies.join(format!(".{name}"));
        fs::write(&new, text).expect("written");
        fs::rename(new, file).expect("renamed");
    }

    /// Tells the agent of the pods that there are.
    pub(super) fn write_pods(&self) {
        let manifests: Vec<String> =
            std::iter::once(&self.lasting).chain(&self.pods).map(Pod::manifest).collect();
        let new = self.agent.pods.with_extension("new");
        fs::write(&new, pod::list(&manifests)).expect("written");
        fs::rename(new, &self.agent.pods).expect("renamed");
    }

    /// Waits until the agent has applied everything that was written, and reports the expected state of each policy.
    ///
    /// A new file with a name of its own is the sign: an agent that lists it reads all others afterwards. Pods are read
    /// before policies, so it takes two polls until what was written of them is certainly read.
    pub(super) fn settle(&mut self, pods: bool) {
        for _ in 0..if pods { 2 } else { 1 } {
            let last = format!("marker-{}.yaml", self.next_marker);
            let _ = fs::remove_file(self.agent.policies.join(last));
            self.next_marker += 1;
            let name = format!("marker-{}", self.next_marker);
            self.write(&format!("{name}.yaml"), &policy(&name, UNKNOWN_FUNCTION));
            let sign = format!("policy=\"{name}\"");
            self.wait("the agent doesn't read its folder", |text| text.contains(&sign));
        }
        let expected: BTreeMap<String, Option<&str>> = self
            .files
            .iter()
            .map(|(name, file)| (name.clone(), file.state))
            .chain([(ALWAYS.to_owned(), Some("running"))])
            .collect();
        let broken = u64::try_from(self.files.values().filter(|file| file.broken).count()).expect("few");
        self.wait("the policies aren't as they should be", |text| {
            let states = states(text);
            states.iter().all(|(name, _)| name.starts_with("marker-") || expected.contains_key(name))
                && expected.iter().all(|(name, state)| states.get(name).map(String::as_str) == *state)
                && sum(text, "gatewatch_source_problems", &[]) == broken
        });
    }

    fn wait(&self, what: &str, condition: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        loop {
            let text = self.agent.metrics();
            if condition(&text) {
                return;
            }
            if begun.elapsed() > SETTLED_WITHIN {
                let files = format!("{:?}", self.files);
                self.fail(&format!("{what}:\n{files}\n{:?}\n{text}", states(&text)));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What counts, by the policies' names, but for [`ALWAYS`].
    fn in_force(&self) -> impl Iterator<Item = &Spec> {
        self.files.values().filter_map(|file| file.in_force.as_ref())
    }

    /// The series that a call is counted in, once for each time that it is in there.
    fn series_of(&self, call: Call, caller: &Caller, name: &str) -> Vec<Key> {
        let namespace = if let Caller::Pod { namespace, .. } = caller { namespace } else { "" };
        let key = |policy: &str, symbol: &str| Key {
            policy: policy.to_owned(),
            symbol: symbol.to_owned(),
            namespace: namespace.to_owned(),
            pod: name.to_owned(),
        };
        let always = (call == Call::Uid).then(|| key(ALWAYS, "__sys_setuid"));
        let others = self.in_force().flat_map(|spec| {
            spec.matching(call, caller, &self.offers).into_iter().map(move |symbol| key(&spec.name, symbol))
        });
        always.into_iter().chain(others).collect()
    }

    /// Starts some processes with some calls, in pods and on the host, but none that a policy of these counts, or `next`
    /// would, and none in the pod of this uid.
    pub(super) fn start_calls(
        &mut self,
        but: &BTreeSet<String>,
        next: Option<&Spec>,
        but_pod: Option<&str>,
    ) -> Running {
        let pods: Vec<Pod> = self.pods.iter().filter(|pod| pod.container.is_some()).cloned().collect();
        let mut running = Running::default();
        for _ in 0..=self.random.below(4) {
            let pod = (!pods.is_empty() && self.random.percent(85)).then(|| self.random.pick(&pods));
            if pod.as_ref().is_none_or(|pod| Some(pod.uid.as_str()) != but_pod) {
                let more = self.calls_of(pod.as_ref(), None, but, next);
                running.processes.extend(more.processes);
                running.makes.extend(more.makes);
            }
        }
        running
    }

    /// Starts one process with some calls: in a pod, in one that is not in the list, or on the host.
    pub(super) fn calls_of(
        &mut self,
        pod: Option<&Pod>,
        unlisted: Option<&Pod>,
        but: &BTreeSet<String>,
        next: Option<&Spec>,
    ) -> Running {
        let (caller, name) = match (pod, unlisted) {
            (Some(pod), _) => (pod.caller(), pod.name.as_str()),
            (None, Some(unlisted)) => (Caller::Unlisted, unlisted.uid.as_str()),
            (None, None) => (Caller::Host, ""),
        };
        let pod = pod.or(unlisted);
        let (mut calls, mut makes) = (Vec::new(), Vec::new());
        for _ in 0..=self.random.below(8) {
            let call = Call::random(&mut self.random);
            let most = if self.random.percent(10) { 2_000 } else { 60 };
            let times = u64::from(1 + self.random.below(most));
            let series = self.series_of(call, &caller, name);
            let next = next.is_some_and(|next| !next.matching(call, &caller, &self.offers).is_empty());
            if next || series.iter().any(|key| but.contains(&key.policy) || !self.ledger.certain(key)) {
                continue;
            }
            calls.push((call, times));
            makes.extend(series.into_iter().map(|key| (key, pod.map(|pod| pod.uid.clone()), times)));
        }
        let process = calls::start(pod.and_then(|pod| pod.container.as_ref()), &calls);
        Running { processes: vec![process], makes }
    }

    /// Waits for them, and enters what they made.
    pub(super) fn finish_calls(&mut self, running: Running) {
        for mut process in running.processes {
            let status = process.wait().expect("an exit status");
            assert!(status.success(), "a process that makes calls: {status}");
        }
        for (key, uid, times) in running.makes {
            self.ledger.add(key, uid.as_deref(), times);
        }
    }

    /// Begins to make calls all the time.
    pub(super) fn go_on(&mut self) {
        let container = self.lasting.container.as_ref().expect("the lasting pod's");
        self.background = Some(Background::start(Path::new(calls::FILES), container));
    }

    /// Ends these calls, and enters them.
    pub(super) fn pause(&mut self) {
        let Some(background) = self.background.take() else { return };
        let (host, pod) = background.finish();
        for key in self.series_of(Call::Uid, &Caller::Host, "") {
            self.ledger.add(key, None, host);
        }
        for key in self.series_of(Call::Uid, &self.lasting.caller(), &self.lasting.name) {
            self.ledger.add(key, Some(&self.lasting.uid), pod);
        }
    }

    /// Compares the scrape with the ledger: all of it, but for the calls that are made meanwhile.
    pub(super) fn check(&mut self) {
        let text = self.agent.metrics();
        let goes_on = self.background.is_some();
        let lasting = self.lasting.name.clone();
        let mut wrong = self.ledger.differences(&text, |key| {
            goes_on && key.policy == ALWAYS && (key.pod.is_empty() || key.pod == lasting)
        });
        for metric in [
            "gatewatch_events_missed_total",
            "gatewatch_events_overflow_total",
            "gatewatch_attribution_pending_events",
            "gatewatch_left_out_total",
        ] {
            let value = sum(&text, metric, &[]);
            if value != 0 {
                let _ = writeln!(wrong, "{metric}: {value}");
            }
        }
        if !wrong.is_empty() {
            self.fail(&format!("{wrong}\n{text}"));
        }
    }

    /// A policy's file has become another: what it had in series that go is forgotten.
    pub(super) fn replace(&mut self, name: &str, file: Option<File>) {
        let symbols = file.as_ref().and_then(|file| file.in_force.as_ref());
        let symbols = symbols.map_or_else(Vec::new, |spec| spec.symbols(&self.offers));
        self.ledger.watches(name, &symbols);
        match file {
            Some(file) => drop(self.files.insert(name.to_owned(), file)),
            None => drop(self.files.remove(name)),
        }
    }

    /// Takes the pod away that was at this place.
    pub(super) fn pod_gone(&mut self) {
        let lives: BTreeSet<&str> =
            self.pods.iter().chain([&self.lasting]).map(|pod| pod.uid.as_str()).collect();
        self.ledger.pod_gone(|uid| lives.contains(uid));
    }
}

/// The policy that always is there.
pub(super) fn always() -> String {
    policy(ALWAYS, SETUID)
}

/// Policies and their states.
fn states(text: &str) -> BTreeMap<String, String> {
    samples(text, "gatewatch_policy_info")
        .into_iter()
        .map(|(labels, _)| (labels["policy"].clone(), labels["state"].clone()))
        .collect()
}
