//! The values of single distributions of Kubernetes (`values-*.yaml`). None of them runs here: what helm makes of each file is
//! checked, and what the distribution would check of it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{
    Tests,
    render::{VERSIONS, audit, of_kind, template_with},
};
use crate::{chart, parallel::side_by_side, setup::chart::Programs};

/// A file of values, by the name of its distribution.
pub(super) type Platform = (String, PathBuf);

/// All of them.
pub(super) fn all() -> Result<Vec<Platform>> {
    let folder = chart::folder();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(platform) = name.strip_prefix("values-").and_then(|rest| rest.strip_suffix(".yaml")) {
            found.push((platform.to_owned(), path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

pub(super) fn run(tests: &mut Tests, programs: &Programs) -> Result<()> {
    let platforms = all()?;
    for version in VERSIONS {
        let faults = side_by_side(&platforms, |(name, file)| {
            Ok(match template_with(programs, version, file) {
                Ok(objects) => {
                    audit(&objects, version).into_iter().map(|fault| format!("{name}: {fault}")).collect()
                }
                Err(error) => vec![format!("{name}: {error:#}")],
            })
        });
        tests.all(&format!("the values of all distributions render for Kubernetes {version}"), faults);
    }
    tests.holds("each distribution with values has a part in docs/platforms.md", documented(&platforms));
    let objects = |name: &str| {
        let (_, file) = platforms.iter().find(|(platform, _)| platform == name).context("no such file")?;
        template_with(programs, "1.36.0", file)
    };
    tests.holds("GKE's quota admits every pod of the chart", objects("gke").and_then(|all| quota(&all)));
    tests.holds(
        "Autopilot gets the gate alone, with its quota",
        objects("gke-autopilot").and_then(|all| {
            ensure!(of_kind(&all, "DaemonSet").is_none(), "there is an agent");
            quota(&all)
        }),
    );
    tests.holds(
        "OpenShift's constraints admit what the agent asks for, and no more",
        objects("openshift").and_then(|all| constraints(&all)),
    );
    for (name, label) in [("openshift", "spc_t"), ("selinux", "spc_t"), ("bottlerocket", "super_t")] {
        let labelled = objects(name).and_then(|all| {
            let found = &container(&all)?["securityContext"]["seLinuxOptions"]["type"];
            ensure!(found == label, "the label is {found}");
            Ok(())
        });
        tests.holds(&format!("the agent has its SELinux label: {name}"), labelled);
    }
    Ok(())
}

fn documented(platforms: &[Platform]) -> Result<()> {
    let page = chart::read(&chart::folder().join("../../docs/platforms.md"))?;
    for (name, _) in platforms {
        let file = format!("values-{name}.yaml");
        ensure!(page.contains(&file), "docs/platforms.md does not name {file}");
    }
    Ok(())
}

/// The agent's container.
fn container(objects: &[Value]) -> Result<&Value> {
    let daemon = of_kind(objects, "DaemonSet").context("no DaemonSet")?;
    Ok(&daemon["spec"]["template"]["spec"]["containers"][0])
}

/// Whether the quota has the priority class of every pod of the chart.
fn quota(objects: &[Value]) -> Result<()> {
    let quota = of_kind(objects, "ResourceQuota").context("no ResourceQuota")?;
    let scope = &quota["spec"]["scopeSelector"]["matchExpressions"][0];
    ensure!(scope["scopeName"] == "PriorityClass" && scope["operator"] == "In", "its scope is {scope}");
    let classes = scope["values"].as_array().context("no classes")?;
    for object in objects.iter().filter(|object| object["spec"]["template"]["spec"].is_object()) {
        let class = &object["spec"]["template"]["spec"]["priorityClassName"];
        ensure!(classes.contains(class), "{} has {class}", object["kind"]);
    }
    Ok(())
}

/// What the distribution's admission compares of a pod and its constraints (openshift/apiserver-library-go,
/// `securitycontextconstraints/sccmatching`), in both directions.
fn constraints(objects: &[Value]) -> Result<()> {
    let scc = of_kind(objects, "SecurityContextConstraints").context("no SecurityContextConstraints")?;
    let daemon = of_kind(objects, "DaemonSet").context("no DaemonSet")?;
    let pod = &daemon["spec"]["template"]["spec"];
    let own = container(objects)?;
    let user = format!(
        "system:serviceaccount:{}:{}",
        daemon["metadata"]["namespace"].as_str().unwrap_or_default(),
        pod["serviceAccountName"].as_str().unwrap_or_default()
    );
    ensure!(scc["users"] == json!([user]) && scc["groups"] == json!([]), "for {}", scc["users"]);
    let security = &own["securityContext"];
    for (allowed, asked) in [
        ("allowHostPID", pod["hostPID"] == true),
        ("allowHostNetwork", pod["hostNetwork"] == true),
        ("allowHostIPC", pod["hostIPC"] == true),
        ("allowPrivilegedContainer", security["privileged"] == true),
        ("allowPrivilegeEscalation", security["allowPrivilegeEscalation"] == true),
        ("readOnlyRootFilesystem", security["readOnlyRootFilesystem"] == true),
    ] {
        ensure!(scc[allowed] == asked, "{allowed} is {}, and the pod asks for {asked}", scc[allowed]);
    }
    ensure!(scc["allowedCapabilities"] == security["capabilities"]["add"], "{}", scc["allowedCapabilities"]);
    ensure!(scc["requiredDropCapabilities"] == security["capabilities"]["drop"], "capabilities to drop");
    ensure!(scc["seccompProfiles"] == json!(["runtime/default"]), "{}", scc["seccompProfiles"]);
    let allowed = scc["volumes"].as_array().context("no volumes")?;
    let volumes = pod["volumes"].as_array().into_iter().flatten().filter_map(Value::as_object);
    for kind in volumes.flat_map(|volume| volume.keys().filter(|key| *key != "name")) {
        ensure!(allowed.contains(&json!(kind)), "the pod has a volume of kind {kind}");
    }
    // With the folders of the node comes the token of the service account.
    ensure!(scc["allowHostDirVolumePlugin"] == true && allowed.contains(&json!("projected")), "{allowed:?}");
    let nonroot = objects.iter().any(|object| {
        object["kind"] == "RoleBinding" && object["roleRef"]["name"] == "system:openshift:scc:nonroot-v2"
    });
    ensure!(nonroot, "the gate has no constraints that admit its user");
    Ok(())
}
