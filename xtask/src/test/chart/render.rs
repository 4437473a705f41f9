//! What helm makes of the chart, for a matrix of values and Kubernetes versions.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::Tests;
use crate::{chart, parallel::side_by_side, process, setup::chart::Programs};

/// Where the chart is installed.
pub(super) const NAMESPACE: &str = "gatewatch";

/// The oldest, the newest, and the first with fields for `AppArmor`.
pub(super) const VERSIONS: &[&str] = &["1.28.0", "1.30.0", "1.36.0"];

/// Settings that the chart is rendered with, each by name.
pub(super) const MATRIX: &[(&str, &[&str])] = &[
    ("defaults", &[]),
    ("agent alone", &["webhook.enabled=false"]),
    ("gate alone", &["agent.enabled=false"]),
    ("gate in front of Tetragon", IN_FRONT),
    (
        "no policies",
        &[
            "policies.standard.sudo-invocations=false",
            "policies.standard.privileges-raise=false",
            "policies.standard.user-namespaces=false",
            "policies.standard.monitor-kernel-modules=false",
        ],
    ),
    (
        "application policies for other pods",
        &[
            "policies.application.application-file-system-access=true",
            "policies.application.external-http-call=true",
            "policies.application.podSelector.matchLabels.app=shop",
        ],
    ),
    (
        "one replica, on the node's network",
        &[
            "webhook.replicas=1",
            "webhook.podDisruptionBudget.enabled=false",
            "webhook.hostNetwork=true",
            "agent.hostNetwork=true",
            "agent.dnsPolicy=ClusterFirstWithHostNet",
        ],
    ),
    (
        "everything that needs no kind of others",
        &[
            "grafana.dashboard.enabled=true",
            "networkPolicy.egress.enabled=true",
            "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.name=monitoring",
            "priorityClass.create=true",
            "agent.priorityClassName=gatewatch",
            "commonLabels.team=security",
            "imagePullSecrets[0].name=registry",
            "agent.extraArgs[0]=--no-fentry",
            "agent.podAnnotations.note=x",
            "webhook.matchConditions[0].name=not-mine",
            "webhook.matchConditions[0].expression=request.userInfo.username != 'me'",
            "webhook.modes.modes.GW106=deny",
            "webhook.modes.namespaces.test.GW1xx=off",
            "webhook.target={gatewatch,tetragon=1.4}",
        ],
    ),
    ("records", EXPORT),
    ("the fallback", &["validatingAdmissionPolicy.enabled=true"]),
    ("webhooks off", &["webhook.policies.enabled=false", "webhook.workloads.enabled=false"]),
    (
        "another name",
        &["fullnameOverride=a-rather-long-name-that-will-have-to-be-cut-somewhere-near-its-end"],
    ),
];

/// The gate alone, in front of an existing Tetragon.
const IN_FRONT: &[&str] = &["agent.enabled=false", "webhook.target=tetragon=1.6"];

/// Records to every output.
const EXPORT: &[&str] = &[
    "export.stdout=true",
    "export.otlp=http://collector:4318",
    "networkPolicy.egress.enabled=true",
    "export.socket=true",
    "export.exportFilename=events.log",
    "export.exportFileCompress=true",
    "export.redaction=false",
];

/// What needs kinds of the Prometheus operator and of cert-manager.
pub(super) const OTHERS: &[&str] = &[
    "prometheus.podMonitor.enabled=true",
    "prometheus.serviceMonitor.enabled=true",
    "prometheus.rules.enabled=true",
    "prometheus.rules.disabled[0]=GatewatchFileAccess",
    "prometheus.rules.labels.team=security",
    "prometheus.labels.release=prometheus",
    "prometheus.interval=15s",
    "webhook.certificates.source=cert-manager",
];

/// Values that the schema must reject.
const REFUSED: &[&str] = &[
    "export.exportFilename=a/b.log",
    "export.otlp=https://collector",
    "export.exportFilePerm=rw",
    "export.exportDenylist=x",
    "agent.prot=2112",
    "agent.port=70000",
    "webhook.policies.failurePolicy=fail",
    "webhook.modes.modes.GW106=maybe",
    "webhook.target=falco",
    "webhook.target=tetragon=newest",
    "webhook.certificates.source=vault",
    "policies.standard.sudo=true",
];

pub(super) fn run(tests: &mut Tests, programs: &Programs) {
    let mut lint = helm(programs, "lint");
    tests.holds("helm lint --strict", passes(lint.arg("--strict").arg(chart::folder())));
    for version in VERSIONS {
        let faults = side_by_side(MATRIX, |(name, settings)| {
            Ok(match template(programs, version, settings) {
                Ok(objects) => {
                    audit(&objects, version).into_iter().map(|fault| format!("{name}: {fault}")).collect()
                }
                // The one thing that is not for the oldest version, and says so.
                Err(error) if *version == "1.28.0" && error.to_string().contains("needs Kubernetes 1.30") => {
                    Vec::new()
                }
                Err(error) => vec![format!("{name}: {error:#}")],
            })
        });
        tests.all(&format!("all settings render for Kubernetes {version}"), faults);
    }
    let accepted = side_by_side(REFUSED, |setting| {
        let is_accepted = template(programs, "1.36.0", &[setting]).is_ok();
        Ok(is_accepted.then(|| format!("the schema takes {setting}")).into_iter().collect())
    });
    tests.all("the schema rejects what is wrong", accepted);
    tests.holds("the gate in front of Tetragon has nothing of the agent", in_front_of_tetragon(programs));
    tests.holds("records are written where the values say", records(programs));
    tests.holds("the NetworkPolicy admits the scraper only", scraper_only(programs));
    tests.holds(
        "with the kinds of others",
        template(programs, "1.36.0", OTHERS).and_then(|objects| {
            let rules = of_kind(&objects, "PrometheusRule").context("no PrometheusRule")?;
            let text = rules.to_string();
            if text.contains("GatewatchFileAccess\"") || !text.contains("docs/runbooks/GatewatchSudo.md") {
                bail!("the PrometheusRule does not follow its settings: {text}");
            }
            Ok(())
        }),
    );
}

/// Without the agent there is nothing of it, nor an alert that says that it is away.
fn in_front_of_tetragon(programs: &Programs) -> Result<()> {
    let mut settings = IN_FRONT.to_vec();
    settings.extend(["prometheus.rules.enabled=true", "prometheus.podMonitor.enabled=true"]);
    let objects = template(programs, "1.36.0", &settings)?;
    for object in &objects {
        let of_agent = object["metadata"]["labels"]["app.kubernetes.io/component"] == "agent";
        ensure!(!of_agent && object["kind"] != "DaemonSet", "there is a {} of the agent", object["kind"]);
    }
    let find = |kind: &str, name: &str| {
        let named = |object: &&Value| {
            object["kind"] == kind && object["metadata"]["name"].as_str().is_some_and(|n| n.ends_with(name))
        };
        objects.iter().find(named).with_context(|| format!("no {kind} {name}"))
    };
    let table = find("ConfigMap", "modes")?["data"]["modes.yaml"].as_str().unwrap_or_default();
    let table: Value = serde_saphyr::from_str(table).context("the modes are not YAML")?;
    ensure!(table["target"] == "tetragon=1.6", "the modes have the target {}", table["target"]);
    let rules = find("PrometheusRule", "")?["spec"]["groups"].as_array().cloned().unwrap_or_default();
    let rules = rules.iter().filter_map(|group| group["rules"].as_array()).flatten();
    let alerts: Vec<&str> = rules.filter_map(|rule| rule["alert"].as_str()).collect();
    let of_agent = ["GatewatchAgentDown", "GatewatchPolicyNotLoaded", "GatewatchPolicySetsDiffer"];
    ensure!(!alerts.iter().any(|alert| of_agent.contains(alert)), "alerts about the agent: {alerts:?}");
    ensure!(alerts.contains(&"GatewatchGateDown"), "no alerts about the gate: {alerts:?}");
    Ok(())
}

/// The agent gets the outputs' arguments and folders if, and only if, the values have outputs.
fn records(programs: &Programs) -> Result<()> {
    let filters = "{\"health_check\":true}\n{\"namespace\":[\"a\"]}\n";
    let values = tempfile::NamedTempFile::new().context("cannot create a file of values")?;
    let text = json!({"export": {"exportDenyList": filters, "exportFilename": "events.log", "socket": true}});
    std::fs::write(values.path(), text.to_string())?;
    for (objects, on) in [
        (template_with(programs, "1.36.0", values.path())?, true),
        (template(programs, "1.36.0", &[])?, false),
    ] {
        let pod = of_kind(&objects, "DaemonSet").context("no DaemonSet")?;
        let pod = &pod["spec"]["template"]["spec"];
        let arguments: Vec<&str> =
            pod["containers"][0]["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let deny = format!("--export-denylist={filters}");
        for wanted in [
            "--export-filename=/var/log/gatewatch/events.log",
            "--export-socket=/run/gatewatch-export/events.sock",
            deny.as_str(),
        ] {
            ensure!(arguments.contains(&wanted) == on, "{wanted:?} in {arguments:?}");
        }
        for volume in ["records", "socket"] {
            let named =
                |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|v| v["name"] == volume));
            ensure!(named(&pod["volumes"]) == on, "the volume {volume}");
            ensure!(named(&pod["containers"][0]["volumeMounts"]) == on, "the mount of {volume}");
        }
    }
    Ok(())
}

/// The metrics of the agent are open to the peers of `networkPolicy.metricsFrom` and to the gate, and its probes to no pod.
fn scraper_only(programs: &Programs) -> Result<()> {
    let named = "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=scraper";
    let usual = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    });
    let own = json!({"podSelector": {"matchLabels": {"app": "scraper"}}});
    for (settings, scraper) in [(&[][..], usual), (&[named][..], own)] {
        let objects = template(programs, "1.36.0", settings)?;
        let of_agent = |kind: &str| {
            let found = objects.iter().find(|object| {
                object["kind"] == kind
                    && object["metadata"]["labels"]["app.kubernetes.io/component"] == "agent"
            });
            found.with_context(|| format!("no {kind} of the agent"))
        };
        let rules = &of_agent("NetworkPolicy")?["spec"]["ingress"];
        let ports = json!([{"port": "metrics", "protocol": "TCP"}]);
        ensure!(rules.as_array().is_some_and(|rules| rules.len() == 1), "rules: {rules}");
        ensure!(rules[0]["ports"] == ports, "open ports: {}", rules[0]["ports"]);
        let from = rules[0]["from"].as_array().map_or(&[][..], Vec::as_slice);
        ensure!(from.len() == 2 && from[0] == scraper, "{settings:?} admits {from:?}");
        let gate = &from[1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"];
        ensure!(gate == "webhook", "{settings:?} admits {from:?}");
        let container = &of_agent("DaemonSet")?["spec"]["template"]["spec"]["containers"][0];
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let port = &container[probe]["httpGet"]["port"];
            ensure!(port == "probes", "{probe} is at port {port}");
        }
    }
    Ok(())
}

/// What holds for all objects of the chart. Gives what does not.
pub(super) fn audit(objects: &[Value], version: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for object in objects {
        let name = format!("{}/{}", object["kind"].as_str().unwrap_or("?"), object["metadata"]["name"]);
        if object["metadata"]["labels"]["app.kubernetes.io/part-of"] != "gatewatch" {
            faults.push(format!("{name} has not the chart's labels"));
        }
        if object["metadata"]["name"].as_str().is_none_or(|name| name.len() > 63) {
            faults.push(format!("{name}: no name, or one that is too long"));
        }
    }
    let daemon = of_kind(objects, "DaemonSet");
    if let Some(template) = daemon.map(|daemon| &daemon["spec"]["template"]) {
        let annotation =
            !template["metadata"]["annotations"]["container.apparmor.security.beta.kubernetes.io/agent"]
                .is_null();
        let field = !template["spec"]["securityContext"]["appArmorProfile"].is_null();
        if (annotation, field) != (version == "1.28.0", version != "1.28.0") {
            faults.push("the agent's AppArmor profile is not set the way of this version".into());
        }
    }
    faults
}

/// The objects that the chart makes, those of `crds/` left out.
pub(super) fn template(programs: &Programs, version: &str, settings: &[&str]) -> Result<Vec<Value>> {
    let mut command = rendering(programs, version);
    objects(&process::text(command.args(settings.iter().flat_map(|setting| ["--set", setting])))?)
}

/// The same with a file of values.
pub(super) fn template_with(programs: &Programs, version: &str, file: &Path) -> Result<Vec<Value>> {
    objects(&process::text(rendering(programs, version).arg("--values").arg(file))?)
}

fn rendering(programs: &Programs, version: &str) -> Command {
    let mut command = helm(programs, "template");
    command.args(["gatewatch", "--namespace", "gatewatch", "--kube-version", version]).arg(chart::folder());
    command
}

/// The first object of a kind.
pub(super) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind)
}

/// The objects of a text of several YAML documents.
pub(super) fn objects(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("helm wrote what is not YAML")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

pub(super) fn helm(programs: &Programs, sub_command: &str) -> Command {
    let mut command = Command::new(&programs.helm);
    command.arg(sub_command);
    command
}

/// What a command writes to both streams. Fails with it, unless the command succeeds.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("{}", said.trim());
    }
    Ok(said)
}

/// Runs a command; its error has what it wrote.
pub(super) fn passes(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}
