//! The kernels of the cluster, and the result of a policy on each.
//!
//! An agent reports its node's kernel (`NodeTracing`, and a profile that is checked against the hash there). A node
//! without an agent gets the shipped profile that fits its `status.nodeInfo`. An unknown cluster is assumed to have
//! all shipped kernels.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use gatewatch_coverage::IndexedPolicy;
use gatewatch_kernel::{Arch, Profile};
use gatewatch_policy::{
    assess::{self, Against, Checked, Fleet},
    compile::Environment,
    diagnostic::Diagnostic,
    model::{NamespaceKind, Policy},
    plan::Plan,
    selection::Selection,
};

/// Hooks of one policy, times kernels, that one request may compile.
const COMPILED_HOOKS: usize = 4000;

/// The data of a node in the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its labels, for `nodeSelector`.
    pub labels: BTreeMap<String, String>,
    /// `uname -r`.
    pub release: String,
    /// The name in Go: `amd64`.
    pub arch: String,
    /// `status.nodeInfo.bootID`, which changes at each boot.
    pub boot_id: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// The kernel that the agent of a node reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedKernel {
    /// `uname -r`.
    pub release: String,
    /// Hash of the profile.
    pub hash: String,
    /// URL of the profile.
    pub endpoint: Option<String>,
}

/// The origin of a kernel's profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// An agent reported it.
    Agent,
    /// It is shipped, and has the node's version.
    Shipped,
    /// It is shipped, and no node is known.
    Assumed,
}

/// One kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `uname -r` of the nodes, or the name of the shipped profile if no node is known.
    pub release: String,
    /// The origin of its profile.
    pub source: Source,
    profile: Arc<Profile>,
    /// Labels of its nodes.
    nodes: Vec<BTreeMap<String, String>>,
}

impl Kernel {
    /// The number of nodes that run it.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }
}

/// All kernels of the cluster.
#[derive(Debug)]
pub struct Kernels {
    list: Vec<Kernel>,
    /// Labels of the nodes with an unknown kernel.
    others: Vec<BTreeMap<String, String>>,
    host_namespaces: BTreeMap<NamespaceKind, u32>,
}

/// The shipped profiles by name (`6.12`).
pub type Shipped = BTreeMap<&'static str, Arc<Profile>>;

/// Reads the shipped profiles.
pub fn shipped() -> Shipped {
    Profile::shipped_names().filter_map(|name| Some((name, Arc::new(Profile::shipped(name)?)))).collect()
}

impl Kernels {
    /// Combines nodes and reports, by the node's name, with profiles by their hash.
    pub fn new(
        nodes: &BTreeMap<String, Node>,
        reports: &BTreeMap<String, ReportedKernel>,
        profiles: &BTreeMap<String, Arc<Profile>>,
        shipped: &Shipped,
    ) -> Self {
        let mut list: BTreeMap<(Source, String, String), Kernel> = BTreeMap::new();
        let mut others = Vec::new();
        let none = Node::default();
        let with_report = reports.keys().filter(|name| !nodes.contains_key(*name)).map(|name| (name, &none));
        for (name, node) in nodes.iter().chain(with_report) {
            let from_agent = reports.get(name).and_then(|report| {
                let profile = profiles.get(&report.hash)?;
                Some((Source::Agent, report.release.as_str(), report.hash.as_str(), profile))
            });
            let release = reports.get(name).map_or(node.release.as_str(), |report| &report.release);
            let found = from_agent.or_else(|| {
                let (name, profile) = shipped_for(release, &node.arch, shipped)?;
                Some((Source::Shipped, release, name, profile))
            });
            let Some((source, release, key, profile)) = found else {
                others.push(node.labels.clone());
                continue;
            };
            list.entry((source, release.to_owned(), key.to_owned()))
                .or_insert_with(|| Kernel {
                    release: release.to_owned(),
                    source,
                    profile: Arc::clone(profile),
                    nodes: Vec::new(),
                })
                .nodes
                .push(node.labels.clone());
        }
        let mut list: Vec<Kernel> = list.into_values().collect();
        if list.is_empty() && others.is_empty() {
            list.extend(shipped.iter().map(|(name, profile)| Kernel {
                release: (*name).to_owned(),
                source: Source::Assumed,
                profile: Arc::clone(profile),
                nodes: Vec::new(),
            }));
        }
        // `host_ns` means numbers that only a node knows. Any numbers work here that the kernel never assigns (see
        // PROC_DYNAMIC_FIRST in fs/proc/generic.c).
        let host_namespaces = NamespaceKind::ALL.iter().zip(1..).map(|(kind, n)| (*kind, n)).collect();
        Self { list, others, host_namespaces }
    }

    /// All known kernels.
    pub fn list(&self) -> &[Kernel] {
        &self.list
    }

    /// The number of nodes with an unknown kernel. Policies are not checked for them.
    pub fn unknown(&self) -> usize {
        self.others.len()
    }

    /// Whether the `nodeSelector` of a policy selects none of the known nodes.
    pub fn selects_no_node(&self, checked: &Checked) -> bool {
        let Some(selector) = &checked.policy.spec.node_selector else { return false };
        let mut nodes = self.list.iter().flat_map(|kernel| &kernel.nodes).chain(&self.others).peekable();
        nodes.peek().is_some() && nodes.all(|labels| !selector.matches(labels))
    }

    /// A sentence about the kernels that policies are checked for, unless agents reported all of them.
    pub fn caveat(&self) -> Option<String> {
        let of = |source| self.list.iter().filter(move |kernel| kernel.source == source);
        let shipped: Vec<&str> = of(Source::Shipped).map(|kernel| kernel.release.as_str()).collect();
        let nodes: usize = of(Source::Shipped).map(Kernel::nodes).sum();
        let mut parts = Vec::new();
        if of(Source::Assumed).next().is_some() {
            parts.push("no nodes are known: policies are checked for all shipped kernels".to_owned());
        }
        if nodes > 0 {
            parts.push(format!(
                "{nodes} nodes have no agent that reported a profile: policies are checked for shipped profiles of \
                 the same version ({})",
                shipped.join(", ")
            ));
        }
        if !self.others.is_empty() {
            parts.push(format!(
                "the kernels of {} nodes are unknown: policies are not checked for them",
                self.unknown()
            ));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// The diagnostics of a policy on these kernels. A diagnostic of all kernels is reported once. One of some kernels is
    /// a warning that names their nodes.
    pub fn assess(&self, checked: &Checked, selection: &Selection) -> Vec<Diagnostic> {
        self.compile(checked, selection).0
    }

    /// Whether a policy is small enough to be compiled for these kernels in a request.
    pub fn can_compile(&self, policy: &Policy) -> bool {
        IndexedPolicy::hook_count(policy).saturating_mul(self.list.len()) <= COMPILED_HOOKS
    }

    /// The same as [`assess`](Self::assess), and the policy's plan on each kernel that it runs on.
    pub fn compile(
        &self,
        checked: &Checked,
        selection: &Selection,
    ) -> (Vec<Diagnostic>, Vec<Option<Arc<Plan>>>) {
        self.against(selection, |against| checked.assess(against))
    }

    /// The policy's plan on each kernel that it runs on.
    pub fn plans(&self, checked: &Checked, selection: &Selection) -> Vec<Option<Arc<Plan>>> {
        self.against(selection, |against| checked.plans(against))
    }

    fn against<T>(&self, selection: &Selection, answer: impl FnOnce(&Against<'_>) -> T) -> T {
        let kernels = self.list.iter().map(|kernel| assess::Kernel {
            name: &kernel.release,
            environment: Environment { kernel: &kernel.profile, host_namespaces: &self.host_namespaces },
            // An assumed kernel has no nodes to select.
            nodes: (kernel.source != Source::Assumed).then_some(kernel.nodes.as_slice()),
        });
        let kernels: Vec<assess::Kernel<'_>> = kernels.collect();
        let fleet = Fleet::Cluster { unknown: self.unknown() };
        // The API server has checked the schema.
        answer(&Against { selection, schemas: None, kernels: &kernels, fleet })
    }

    /// Whether two policies may run on one node of a kernel, by its number: their `nodeSelector` decides.
    pub fn meet(&self, kernel: usize, one: &Policy, other: &Policy) -> bool {
        let Some(kernel) = self.list.get(kernel) else { return false };
        let selects = |policy: &Policy, labels: &BTreeMap<String, String>| {
            policy.spec.node_selector.as_ref().is_none_or(|selector| selector.matches(labels))
        };
        kernel.source == Source::Assumed
            || kernel.nodes.iter().any(|labels| selects(one, labels) && selects(other, labels))
    }
}

/// The shipped profile for a release: of the same version (`6.12` of `6.12.117+deb13-cloud-amd64`) and architecture.
fn shipped_for<'a>(
    release: &str,
    arch: &str,
    shipped: &'a Shipped,
) -> Option<(&'static str, &'a Arc<Profile>)> {
    let (major, minor) = gatewatch_kernel::version(release)?;
    let (name, profile) = shipped.get_key_value(format!("{major}.{minor}").as_str())?;
    let wanted = match arch {
        "arm64" => Arch::from_machine("aarch64"),
        _ => Arch::from_machine("x86_64"),
    };
    (wanted == Some(profile.arch)).then_some((name, profile))
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::source::parse;

    use super::*;

    fn node(release: &str, zone: &str) -> Node {
        let labels = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
        Node { labels, release: release.to_owned(), arch: "amd64".to_owned(), ..Node::default() }
    }

    fn policy(spec: &str) -> Checked {
        let text = format!(
            "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: p}}\nspec: {{{spec}}}\n"
        );
        Checked::of(&parse(&text)[0]).unwrap()
    }

    fn kernels(nodes: &[(&str, Node)]) -> Kernels {
        let nodes = nodes.iter().map(|(name, node)| ((*name).to_owned(), node.clone())).collect();
        Kernels::new(&nodes, &BTreeMap::new(), &BTreeMap::new(), &shipped())
    }

    fn rendered(kernels: &Kernels, spec: &str) -> Vec<String> {
        let found = kernels.assess(&policy(spec), &Selection::default());
        // The missing message is a note that is about no kernel.
        let found = found.iter().filter(|diagnostic| diagnostic.code.id != "GW408");
        found.map(|d| format!("{} {d}", d.severity)).collect()
    }

    #[test]
    fn nodes_are_matched_with_shipped_kernels() {
        let kernels = kernels(&[
            ("a", node("6.12.1-x", "1")),
            ("b", node("6.12.1-x", "2")),
            ("c", node("5.10.0-8", "1")),
            ("d", node("4.18.0", "1")),
        ]);
        let list: Vec<_> = kernels.list().iter().map(|k| (k.release.as_str(), k.nodes())).collect();
        assert_eq!(list, [("5.10.0-8", 1), ("6.12.1-x", 2)]);
        assert_eq!(kernels.unknown(), 1);
        let caveat = kernels.caveat().unwrap();
        assert!(
            caveat.contains("3 nodes have no agent") && caveat.contains("kernels of 1 nodes"),
            "{caveat}"
        );
    }

    #[test]
    fn what_fails_everywhere_is_an_error_with_the_number_of_nodes() {
        let kernels = kernels(&[("a", node("6.12.1-x", "1")), ("b", node("6.1.0-y", "1"))]);
        let rendered = rendered(&kernels, "kprobes: [{call: securty_file_permission, syscall: false}]");
        let [line] = rendered.as_slice() else { panic!("{rendered:?}") };
        assert!(
            line.starts_with(
                "error GW201 spec.kprobes[0].call: on all 2 nodes: the kernel has no function \
                 `securty_file_permission`"
            ),
            "{line}"
        );
        assert!(line.contains("did you mean `security_file_permission`"), "{line}");
    }

    #[test]
    fn what_fails_on_some_nodes_is_a_warning_that_names_them() {
        let nodes =
            [("a", node("6.12.1-x", "1")), ("b", node("6.12.1-x", "1")), ("c", node("5.10.0-8", "2"))];
        let kernels = kernels(&nodes);
        // Linux 5.10 has no create_user_ns with a body of its own that 6.12 lacks; take a function of 6.12 alone.
        let (_, new) = shipped().remove_entry("6.12").unwrap();
        let (_, old) = shipped().remove_entry("5.10").unwrap();
        let only_new = new
            .functions()
            .find(|name| {
                !old.has_function(name)
                    && new
                        .function(name)
                        .is_some_and(|f| f.obstacle.is_none() && f.attachable != gatewatch_kernel::Attach::No)
            })
            .unwrap();
        let spec = format!("kprobes: [{{call: {only_new}, syscall: false}}]");
        let found = rendered(&kernels, &spec);
        let [line] = found.as_slice() else { panic!("{found:?}") };
        assert!(line.starts_with("warning GW201"), "{line}");
        assert!(line.contains("not loaded on 1 of 3 nodes (5.10.0-8): the kernel has no function"), "{line}");
        // Without a selected node, its kernel gives no diagnostic.
        let scoped = format!("{spec}, nodeSelector: {{matchLabels: {{zone: '1'}}}}");
        assert!(rendered(&kernels, &scoped).iter().all(|line| !line.contains("GW201")));
    }

    #[test]
    fn an_agent_s_profile_comes_before_the_shipped_one() {
        let nodes = BTreeMap::from([("a".to_owned(), node("6.12.1-x", "1"))]);
        let report = ReportedKernel { release: "6.12.1-x".into(), hash: "h".into(), endpoint: None };
        let reports = BTreeMap::from([("a".to_owned(), report)]);
        let shipped = shipped();
        let profiles = BTreeMap::from([("h".to_owned(), Arc::clone(&shipped["6.1"]))]);
        let kernels = Kernels::new(&nodes, &reports, &profiles, &shipped);
        assert_eq!((kernels.list()[0].source, kernels.caveat()), (Source::Agent, None));
        let without = Kernels::new(&nodes, &reports, &BTreeMap::new(), &shipped);
        assert_eq!(without.list()[0].source, Source::Shipped);
    }

    #[test]
    fn an_unknown_cluster_has_all_shipped_kernels() {
        let kernels = kernels(&[]);
        assert_eq!(kernels.list().len(), shipped().len());
        assert!(kernels.caveat().unwrap().contains("no nodes are known"));
        let rendered = rendered(&kernels, "kprobes: [{call: securty_file_permission, syscall: false}]");
        assert!(rendered[0].contains("on all shipped kernels"), "{rendered:?}");
    }
}
