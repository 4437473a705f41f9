//! What README.md tells, on a cluster: Gatewatch is installed by its chart, the sample application runs, its policies are
//! applied, programs do what the policies watch, and what was counted is scraped.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{names, running::Cluster, samples, samples::Sample};
use crate::{
    kube::{Program, Programs},
    paths, process,
};

/// The namespace that Gatewatch is installed into.
const NAMESPACE: &str = "gatewatch";

/// An emulated node takes a while to start a pod, and longer on a machine that is busy.
const POD_LIMIT: &str = "420s";
const POLICIES_LIMIT: Duration = Duration::from_mins(4);

/// What the README's commands do on the node itself, outside of every pod.
const ON_THE_NODE: &[&str] = &[
    "sudo pwd",
    "setuid 1 ls /",
    "setpriv --reuid 1000 --regid 1000 --clear-groups unshare --user --map-root-user true",
];

/// And in a pod.
const IN_A_POD: &[&[&str]] = &[
    &["touch", "/etc/some_file.txt"],
    &["cat", "/etc/shadow"],
    &["curl", "--silent", "--max-time", "5", "http://203.0.113.80/"],
];

/// What has to come out: binary, hook, pod, policy. Namespace and workload follow from the pod.
const EXPECTED: &[(&str, &str, &str, &str)] = &[
    ("/usr/bin/setuid", "kprobe:__sys_setuid", "", "privileges-raise"),
    ("/usr/bin/sudo", "kprobe:__x64_sys_execve", "", "sudo-invocations"),
    ("/usr/bin/unshare", "kprobe:create_user_ns", "", "privileges-raise"),
    ("/usr/bin/touch", "kprobe:security_file_permission", "tiefighter", "application-file-system-access"),
    ("/usr/bin/curl", "kprobe:tcp_connect", "tiefighter", "external-http-call"),
    ("/usr/bin/cat", "kprobe:security_file_permission", "tiefighter", "application-file-system-access"),
];

/// Tells what is done, as a person would type it, and what comes of it.
#[derive(Debug)]
pub(crate) struct Story<'a> {
    cluster: &'a Cluster,
    helm: PathBuf,
}

impl<'a> Story<'a> {
    pub(crate) fn new(cluster: &'a Cluster, programs: &Programs) -> Self {
        Self { cluster, helm: programs.path(Program::Helm) }
    }

    /// The whole of it. Fails where something that has to come out does not.
    pub(crate) fn tell(&self) -> Result<()> {
        self.install()?;
        self.start_application()?;
        self.apply_policies()?;
        println!("\non the node, outside of every pod:");
        for line in ON_THE_NODE {
            println!("node$ {line}");
            let (code, output) = self.cluster.run_on_node(line)?;
            if code != 0 {
                bail!("`{line}` ended with code {code} on the node: {output}");
            }
        }
        println!("\nin the pod tiefighter, then in xwing, which the application's policies don't select:");
        for pod in ["tiefighter", "xwing"] {
            for command in IN_A_POD {
                self.exec(pod, command)?;
            }
        }
        let metrics = self.scrape()?;
        check(&metrics)
    }

    /// Installs the chart with the images that the node has.
    pub(crate) fn install(&self) -> Result<()> {
        self.install_with(&[])
    }

    /// The same with values, each as `--set` takes it.
    pub(crate) fn install_with(&self, values: &[&str]) -> Result<()> {
        let chart = paths::root().join("charts/gatewatch");
        let verb = if values.is_empty() { "install" } else { "upgrade" };
        let set: Vec<String> = values.iter().map(|value| format!(" --set {value}")).collect();
        println!(
            "$ helm {verb} gatewatch charts/gatewatch --namespace {NAMESPACE} --create-namespace --wait{}",
            set.concat()
        );
        let mut helm = Command::new(&self.helm);
        helm.arg("--kubeconfig").arg(self.cluster.kubectl().kubeconfig());
        helm.args(["upgrade", "--install", "gatewatch"]).arg(&chart);
        helm.args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", POD_LIMIT]);
        // An emulated CPU answers in seconds what takes another milliseconds.
        let seconds = ["webhook.policies.timeoutSeconds=20", "webhook.workloads.timeoutSeconds=20"];
        for value in seconds.iter().chain(values) {
            helm.args(["--set", value]);
        }
        let said = process::text(&mut helm).map_err(|error| self.why_not(error))?;
        println!("{}", first_lines(&said, 6));
        self.kubectl(&["get", "pods", "--namespace", NAMESPACE])?;
        Ok(())
    }

    /// Takes the chart away again.
    pub(crate) fn uninstall(&self) -> Result<()> {
        println!("$ helm uninstall gatewatch --namespace {NAMESPACE} --wait");
        let mut helm = Command::new(&self.helm);
        helm.arg("--kubeconfig").arg(self.cluster.kubectl().kubeconfig());
        helm.args(["uninstall", "gatewatch", "--namespace", NAMESPACE, "--wait", "--timeout", POD_LIMIT]);
        process::text(&mut helm)?;
        Ok(())
    }

    /// Starts the sample application and waits until its pods run.
    pub(crate) fn start_application(&self) -> Result<()> {
        let manifest = paths::root().join("test-app.yaml");
        self.kubectl_file(&["apply", "-f"], &manifest, "test-app.yaml")?;
        let timeout = format!("--timeout={POD_LIMIT}");
        let wait = ["wait", "pod", "--all", "--namespace", "test", "--for=condition=Ready", &timeout];
        self.cluster.kubectl().text(&wait).map_err(|error| self.why_not(error))?;
        self.kubectl(&["get", "pods", "--namespace", "test", "--show-labels"])?;
        Ok(())
    }

    /// Applies the application's policies and waits until the node counts for all that the cluster has.
    pub(crate) fn apply_policies(&self) -> Result<()> {
        let policies = paths::root().join("policies/application");
        self.kubectl_file(&["apply", "-f"], &policies, "policies/application/")?;
        let count = ["get", "tracingpolicies", "--output", "name"];
        let wanted = self.cluster.kubectl().text(&count)?.lines().count();
        let begun = Instant::now();
        loop {
            let path = "jsonpath={.status.loaded} {.status.failed}";
            let state = self.cluster.kubectl().text(&["get", "nodetracing", names::NAME, "--output", path]);
            let state = state.unwrap_or_default();
            if state == format!("{wanted} 0") {
                break;
            }
            if begun.elapsed() > POLICIES_LIMIT {
                bail!("of {wanted} policies the node has loaded, and failed to load: {state:?}");
            }
            thread::sleep(Duration::from_millis(500));
        }
        self.kubectl(&["get", "nodetracings,policycoverages"])?;
        Ok(())
    }

    /// Runs a command in a pod of the sample application.
    fn exec(&self, pod: &str, command: &[&str]) -> Result<()> {
        let arguments = [&["exec", pod, "--namespace", "test", "--"], command].concat();
        println!("$ kubectl {}", arguments.join(" "));
        let done = self.cluster.kubectl().text(&arguments);
        // No server answers curl, so it fails, which doesn't matter here.
        if let Err(error) = done
            && command[0] != "curl"
        {
            bail!("in {pod}: {error:#}");
        }
        Ok(())
    }

    /// What the agent exports, fetched on the node from its Service's address.
    pub(crate) fn scrape(&self) -> Result<String> {
        let agent = Address::of(self.cluster)?;
        println!("\nnode$ curl {}:2112/metrics | grep {}", agent.0, samples::EVENTS);
        let text = agent.scrape(self.cluster)?;
        for line in text.lines().filter(|line| line.starts_with(samples::EVENTS)) {
            println!("{line}");
        }
        Ok(text)
    }

    /// Runs kubectl, and shows what it prints.
    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        println!("$ kubectl {}", arguments.join(" "));
        let output = self.cluster.kubectl().shown(arguments)?;
        println!("{}", output.trim_end());
        Ok(output)
    }

    /// The same with a file, which is shown by its name in the tree.
    fn kubectl_file(&self, arguments: &[&str], file: &Path, shown: &str) -> Result<String> {
        println!("$ kubectl {} {shown}", arguments.join(" "));
        let file = file.to_str().context("the tree's path is not UTF-8")?;
        let output = self.cluster.kubectl().shown(&[arguments, &[file]].concat())?;
        println!("{}", output.trim_end());
        Ok(output)
    }

    /// What the cluster can say about a failure.
    fn why_not(&self, error: anyhow::Error) -> anyhow::Error {
        let kubectl = self.cluster.kubectl();
        let mut said = String::new();
        for arguments in [
            &["get", "pods", "--all-namespaces", "--output", "wide"][..],
            &[
                "get",
                "events",
                "--all-namespaces",
                "--sort-by=.lastTimestamp",
                "--field-selector=type!=Normal",
            ],
            &[
                "logs",
                "--namespace",
                NAMESPACE,
                "--selector=app.kubernetes.io/name=gatewatch",
                "--tail=15",
                "--prefix",
            ],
        ] {
            let text = kubectl.text(arguments).unwrap_or_else(|error| format!("{error:#}"));
            // Writing to a String can't fail.
            let _ = write!(said, "\n$ kubectl {}\n{}", arguments.join(" "), last_lines(&text, 25));
        }
        error.context(said)
    }
}

/// Where the agent's Service is: asked for while there is an API server.
pub(crate) struct Address(String);

impl Address {
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let path = "jsonpath={.spec.clusterIP}";
        let service = ["get", "service", "gatewatch-agent", "--namespace", NAMESPACE, "--output", path];
        Ok(Self(cluster.kubectl().text(&service)?))
    }

    /// What the agent exports, fetched on the node.
    pub(crate) fn scrape(&self, cluster: &Cluster) -> Result<String> {
        let (code, text) = cluster.run_on_node(&format!("curl -sS -m 30 http://{}:2112/metrics", self.0))?;
        if code != 0 {
            bail!("cannot scrape: curl ended with code {code}: {text}");
        }
        Ok(text)
    }
}

/// Whether all expected samples are there, and none that must not be.
fn check(metrics: &str) -> Result<()> {
    let samples = samples::events(metrics)?;
    for (binary, hook, pod, policy) in EXPECTED {
        let namespace = if pod.is_empty() { "" } else { "test" };
        let labels =
            [("binary", *binary), ("hook", hook), ("namespace", namespace), ("pod", pod), ("policy", policy)];
        let found = samples.iter().find(|sample| {
            labels.iter().all(|(name, value)| sample.label(name) == *value)
                && sample.label("workload") == *pod
        });
        if !found.is_some_and(|sample| sample.value >= 1.0) {
            bail!("a line is missing: {policy}: {binary} at {hook} in {pod:?}");
        }
    }
    // Policies for everybody count what the container runtime does to start a program in it.
    let of_application = |policy: &str| EXPECTED.iter().any(|(.., pod, of)| !pod.is_empty() && *of == policy);
    let not_selected =
        |sample: &&Sample<'_>| sample.label("pod") == "xwing" && of_application(sample.label("policy"));
    if let Some(sample) = samples.iter().find(not_selected) {
        bail!("xwing was counted, which the application's policies don't select: {sample:?}");
    }
    println!("\nevery expected line is there, and the application's policies have none of xwing's.");
    Ok(())
}

fn first_lines(text: &str, count: usize) -> String {
    text.lines().take(count).collect::<Vec<_>>().join("\n")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
