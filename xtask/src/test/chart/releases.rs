//! The life of a release, with real helm on a real API server: install, upgrade, rollback, uninstall.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    Tests,
    render::{NAMESPACE, helm, output},
};
use crate::{
    chart,
    kube::{Authority, Kubectl},
    process,
    setup::chart::Programs,
};

const RELEASE: &str = "gatewatch";
const CONFIGURATION: &str = "validatingwebhookconfiguration/gatewatch";
/// A path with a secret, as the gate sets it.
const PATH: &str = "/validate/policies/2f4a9d60c3b58e17";
const CERTIFICATE: &str = "secret/gatewatch-webhook-tls";

/// A policy of the user's.
const OWN_POLICY: &str = "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: mine}\nspec:\n  kprobes:\n  \
                          - {call: sys_setuid, syscall: true}\n";
const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: pod}\nspec:\n  automountServiceAccountToken: false\n  containers: \
                   [{name: a, image: a}]\n";

/// Begins on a cluster without kinds, and leaves it without the release.
pub(super) fn run(tests: &mut Tests, programs: &Programs, kubectl: &Kubectl) -> Result<()> {
    let scratch = tempfile::tempdir().context("cannot create a folder for a chart")?;
    let authority = Authority::make(&scratch.path().join("pki"))?;
    let bundle = process::text(Command::new("base64").arg("--wrap=0").arg(&authority.certificate))?;
    let release = Release { programs, kubectl, bundle };
    let previous = scratch.path().join("chart");
    make_previous(&previous)?;
    tests.holds("the first install, where no kinds are", release.first_install(&previous));
    tests.holds(
        "until the webhook answers, policies are rejected and workloads are admitted",
        release.before_the_gate(),
    );
    tests.holds("the exemption of the chart's policies is for its installer alone", release.exemption());
    tests.holds("an upgrade keeps what the gate wrote", release.upgrade());
    tests.holds("a rollback keeps it too", release.rollback());
    tests.holds("an uninstall leaves nothing that blocks", release.uninstall());
    tests.holds("kinds that are there are left alone", release.kinds_left_alone());
    Ok(())
}

/// The chart as it was a version ago: what differs is what a version changes.
fn make_previous(folder: &Path) -> Result<()> {
    process::text(Command::new("cp").arg("-a").arg(chart::folder()).arg(folder))?;
    let path = folder.join("Chart.yaml");
    let text = chart::read(&path)?;
    let older = text.lines().map(|line| match line.split_once(':') {
        Some((key @ ("version" | "appVersion"), _)) => format!("{key}: 0.0.1\n"),
        _ => format!("{line}\n"),
    });
    fs::write(&path, older.collect::<String>()).context("cannot write Chart.yaml")?;
    // A policy that the present version switches on.
    let values = folder.join("values.yaml");
    fs::write(&values, chart::read(&values)?.replace("user-namespaces: true", "user-namespaces: false"))
        .context("cannot write values.yaml")
}

struct Release<'a> {
    programs: &'a Programs,
    kubectl: &'a Kubectl,
    /// A certificate authority, as a webhook configuration has it.
    bundle: String,
}

impl Release<'_> {
    fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = helm(self.programs, arguments.first().copied().unwrap_or_default());
        command.args(&arguments[1..]).args(["--namespace", NAMESPACE]);
        command.arg("--kubeconfig").arg(self.kubectl.kubeconfig());
        output(&mut command)
    }

    fn get(&self, object: &str) -> Result<Value> {
        let text = self.kubectl.text(&["get", object, "--namespace", NAMESPACE, "-o", "json"])?;
        serde_json::from_str(&text).context("kubectl wrote what is not JSON")
    }

    fn policies(&self) -> Result<Vec<String>> {
        let text = self.kubectl.text(&["get", "tracingpolicies.cilium.io", "-o", "name"])?;
        Ok(text.lines().filter_map(|line| line.split_once('/')).map(|(_, name)| name.to_owned()).collect())
    }

    fn first_install(&self, previous: &Path) -> Result<()> {
        let notes = self.helm(&["install", RELEASE, &previous.display().to_string()])?;
        if !notes.contains("kubectl -n gatewatch rollout status daemonset/gatewatch-agent") {
            bail!("the notes do not tell what to do next: {notes}");
        }
        expect(&self.policies()?, &["monitor-kernel-modules", "privileges-raise", "sudo-invocations"])
    }

    fn before_the_gate(&self) -> Result<()> {
        match self.kubectl.apply(OWN_POLICY) {
            Ok(_) => bail!("a policy was admitted without a review"),
            Err(error) if error.to_string().contains("policies.gatewatch.dev") => {}
            Err(error) => return Err(error),
        }
        self.kubectl.text(&["create", "namespace", "test"])?;
        self.kubectl.text(&["create", "serviceaccount", "default", "--namespace", "test"])?;
        self.kubectl.with_input(&["apply", "--namespace", "test", "-f", "-"], POD)?;
        Ok(())
    }

    /// A user who may write policies can neither delete nor change those of the chart without a review, and cannot use
    /// their names. The chart itself does so in the next step, without the gate.
    fn exemption(&self) -> Result<()> {
        let verbs = "--verb=get,list,create,update,patch,delete";
        let role = ["create", "clusterrole", "mallory", verbs, "--resource=tracingpolicies.cilium.io"];
        self.kubectl.text(&role)?;
        self.kubectl.text(&[
            "create",
            "clusterrolebinding",
            "mallory",
            "--clusterrole=mallory",
            "--user=mallory",
        ])?;
        let policy = "tracingpolicies.cilium.io/sudo-invocations";
        let change = r#"{"metadata": {"labels": {"helm.sh/chart": "x"}}, "spec": {"kprobes": []}}"#;
        // Its name is the chart's, and the chart has not created it here.
        let own = OWN_POLICY.replace(
            "{name: mine}",
            "{name: user-namespaces, labels: {app.kubernetes.io/part-of: gatewatch, helm.sh/chart: x}}",
        );
        let attacks = [
            ("deleted", self.kubectl.text(&["--as=mallory", "delete", policy])),
            (
                "changed",
                self.kubectl.text(&["--as=mallory", "patch", policy, "--type=merge", "--patch", change]),
            ),
            ("created", self.kubectl.with_input(&["--as=mallory", "create", "-f", "-"], &own)),
        ];
        for (verb, outcome) in attacks {
            match outcome {
                Ok(_) => bail!("a policy of the chart was {verb} without a review"),
                Err(error) if error.to_string().contains("policies.gatewatch.dev") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn upgrade(&self) -> Result<()> {
        // What the gate does when it runs.
        let bundle = &self.bundle;
        let patch = format!(
            "[{{\"op\":\"add\",\"path\":\"/webhooks/0/clientConfig/caBundle\",\"value\":\"{bundle}\"}}, \
             {{\"op\":\"add\",\"path\":\"/webhooks/0/clientConfig/service/path\",\"value\":\"{PATH}\"}}]"
        );
        self.patch(CERTIFICATE, "merge", "{\"data\":{\"tls.crt\":\"eA==\"}}")?;
        self.patch("lease/gatewatch-webhook", "merge", "{\"spec\":{\"holderIdentity\":\"me\"}}")?;
        self.patch(CONFIGURATION, "json", &patch)?;
        self.helm(&["upgrade", RELEASE, &chart::folder().display().to_string(), "--reset-values"])?;
        expect(
            &self.policies()?,
            &["monitor-kernel-modules", "privileges-raise", "sudo-invocations", "user-namespaces"],
        )?;
        self.kept()
    }

    fn rollback(&self) -> Result<()> {
        self.helm(&["rollback", RELEASE])?;
        let version = &self.get("daemonset/gatewatch-agent")?["metadata"]["labels"]["helm.sh/chart"];
        if version != "gatewatch-0.0.1" {
            bail!("after the rollback the agent is of {version}");
        }
        self.kept()
    }

    /// Whether what the gate wrote is still there.
    fn kept(&self) -> Result<()> {
        let configuration = self.get(CONFIGURATION)?;
        if configuration["webhooks"][0]["clientConfig"]["caBundle"] != self.bundle.as_str() {
            bail!("the certificate authority is lost");
        }
        if configuration["webhooks"][0]["clientConfig"]["service"]["path"] != PATH {
            bail!("the path is lost");
        }
        if self.get(CERTIFICATE)?["data"]["tls.crt"] != "eA==" {
            bail!("the certificate is lost");
        }
        if self.get("lease/gatewatch-webhook")?["spec"]["holderIdentity"] != "me" {
            bail!("the lease is lost");
        }
        Ok(())
    }

    fn patch(&self, object: &str, kind: &str, patch: &str) -> Result<()> {
        let arguments = [
            "patch",
            object,
            "--namespace",
            NAMESPACE,
            &format!("--type={kind}"),
            &format!("--patch={patch}"),
        ];
        self.kubectl.text(&arguments).map(drop)
    }

    fn uninstall(&self) -> Result<()> {
        self.helm(&["uninstall", RELEASE])?;
        let kinds = self.kubectl.text(&["api-resources", "--verbs=list", "-o", "name"])?;
        let kinds: Vec<&str> = kinds.lines().collect();
        let label = "--selector=app.kubernetes.io/part-of=gatewatch";
        let left = self.kubectl.text(&["get", &kinds.join(","), "--all-namespaces", label, "-o", "name"])?;
        if !left.is_empty() {
            bail!("left behind: {left}");
        }
        self.kubectl.apply(OWN_POLICY).context("policies are still rejected")?;
        Ok(())
    }

    fn kinds_left_alone(&self) -> Result<()> {
        let kind = "customresourcedefinition/tracingpolicies.cilium.io";
        self.kubectl.text(&["annotate", kind, "owner=another-team"])?;
        let before = self.get(kind)?["metadata"]["resourceVersion"].clone();
        self.helm(&["install", RELEASE, &chart::folder().display().to_string()])?;
        let after = self.get(kind)?["metadata"]["resourceVersion"].clone();
        self.helm(&["uninstall", RELEASE])?;
        if before != after {
            bail!("the kind was changed");
        }
        if !self.policies()?.contains(&"mine".to_owned()) {
            bail!("uninstalling the chart deleted a policy of the user's");
        }
        Ok(())
    }
}

fn expect(found: &[String], wanted: &[&str]) -> Result<()> {
    if found.iter().map(String::as_str).ne(wanted.iter().copied()) {
        bail!("there are the policies {found:?}, and not {wanted:?}");
    }
    Ok(())
}
