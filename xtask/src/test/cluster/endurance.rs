//! Endurance on a cluster: pods that read and end, policies that come, change and go, agents that are killed and replaced,
//! and an API server that is restarted, at random and for long, with exact accounts.
//!
//! A pod reads one file a given number of times, which is entered in an account; policies count these reads, and a
//! scrape must show what was entered, pod by pod and policy by policy.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail, ensure};
use fastrand::Rng;

use super::{
    AGENT, POD_LIMIT, on_node, outages::kill_agent, pods::reader, rolled_out, run_sudo, sudo, until, up,
};
use crate::{
    cluster::{self, Address, Cluster, Story, samples},
    test::{Context, counts::Counts, suites::endurance_minutes},
};

const POLICIES: usize = 4;
const KINDS: [&str; 2] = ["a", "b"];
/// Kubelet starts a container again after 10 s, and waits twice as long each time until it has run for ten minutes.
const BETWEEN_KILLS: Duration = Duration::from_mins(4);
/// Labels of all objects that come and go.
const OURS: &str = "app=reader";

pub(in crate::test) fn run(context: &Context) -> Result<Counts> {
    let minutes = endurance_minutes()?;
    let seed = context.passed_on.iter().find_map(|word| word.strip_prefix("--seed="));
    let seed = match seed {
        Some(seed) => seed.parse().context("invalid --seed: expected a number")?,
        None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos().into()),
    };
    println!("endurance: {minutes} minutes by --seed={seed}");
    let (mut cluster, programs) = up(context)?;
    let outcome = everything_at_random(&mut cluster, &programs, minutes, seed).and_then(|()| cluster.check());
    if let Err(error) = &outcome {
        println!("{error:#}\n{}", cluster.post_mortem());
    }
    cluster.down()?;
    Ok(Counts::one("everything at random on a cluster", outcome.is_ok()))
}

fn everything_at_random(
    cluster: &mut Cluster,
    programs: &cluster::Programs,
    minutes: u64,
    seed: u64,
) -> Result<()> {
    Story::new(cluster, programs).install()?;
    until("the host's uses of sudo are counted", || {
        Ok(on_node(cluster, "sudo-invocations", "state")? == "Loaded")
    })?;
    let agent = Address::of(cluster)?;
    let before = sudo(&agent.scrape(cluster)?)?;
    run_sudo(cluster)?;
    let now = sudo(&agent.scrape(cluster)?)?;
    ensure!(now - before >= 1.0, "one use of sudo is counted {} times", now - before);
    let mut world = World {
        cluster,
        agent,
        random: Rng::with_seed(seed),
        policies: BTreeMap::new(),
        pods: BTreeMap::new(),
        sudo: now,
        each: now - before,
        next: 0,
        killed: None,
        diary: Vec::new(),
        begun: Instant::now(),
    };
    // An agent that continues another's counts has the resources that are compared at the end.
    world.replace_agent()?;
    let first = world.resources()?;
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut steps = 0;
    while Instant::now() < end {
        world.step().and_then(|()| world.check()).map_err(|error| world.failed(&error))?;
        steps += 1;
        println!(
            "endurance: {:.0} s, {steps} steps, {} pods and {} policies are exact",
            world.begun.elapsed().as_secs_f64(),
            world.next,
            world.policies.len()
        );
    }
    world.finish(&first).map_err(|error| world.failed(&error))?;
    println!("endurance: {steps} steps; nothing is left over");
    Ok(())
}

/// A pod, and what it has read while each policy counted it.
struct Pod {
    kind: &'static str,
    reads: BTreeMap<String, f64>,
}

struct World<'a> {
    cluster: &'a mut Cluster,
    agent: Address,
    random: Rng,
    /// The kind of pods that each selects; none: all of them.
    policies: BTreeMap<String, Option<&'static str>>,
    pods: BTreeMap<String, Pod>,
    /// What sudo is to be counted, and how often one use is.
    sudo: f64,
    each: f64,
    /// The number of the next pod, or of the next change.
    next: u32,
    killed: Option<Instant>,
    diary: Vec<String>,
    begun: Instant,
}

impl World<'_> {
    /// Says what is being done, and keeps it in mind.
    fn note(&mut self, what: impl AsRef<str>) {
        let line = format!("{:7.1} s: {}", self.begun.elapsed().as_secs_f64(), what.as_ref());
        println!("{line}");
        self.diary.push(line);
    }

    /// What is wrong, and what led to it.
    fn failed(&self, error: &anyhow::Error) -> anyhow::Error {
        let last = self.diary.len().saturating_sub(40);
        anyhow::anyhow!("{error:#}\nWhat was done last:\n{}", self.diary[last..].join("\n"))
    }

    fn step(&mut self) -> Result<()> {
        match self.random.u32(0..100) {
            0..35 => self.change_policy(),
            35..75 => self.pods_read(),
            75..90 => self.disturb(),
            _ => self.pods_go(),
        }
    }

    fn change_policy(&mut self) -> Result<()> {
        let name = format!("endurance-{}", self.random.usize(0..POLICIES));
        if self.policies.contains_key(&name) && self.random.u32(0..3) == 0 {
            self.note(format!("{name} goes"));
            self.kubectl(&["delete", "tracingpolicy", &name])?;
            until("the node has let go of the policy", || {
                Ok(on_node(self.cluster, &name, "state")?.is_empty())
            })?;
            self.policies.remove(&name);
            for pod in self.pods.values_mut() {
                pod.reads.remove(&name);
            }
            return Ok(());
        }
        self.next += 1;
        let kind = self.random.bool().then(|| KINDS[self.random.usize(0..KINDS.len())]);
        self.note(format!("{name} selects {kind:?}"));
        let text = policy(&name, kind, self.next);
        until("the gate lets the policy pass", || self.cluster.kubectl().apply(&text).map(|_| true))?;
        let generation = ["get", "tracingpolicy", &name, "--output", "jsonpath={.metadata.generation}"];
        let generation = self.kubectl(&generation)?;
        until("the node has loaded the policy", || {
            Ok(on_node(self.cluster, &name, "observedGeneration")? == generation
                && on_node(self.cluster, &name, "state")? == "Loaded")
        })?;
        self.policies.insert(name, kind);
        Ok(())
    }

    /// Some pods read, mostly with a disturbance meanwhile.
    fn pods_read(&mut self) -> Result<()> {
        let mut text = String::new();
        let mut names = Vec::new();
        for _ in 0..self.random.u32(1..=4) {
            self.next += 1;
            let (name, kind) = (format!("reader-{}", self.next), KINDS[self.random.usize(0..KINDS.len())]);
            let reads = self.random.u32(1..1_000);
            self.note(format!("{name} of kind {kind} reads {reads} times"));
            text += &reader(&name, &format!(", kind: {kind}"), reads);
            let counting = self.policies.iter().filter(|(_, of)| of.is_none_or(|of| of == kind));
            let reads = counting.map(|(policy, _)| (policy.clone(), f64::from(reads))).collect();
            self.pods.insert(name.clone(), Pod { kind, reads });
            names.push(format!("pod/{name}"));
        }
        self.cluster.kubectl().apply(&text)?;
        if self.random.u32(0..10) < 6 {
            thread::sleep(Duration::from_millis(self.random.u64(0..15_000)));
            self.disturb()?;
        }
        let done = ["wait", "--for=jsonpath={.status.phase}=Succeeded", POD_LIMIT];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.kubectl(&[&done[..], &names[..]].concat())?;
        Ok(())
    }

    /// Takes the pods away, whose series go some time later.
    fn pods_go(&mut self) -> Result<()> {
        self.note("all pods go");
        self.kubectl(&["delete", "pod", "--selector", OURS, "--grace-period=1", POD_LIMIT])?;
        self.pods.clear();
        Ok(())
    }

    fn disturb(&mut self) -> Result<()> {
        match self.random.u32(0..10) {
            0..4 => self.restart_api_server(),
            4..7 => self.kill_agent(),
            _ => self.replace_agent(),
        }
    }

    fn restart_api_server(&mut self) -> Result<()> {
        let seconds = self.random.u64(1..20);
        self.note(format!("the API server is away for {seconds} s"));
        self.cluster.plane().stop_api_server()?;
        let meanwhile = self.use_sudo().and_then(|()| {
            if self.random.bool() {
                self.kill_agent()?;
            }
            thread::sleep(Duration::from_secs(seconds));
            self.use_sudo()
        });
        self.cluster.plane().start_api_server()?;
        self.note("the API server is there again");
        meanwhile
    }

    fn kill_agent(&mut self) -> Result<()> {
        if self.killed.is_some_and(|at| at.elapsed() < BETWEEN_KILLS) {
            return Ok(());
        }
        self.note("the agent is killed");
        kill_agent(self.cluster)?;
        self.killed = Some(Instant::now());
        self.use_sudo()
    }

    fn replace_agent(&mut self) -> Result<()> {
        self.note("the agent is replaced");
        self.kubectl(&[&["rollout", "restart"], &AGENT[..]].concat())?;
        self.use_sudo()?;
        rolled_out(self.cluster)
    }

    fn use_sudo(&mut self) -> Result<()> {
        run_sudo(self.cluster)?;
        self.sudo += self.each;
        Ok(())
    }

    /// kubectl, tried again while the API server isn't ready for everything yet.
    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut said = String::new();
        until(&format!("`kubectl {}` succeeds", arguments.join(" ")), || {
            said = self.cluster.kubectl().text(arguments)?;
            Ok(true)
        })?;
        Ok(said)
    }

    /// Waits until a scrape shows what was made. More than that is an error at once.
    fn check(&mut self) -> Result<()> {
        let mut less = String::new();
        let mut more = String::new();
        let exact = until("all that was made is counted", || {
            let metrics = self.agent.scrape(self.cluster)?;
            (less, more) = self.differences(&metrics)?;
            Ok(less.is_empty() || !more.is_empty())
        });
        if !more.is_empty() {
            bail!("counted more often than made:\n{more}{less}");
        }
        exact.with_context(|| format!("not counted yet:\n{less}"))
    }

    /// What is counted less often than it was made, and more often.
    fn differences(&self, metrics: &str) -> Result<(String, String)> {
        let samples = samples::events(metrics)?;
        let (mut less, mut more) = (String::new(), String::new());
        let mut compare = |what: &str, made: f64, counted: f64| {
            // Counts are whole numbers.
            let differences = if counted > made + 0.5 { &mut more } else { &mut less };
            if (counted - made).abs() > 0.5 {
                // Writing to a String can't fail.
                let _ = writeln!(differences, "{what}: made {made}, counted {counted}");
            }
        };
        compare("sudo", self.sudo, sudo(metrics)?);
        for (name, pod) in &self.pods {
            for policy in self.policies.keys() {
                let own = samples
                    .iter()
                    .filter(|sample| sample.label("pod") == name && sample.label("policy") == policy);
                let made = pod.reads.get(policy).copied().unwrap_or(0.0);
                let what = format!("{policy}: {name} of kind {}", pod.kind);
                compare(&what, made, own.map(|sample| sample.value).sum());
            }
        }
        Ok((less, more))
    }

    /// What the agent has open, by kind, and what is pinned.
    fn resources(&self) -> Result<String> {
        let (code, output) = self.cluster.run_on_node(RESOURCES)?;
        ensure!(code == 0 && output.contains("bpf-map"), "the agent's descriptors can't be listed: {output}");
        Ok(output)
    }

    /// Takes everything away again: nothing may be left over.
    fn finish(&mut self, first: &str) -> Result<()> {
        self.pods_go()?;
        for name in std::mem::take(&mut self.policies).into_keys() {
            self.note(format!("{name} goes"));
            self.kubectl(&["delete", "tracingpolicy", &name])?;
        }
        self.check()?;
        until("the series of policies are removed", || {
            let metrics = self.agent.scrape(self.cluster)?;
            let samples = samples::events(&metrics)?;
            Ok(samples.iter().all(|sample| !sample.label("policy").starts_with("endurance-")))
        })?;
        self.replace_agent()?;
        self.check()?;
        let mut now = String::new();
        let same = until("the agent has what it had at the start", || {
            now = self.resources()?;
            Ok(now == first)
        });
        same.with_context(|| format!("at the start:\n{first}\nnow:\n{now}"))
    }
}

/// Sockets are those of clients and of watches that come and go.
const RESOURCES: &str = "
for p in /proc/[0-9]*; do
    [ \"$(cat $p/comm 2>/dev/null)\" = gatewatch-agent ] || continue
    for f in $p/fd/*; do readlink $f; done | sed 's/:\\[.*//' | grep -v '^socket$' | sort | uniq -c
done
find /sys/fs/bpf | sort
";

/// A policy that counts reads of the file that pods read, and is another one for each number.
fn policy(name: &str, kind: Option<&str>, number: u32) -> String {
    let kind = kind.map_or_else(String::new, |kind| format!(", kind: {kind}"));
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}, labels: {{app: reader}}}}\nspec:\n  \
         podSelector: {{matchLabels: {{app: reader{kind}}}}}\n  kprobes:\n  - call: security_file_permission\n    syscall: false\n    \
         args: [{{index: 0, type: file}}]\n    selectors:\n    - matchArgs: [{{index: 0, operator: Equal, values: [/etc/hosts, /other/{number}]}}]\n"
    )
}
