//! What happens, step by step.

use std::{collections::BTreeSet, fs, thread::sleep, time::Duration};

use super::{
    policy::{NAMESPACES, ORGS, Spec},
    world::{File, Pod, World},
};
use crate::{agent::sum, pod::Container};

/// So many policies there are at most, beside the one that stays.
const POLICIES: u32 = 9;
const PODS: usize = 12;
/// How long a pod that is not in the list is waited for, and more.
const UNLISTED_WITHIN: u32 = 200;

impl World {
    /// Something happens, mostly while calls are made, and sometimes the agent ends in the middle of it. Then more calls
    /// are made, and sometimes compared with what is counted.
    pub(super) fn step(&mut self) {
        match self.random.below(100) {
            0..60 => self.policies_change(),
            60..88 => self.pods_change(),
            88..98 => self.late_pod(),
            _ => self.unlisted_pod(),
        }
        if self.random.percent(80) {
            let running = self.start_calls(&BTreeSet::new(), None, None);
            self.finish_calls(running);
        }
        if self.random.percent(50) {
            self.check();
        }
    }

    /// Compares everything.
    pub(super) fn compare_all(&mut self) {
        self.pause();
        self.check();
        self.go_on();
    }

    /// Whether the agent ends in this step; and the policies whose counts go then: those of files that have become
    /// wrong, which the next agent can't read.
    fn maybe_restart(&mut self, percent: u32) -> (bool, BTreeSet<String>) {
        let restart = self.random.percent(percent);
        let gone = self.files.iter().filter(|(_, file)| restart && !file.lasts);
        (restart, gone.map(|(name, _)| name.clone()).collect())
    }

    /// Whether calls are made in this step, too: in the middle of a restart only where they are counted meanwhile.
    fn busy(&mut self, restart: bool) -> bool {
        self.random.percent(60) && (self.kept || !restart)
    }

    fn policies_change(&mut self) {
        let number = self.random.below(POLICIES);
        let name = format!("policy-{number}");
        let now = self.files.get(&name).cloned();
        let spec = match now.as_ref().and_then(|file| file.in_force.as_ref()) {
            Some(spec) => spec.changed(&mut self.random, &self.offers),
            None => Spec::random(&name, &mut self.random, &self.offers),
        };
        let kept = now.as_ref().and_then(|file| file.in_force.clone());
        let too_big = now.as_ref().is_some_and(|file| file.too_big);
        let lasts = kept.is_none() && !too_big;
        // A policy of another kind or namespace would be another policy, and the one that runs would go.
        let unknown = kept.as_ref().unwrap_or(&spec).of_unknown_function();
        let (what, text, file) = match self.random.below(if now.is_some() { 100 } else { 80 }) {
            0..62 => {
                let file = File {
                    state: Some("running"),
                    broken: false,
                    in_force: Some(spec.clone()),
                    too_big: false,
                    lasts: true,
                };
                ("good", Some(spec.text()), Some(file))
            }
            62..68 => {
                let file = File { state: Some("refused"), broken: false, in_force: kept, too_big, lasts };
                ("of an unknown function", Some(unknown), Some(file))
            }
            68..76 => {
                // What was there before stays, also where it was too much for the BPF programs.
                let state = if too_big { Some("failed") } else { kept.as_ref().map(|_| "running") };
                let file = File { state, broken: true, in_force: kept, too_big, lasts };
                ("no YAML", Some("kind: [TracingPolicy\n".to_owned()), Some(file))
            }
            76..80 => {
                // What ran before stays until the agent ends.
                let lasts = kept.is_none();
                let text = kept.as_ref().unwrap_or(&spec).too_big().text();
                let file =
                    File { state: Some("failed"), broken: false, in_force: kept, too_big: true, lasts };
                ("too big", Some(text), Some(file))
            }
            _ => ("removed", None, None),
        };
        let (restart, mut but) = self.maybe_restart(25);
        but.insert(name.clone());
        self.note(format!("{name}: {what}, restart {restart}, {spec:?}"));
        let running = self.busy(restart).then(|| self.start_calls(&but, Some(&spec), None));
        let path = format!("{name}.yaml");
        match text {
            // As an editor does it, or as a careless program does.
            Some(text) if self.random.percent(80) => self.write(&path, &text),
            Some(text) => fs::write(self.agent.policies.join(path), text).expect("written"),
            None => fs::remove_file(self.agent.policies.join(path)).expect("removed"),
        }
        self.replace(&name, file);
        if restart {
            self.sometimes_wait();
            self.restart(true);
        }
        self.settle(false);
        if let Some(running) = running {
            self.finish_calls(running);
        }
    }

    fn new_pod(&mut self, name: String) -> Pod {
        self.next_pod += 1;
        let number = self.next_pod;
        let (uid, id) = (format!("00000000-1111-2222-3333-{number:012}"), format!("{number:064x}"));
        let container = Some(Container::create(&uid, &id).expect("a cgroup"));
        let (namespace, org) = (self.random.pick(&NAMESPACES), self.random.pick(&ORGS));
        Pod { name, namespace, org, uid, id, container }
    }

    fn pods_change(&mut self) {
        let (restart, but) = self.maybe_restart(25);
        let at = (!self.pods.is_empty())
            .then(|| self.random.below(u32::try_from(self.pods.len()).expect("few")) as usize);
        match (self.random.below(100), at) {
            (0..30, Some(at)) => {
                let but_pod = self.pods[at].uid.clone();
                let running = self.busy(restart).then(|| self.start_calls(&but, None, Some(&but_pod)));
                let org = self.random.pick(&ORGS);
                self.note(format!("{} gets the label {org}, restart {restart}", self.pods[at].name));
                self.pods[at].org = org;
                self.pods_changed(restart, running);
            }
            (30..60, Some(at)) => {
                let mut pod = self.pods.remove(at);
                self.note(format!("{}/{} goes, restart {restart}", pod.namespace, pod.name));
                let running = self.busy(restart).then(|| self.start_calls(&but, None, None));
                if self.random.percent(30) {
                    self.write_pods();
                    self.sometimes_wait();
                }
                remove(pod.container.take());
                self.pod_gone();
                self.pods_changed(restart, running);
            }
            _ if self.pods.len() < PODS => {
                let running = self.busy(restart).then(|| self.start_calls(&but, None, None));
                for _ in 0..=self.random.below(3) {
                    // Names come again, as those of a StatefulSet do.
                    let name = format!("pod-{}", self.random.below(20));
                    if self.pods.iter().all(|pod| pod.name != name) {
                        let pod = self.new_pod(name);
                        self.note(format!(
                            "{}/{} comes with {}, restart {restart}",
                            pod.namespace, pod.name, pod.org
                        ));
                        self.pods.push(pod);
                    }
                }
                self.pods_changed(restart, running);
            }
            _ => {}
        }
    }

    fn pods_changed(&mut self, restart: bool, running: Option<super::world::Running>) {
        if restart && self.random.percent(50) {
            self.restart_before(|world| world.write_pods());
        } else {
            self.write_pods();
            if restart {
                self.sometimes_wait();
                self.restart(true);
            }
        }
        self.settle(true);
        if let Some(running) = running {
            self.finish_calls(running);
        }
    }

    /// A pod makes calls, and may be deleted, before it is in the list.
    fn late_pod(&mut self) {
        let (restart, but) = self.maybe_restart(30);
        let name = format!("late-{}", self.next_pod);
        let mut pod = self.new_pod(name);
        self.note(format!("{}/{} comes late with {}, restart {restart}", pod.namespace, pod.name, pod.org));
        let running = self.calls_of(Some(&pod), None, &but, None);
        self.finish_calls(running);
        if self.random.percent(50) {
            remove(pod.container.take());
        }
        if restart {
            self.restart(true);
        }
        self.pods.push(pod);
        self.write_pods();
        self.settle(true);
    }

    /// A pod that is never in the list.
    fn unlisted_pod(&mut self) {
        let pod = self.new_pod(String::new());
        self.note(format!("{} is never listed", pod.uid));
        let running = self.calls_of(None, Some(&pod), &BTreeSet::new(), None);
        self.finish_calls(running);
        let mut waited = 0;
        while sum(&self.agent.metrics(), "gatewatch_attribution_pending_events", &[]) > 0 {
            waited += 1;
            if waited > UNLISTED_WITHIN {
                self.fail("what the pod has made is pending still");
            }
            sleep(Duration::from_secs(1));
        }
        self.check();
        remove(pod.container);
        self.pod_gone();
        self.settle(false);
    }

    fn sometimes_wait(&mut self) {
        let milliseconds = self.random.below(3_000);
        if self.random.percent(60) {
            sleep(Duration::from_millis(u64::from(milliseconds)));
        }
    }

    /// The agent is killed or asked to end, and another one comes, which may be killed while it begins.
    pub(super) fn restart(&mut self, wildly: bool) {
        self.end_agent(wildly);
        self.begin_agent(wildly);
    }

    /// The same, with something that happens while there is no agent.
    fn restart_before(&mut self, happens: impl FnOnce(&mut Self)) {
        self.end_agent(true);
        happens(self);
        self.begin_agent(true);
    }

    fn end_agent(&mut self, wildly: bool) {
        if !self.kept {
            self.pause();
        }
        if wildly && self.random.percent(70) {
            self.note("the agent is killed");
            self.agent.kill();
        } else {
            self.note("the agent is ended");
            self.agent.end();
        }
    }

    fn begin_agent(&mut self, wildly: bool) {
        if wildly {
            self.sometimes_wait();
            while self.random.percent(25) {
                let milliseconds = u64::from(self.random.below(3_000));
                self.note(format!("an agent begins and is killed {milliseconds} ms later"));
                self.agent.launch();
                sleep(Duration::from_millis(milliseconds));
                self.agent.kill();
            }
        }
        self.agent.again();
        self.note("the agent is there again");
        let lost: Vec<(String, File)> = self
            .files
            .iter()
            .filter(|(_, file)| !file.lasts)
            .map(|(name, file)| {
                let state = if file.broken { None } else { file.state };
                let too_big = file.too_big && file.state == Some("failed") && !file.broken;
                (name.clone(), File { state, in_force: None, too_big, lasts: true, ..file.clone() })
            })
            .collect();
        for (name, file) in lost {
            self.replace(&name, Some(file));
        }
        if !self.kept {
            self.go_on();
        }
    }

    /// Removes everything that wasn't there at the start.
    pub(super) fn remove_all(&mut self) {
        self.note("everything goes");
        for name in std::mem::take(&mut self.files).into_keys() {
            fs::remove_file(self.agent.policies.join(format!("{name}.yaml"))).expect("removed");
            self.ledger.watches(&name, &[]);
        }
        for pod in std::mem::take(&mut self.pods) {
            remove(pod.container);
        }
        self.pod_gone();
        self.write_pods();
        self.settle(true);
    }
}

/// Removes a container's cgroup, and its pod's.
fn remove(container: Option<Container>) {
    let Some(container) = container else { return };
    container.remove().expect("the cgroup is removed");
    fs::remove_dir(container.cgroup.parent().expect("the pod's")).expect("the pod's cgroup is removed");
}
