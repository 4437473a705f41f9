//! The suite `cluster`: Gatewatch, installed by its chart, on a real Kubernetes cluster.

use std::{
    fmt::Write as _,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Context, counts::Counts};
use crate::{
    cluster::{self, Cluster, Story, app::READER, samples},
    kube::Life,
    paths,
};

/// Reads of each short-lived pod.
const READS: u32 = 1000;
const READERS: u32 = 5;
const POD_LIMIT: &str = "--timeout=420s";

type Test = fn(&mut Cluster, &cluster::Programs) -> Result<()>;

/// In the order in which they run: the first installs what the others test.
const TESTS: &[(&str, Test)] = &[
    ("the story of the README", story),
    ("a service answers at its address", service),
    ("pods that live for a moment are counted whole, each under its name", short_lived),
    ("counting and scraping go on while the API server is away", without_api_server),
    ("nothing of the chart is in the way when it is gone", uninstall),
];

pub(super) fn run(context: &Context) -> Result<Counts> {
    let built = context.built()?;
    let cache = &context.tools.cache;
    let programs = cluster::programs(cache)?;
    let folder = paths::target().join("cluster-test");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut cluster = Cluster::up(cache, built, &cluster::images(built)?, &folder, Life::WithParent)?;
    let mut counts = Counts::default();
    for (name, test) in TESTS {
        let begun = Instant::now();
        let outcome = test(&mut cluster, &programs).and_then(|()| cluster.check());
        let seconds = begun.elapsed().as_secs_f64();
        match &outcome {
            Ok(()) => println!("test {name} ... ok ({seconds:.1} s)"),
            Err(error) => println!("{error:#}\ntest {name} ... FAILED ({seconds:.1} s)"),
        }
        counts = counts.and(Counts::one(name, outcome.is_ok()));
    }
    if counts.failed > 0 {
        println!("{}", cluster.post_mortem());
    }
    cluster.down()?;
    Ok(counts)
}

fn story(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    Story::new(cluster, programs).tell()
}

/// Through kube-proxy's rules on the node, and through the API server.
fn service(cluster: &mut Cluster, _: &cluster::Programs) -> Result<()> {
    let path = "jsonpath={.spec.clusterIP}";
    let address =
        cluster.kubectl().text(&["get", "service", "deathstar", "--namespace", "test", "--output", path])?;
    let (code, output) = cluster.run_on_node(&format!("curl -sS -m 30 http://{address}/v1/"))?;
    ensure!(code == 0 && output.contains("Ship landed"), "curl on the node: {code}, {output}");
    let proxied = "/api/v1/namespaces/test/services/deathstar:80/proxy/v1/";
    let output = cluster.kubectl().text(&["get", "--raw", proxied])?;
    ensure!(output.contains("Ship landed"), "through the API server: {output}");
    Ok(())
}

const READER_POLICY: &str = "
apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: readers}
spec:
  podSelector: {matchLabels: {app: reader}}
  kprobes:
    - call: security_file_permission
      syscall: false
      args: [{index: 0, type: file}]
      selectors:
        - matchArgs: [{index: 0, operator: Equal, values: [/data]}]
";

fn short_lived(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    let kubectl = cluster.kubectl();
    let mut pods = String::new();
    for number in 0..READERS {
        write!(
            pods,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: reader-{number}, labels: {{app: reader}}}}\nspec:\n  \
             restartPolicy: Never\n  containers: [{{name: reader, image: \"{READER}\", args: [\"{READS}\"]}}]\n"
        )?;
    }
    kubectl.apply(READER_POLICY)?;
    wait_loaded(cluster, "readers")?;
    kubectl.apply(&pods)?;
    let done = "--for=jsonpath={.status.phase}=Succeeded";
    kubectl.text(&["wait", "pod", "--selector=app=reader", done, POD_LIMIT])?;
    let story = Story::new(cluster, programs);
    // A pod's name may come to the node a moment after its end.
    let begun = Instant::now();
    loop {
        let counted = counted_by_readers(&story.scrape()?)?;
        if counted.iter().all(|count| (*count - f64::from(READS)).abs() < 0.5) {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_mins(1) {
            bail!("each of {READERS} pods read {READS} times, and counted was {counted:?}");
        }
        thread::sleep(Duration::from_secs(2));
    }
}

fn counted_by_readers(metrics: &str) -> Result<Vec<f64>> {
    let samples = samples::events(metrics)?;
    let of = |pod: String| -> f64 {
        let own =
            samples.iter().filter(|sample| sample.label("pod") == pod && sample.label("policy") == "readers");
        own.map(|sample| sample.value).sum()
    };
    Ok((0..READERS).map(|number| of(format!("reader-{number}"))).collect())
}

/// Waits until the node has loaded a policy.
fn wait_loaded(cluster: &Cluster, policy: &str) -> Result<()> {
    let path = format!("jsonpath={{.items[0].status.policies[?(@.name==\"{policy}\")].state}}");
    let begun = Instant::now();
    loop {
        let state = cluster.kubectl().text(&["get", "nodetracings", "--output", &path]);
        if matches!(&state, Ok(state) if state == "Loaded") {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_mins(2) {
            bail!("the policy {policy} is not loaded: {state:?}");
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn without_api_server(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    let sudo = |metrics: &str| -> Result<f64> {
        let samples = samples::events(metrics)?;
        Ok(samples
            .iter()
            .filter(|sample| sample.label("policy") == "sudo-invocations" && sample.label("pod").is_empty())
            .map(|sample| sample.value)
            .sum())
    };
    let path = "jsonpath={.spec.clusterIP}";
    let service = ["get", "service", "gatewatch-agent", "--namespace", "gatewatch", "--output", path];
    let address = cluster.kubectl().text(&service)?;
    let scrape = format!("curl -sS -m 30 http://{address}:2112/metrics");
    let before = sudo(&Story::new(cluster, programs).scrape()?)?;
    cluster.plane().stop_api_server()?;
    let observed = (|| -> Result<f64> {
        let (code, output) = cluster.run_on_node("sudo true")?;
        ensure!(code == 0, "sudo ended with code {code}: {output}");
        // Long enough for watches to notice and to try again.
        thread::sleep(Duration::from_secs(20));
        let (code, output) = cluster.run_on_node(&scrape)?;
        ensure!(code == 0, "the agent can't be scraped: {output}");
        sudo(&output)
    })();
    cluster.plane().start_api_server()?;
    let during = observed?;
    ensure!(during > before, "{before} before, {during} after sudo was run without an API server");
    Ok(())
}

fn uninstall(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    Story::new(cluster, programs).uninstall()?;
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: after}\nspec:\n  containers: [{name: a, image: none}]\n";
    cluster.kubectl().with_input(&["create", "--dry-run=server", "-f", "-"], pod)?;
    cluster
        .kubectl()
        .with_input(&["create", "--dry-run=server", "-f", "-"], &READER_POLICY.replace("readers", "new"))?;
    Ok(())
}
