//! The suite `gate`: kubectl, a real API server, and two replicas of the webhook behind a balancer.
//!
//! The checks run one after the other on one cluster, in this order. The certificates live for minutes, so that they are
//! renewed while all else is tested.

mod agents;
mod answers;
mod attacks;
mod coverage;
mod failures;
mod kernels;
mod load;

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::plane::{self, Options, Plane};
use crate::{
    cache::Cache,
    kube::{Program, Programs},
};

/// A check by its name.
type Check = (&'static str, fn(&mut Stage) -> Result<()>);

const CHECKS: &[Check] = &[
    ("it is ready within twenty seconds", ready_in_time),
    ("a policy's errors are all said at once", answers::all_errors_at_once),
    ("kubectl silently applies the last of two equal keys", answers::duplicate_key),
    ("the corpus is answered as the command line says", answers::corpus),
    ("the two programs that run policies get different answers", answers::targets),
    ("the sample application and the policies, in both orders", coverage::both_orders),
    ("a likely typo in a label is reported with the label that was meant", coverage::near_miss),
    ("a dry run says the same and does nothing", coverage::dry_run),
    ("relabelling a pod names the policies that lose it", coverage::relabel),
    ("deleting a policy names the pods that it no longer covers", coverage::delete_policy),
    ("a namespace that requires coverage rejects pods that no policy selects", coverage::required),
    ("coverage is an object that people can read", coverage::object),
    ("requests without the secret of the registration are rejected", attacks::secret),
    ("hints to authors of a namespace name no other namespace", attacks::hints),
    ("a nodeSelector that selects no node is a warning", attacks::no_node),
    ("the state of a policy is what live agents report of this boot", attacks::true_state),
    (
        "one PolicyCoverage that cannot be written keeps no other from being written",
        attacks::one_failing_object,
    ),
    ("profiles are fetched from the node's own addresses alone", attacks::profile_address),
    ("modes are reloaded, and a bad table is rejected", answers::modes),
    ("policies are checked for the kernels of the nodes", kernels::preflight),
    ("an object that can't be read stops no watch", kernels::unreadable),
    ("leadership ends at its deadline while the API server stalls", attacks::stalled),
    ("only loaded policies cover, and deletions at once leave no pod uncovered", attacks::coverage),
    ("the API server is restarted and the caches come back", failures::api_server_restart),
    ("etcd is compacted while watches are broken off", failures::history_is_gone),
    ("a replica is killed under load", load::kill),
    ("replicas are restarted one by one under load", load::rolling_restart),
    ("certificates change under load", load::rotation),
    ("the webhook is away, and how to get out", failures::away),
];

/// What checks work with.
pub(crate) struct Stage {
    pub(crate) plane: Plane,
    pub(crate) webhook: std::path::PathBuf,
    /// What it took to start, from the built webhook to the open gate.
    ready_after: Duration,
}

/// What kubectl printed, of both outputs, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) text: String,
}

/// Runs the checks whose name contains one of `filters`, all where there are none; gives what a test program prints.
pub(crate) fn run(cache: &Cache, filters: &[String]) -> Result<Vec<(String, bool)>> {
    let webhook = plane::build_webhook()?;
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    // Long enough for the balancer to see that a replica is about to end.
    let flags = ["--leaf-life=90s", "--ca-life=150s", "--ca-settle=10s", "--recheck=5s", "--drain=2s"];
    let options = Options {
        replicas: 2,
        webhook_flags: flags.map(str::to_owned).to_vec(),
        ..Options::in_folder(folder.path())
    };
    Programs::ready(cache, &[Program::ApiServer, Program::Kubectl])?;
    let began = Instant::now();
    let plane = Plane::up(cache, &webhook, options)?;
    let mut stage = Stage { plane, webhook, ready_after: began.elapsed() };
    let mut results = Vec::new();
    for (name, check) in CHECKS {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        let began = Instant::now();
        let outcome = check(&mut stage);
        let seconds = began.elapsed().as_secs_f64();
        match &outcome {
            Ok(()) => println!("test {name} ... ok ({seconds:.1} s)"),
            Err(error) => println!("test {name} ... FAILED ({seconds:.1} s)\n  {error:#}"),
        }
        results.push(((*name).to_owned(), outcome.is_ok()));
    }
    if results.iter().any(|(_, ok)| !ok) {
        for replica in &stage.plane.replicas {
            println!("--- the end of a replica's log\n{}", replica.daemon.last_words());
        }
    }
    Ok(results)
}

/// How long `cargo xtask gate up` may take when everything is built.
const READY: Duration = Duration::from_secs(20);

/// The stage has one replica more than `gate up`. A machine that is busy with something else gets two more chances.
fn ready_in_time(stage: &mut Stage) -> Result<()> {
    let mut took = vec![stage.ready_after];
    while took.iter().all(|took| *took > READY) && took.len() < 3 {
        let folder = tempfile::tempdir().context("cannot create a folder")?;
        let cache = Cache::open()?;
        let began = Instant::now();
        drop(Plane::up(&cache, &stage.webhook, Options::in_folder(folder.path()))?);
        took.push(began.elapsed());
    }
    let seconds: Vec<String> = took.iter().map(|took| format!("{:.1} s", took.as_secs_f64())).collect();
    println!("  ready after {}", seconds.join(", "));
    ensure!(took.iter().any(|took| *took <= READY), "ready after {}", seconds.join(", "));
    Ok(())
}

impl Stage {
    /// kubectl with these arguments and this input.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: &str) -> Result<Said> {
        use std::io::Write as _;
        let mut child = self
            .plane
            .kubectl()
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            // Where kubectl doesn't read it, it has said why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().context("cannot wait for kubectl")?;
        let text = [output.stderr, output.stdout].concat();
        Ok(Said { ok: output.status.success(), text: String::from_utf8_lossy(&text).into_owned() })
    }

    pub(crate) fn apply(&self, manifest: &str) -> Result<Said> {
        self.kubectl(&["apply", "-f", "-"], manifest)
    }

    /// Does what has to succeed without a word from the gate.
    pub(crate) fn silently(&self, arguments: &[&str], input: &str) -> Result<()> {
        let said = self.kubectl(arguments, input)?;
        ensure!(said.ok && !said.text.contains("Warning:"), "kubectl {}: {}", arguments.join(" "), said.text);
        Ok(())
    }

    /// Does what has to succeed, whatever is said.
    pub(crate) fn must(&self, arguments: &[&str], input: &str) -> Result<String> {
        let said = self.kubectl(arguments, input)?;
        ensure!(said.ok, "kubectl {}: {}", arguments.join(" "), said.text);
        Ok(said.text)
    }

    /// Waits until something holds on every replica: watches need a moment.
    pub(crate) fn eventually(&self, what: &str, holds: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let began = Instant::now();
        loop {
            let last = holds(self);
            if let Ok(true) = last {
                return Ok(());
            }
            if began.elapsed() > Duration::from_mins(1) {
                return match last {
                    Err(error) => Err(error.context(what.to_owned())),
                    Ok(_) => bail!("{what}: not after 60 s"),
                };
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until every replica has a number of objects of a kind in its cache.
    pub(crate) fn cached(&self, kind: &str, count: f64) -> Result<()> {
        self.eventually(&format!("{count} objects of kind {kind} in the caches"), |stage| {
            for replica in &stage.plane.replicas {
                let found =
                    super::probe::metric(replica.metrics, "gatewatch_cache_objects", &[("cache", kind)])?;
                #[expect(clippy::float_cmp, reason = "small whole numbers")]
                if found != count {
                    bail!("{found} of {count}");
                }
            }
            Ok(true)
        })
    }
}

impl Said {
    /// That it failed, or not, and said all of this.
    pub(crate) fn expect(&self, ok: bool, parts: &[&str]) -> Result<()> {
        for part in parts {
            ensure!(self.text.contains(part), "expected {part:?} in: {}", self.text);
        }
        ensure!(self.ok == ok, "expected {}: {}", if ok { "success" } else { "a rejection" }, self.text);
        Ok(())
    }
}

/// A pod of this name with these labels.
pub(crate) fn pod(namespace: &str, name: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n\
         spec: {{containers: [{{name: c, image: example/app}}]}}\n---\n"
    )
}

/// A policy of the cluster for pods with these labels.
pub(crate) fn policy(name: &str, labels: &str) -> String {
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: {name}}}\nspec:\n  podSelector: \
         {{matchLabels: {{{labels}}}}}\n  kprobes: [{{call: sys_setuid, syscall: true, message: setuid, args: \
         [{{index: 0, type: int}}]}}]\n---\n"
    )
}
