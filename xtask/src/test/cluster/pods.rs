//! Pods that change, and pods that are hardly there.

use std::ops::Range;

use anyhow::{Context as _, Result, ensure};

use super::{POD_LIMIT, until, wait_loaded};
use crate::cluster::{self, Cluster, Story, app::READER, samples};

/// Reads of each short-lived pod.
const READS: u32 = 1000;
/// How many there are, and how many at once: a node takes 110.
const READERS: u32 = 100;
const AT_ONCE: u32 = 20;

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
        - matchArgs: [{index: 0, operator: Equal, values: [/etc/hosts]}]
";

/// What the application's policy counts of a pod's reads of the password file, before and after it gets a label that the
/// policy selects, and when it has lost it again.
pub(super) fn relabelled(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    let kubectl = cluster.kubectl();
    let label = |value: &str| {
        let value = format!("org={value}");
        kubectl.text(&["label", "pod", "xwing", "--namespace=test", &value, "--overwrite"])
    };
    let read_and_count = || -> Result<f64> {
        kubectl.text(&["exec", "xwing", "--namespace=test", "--", "cat", "/etc/shadow"])?;
        let metrics = Story::new(cluster, programs).scrape()?;
        let samples = samples::events(&metrics)?;
        let of_policy = |sample: &&samples::Sample<'_>| {
            sample.label("pod") == "xwing" && sample.label("policy") == "application-file-system-access"
        };
        Ok(samples.iter().filter(of_policy).map(|sample| sample.value).sum())
    };
    let before = read_and_count()?;
    ensure!(before < 0.5, "xwing was counted {before} times before it was selected");
    label("empire")?;
    until("xwing is counted", || Ok(read_and_count()? > 0.0))?;
    label("alliance")?;
    let mut last = read_and_count()?;
    until("xwing is counted no more", || {
        let now = read_and_count()?;
        Ok(now - std::mem::replace(&mut last, now) < 0.5)
    })
}

/// Each reads as soon as it runs, and has ended before a watch could have reported it.
pub(super) fn short_lived(cluster: &mut Cluster, programs: &cluster::Programs) -> Result<()> {
    cluster.kubectl().apply(READER_POLICY)?;
    wait_loaded(cluster, "readers")?;
    for first in (0..READERS).step_by(AT_ONCE as usize) {
        batch(cluster, programs, first..first + AT_ONCE)?;
    }
    cluster.kubectl().text(&["delete", "tracingpolicy", "readers"])?;
    Ok(())
}

/// A pod that reads so many times and ends. `labels` come behind `app: reader`, each after a comma.
pub(super) fn reader(name: &str, labels: &str, reads: u32) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: reader{labels}}}}}\nspec:\n  \
         restartPolicy: Never\n  containers: [{{name: reader, image: \"{READER}\", args: [\"{reads}\"]}}]\n"
    )
}

fn batch(cluster: &Cluster, programs: &cluster::Programs, numbers: Range<u32>) -> Result<()> {
    let kubectl = cluster.kubectl();
    let mut pods = String::new();
    for number in numbers.clone() {
        pods += &reader(&format!("reader-{number}"), "", READS);
    }
    kubectl.apply(&pods)?;
    let done = "--for=jsonpath={.status.phase}=Succeeded";
    kubectl.text(&["wait", "pod", "--selector=app=reader", done, POD_LIMIT])?;
    // A pod's name may come to the node a moment after its end.
    let mut counted = Vec::new();
    until("each pod is counted whole", || {
        counted = counted_by_readers(&Story::new(cluster, programs).scrape()?, numbers.clone())?;
        Ok(counted.iter().all(|count| (*count - f64::from(READS)).abs() < 0.5))
    })
    .with_context(|| format!("each of {numbers:?} read {READS} times, and counted was {counted:?}"))?;
    // Without a wait for their end: pods that have ended take no place on the node.
    kubectl.text(&["delete", "pod", "--selector=app=reader", "--grace-period=1", "--wait=false"])?;
    Ok(())
}

fn counted_by_readers(metrics: &str, numbers: Range<u32>) -> Result<Vec<f64>> {
    let samples = samples::events(metrics)?;
    let of = |pod: String| -> f64 {
        let own =
            samples.iter().filter(|sample| sample.label("pod") == pod && sample.label("policy") == "readers");
        own.map(|sample| sample.value).sum()
    };
    Ok(numbers.map(|number| of(format!("reader-{number}"))).collect())
}
