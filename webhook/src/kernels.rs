//! The kernels of the cluster, and what a policy is on each: the preflight.
//!
//! A node's kernel is known from its agent (`NodeTracing`, and the profile that the agent gives, checked against the
//! hash there). Of a node without one, the shipped profile that fits its `status.nodeInfo` stands in; a cluster of which
//! nothing is known is taken to have all shipped kernels.

pub mod fetch;
pub mod keep;

use std::collections::BTreeMap;
use std::sync::Arc;

use gatewatch_kernel::{Arch, Profile};
use gatewatch_policy::assess::{self, Against, Checked, Fleet};
use gatewatch_policy::compile::Environment;
use gatewatch_policy::diagnostic::Diagnostic;
use gatewatch_policy::model::NamespaceKind;
use gatewatch_policy::target::Selection;

/// What the API server says of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its labels, for `nodeSelector`.
    pub labels: BTreeMap<String, String>,
    /// `uname -r`.
    pub release: String,
    /// As Go names it: `amd64`.
    pub arch: String,
}

/// What the agent of a node says of its kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// `uname -r`.
    pub release: String,
    /// Hash of the profile.
    pub hash: String,
    /// Where it is had.
    pub endpoint: Option<String>,
}

/// Where a kernel's profile comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// From an agent.
    Agent,
    /// It came with the program and has the node's version.
    Shipped,
    /// It came with the program, and no node is known.
    Assumed,
}

/// One kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `uname -r` of the nodes, or the shipped profile's name where no node is known.
    pub release: String,
    /// Where its profile comes from.
    pub source: Source,
    profile: Arc<Profile>,
    /// Labels of its nodes.
    nodes: Vec<BTreeMap<String, String>>,
}

impl Kernel {
    /// How many nodes run it.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }
}

/// All kernels of the cluster.
#[derive(Debug)]
pub struct Kernels {
    list: Vec<Kernel>,
    /// Nodes of whose kernel nothing is known.
    unknown: usize,
    host_namespaces: BTreeMap<NamespaceKind, u32>,
}

/// Shipped profiles by name (`6.12`), read once.
pub type Shipped = BTreeMap<&'static str, Arc<Profile>>;

/// Reads the shipped profiles.
pub fn shipped() -> Shipped {
    Profile::shipped_names().filter_map(|name| Some((name, Arc::new(Profile::shipped(name)?)))).collect()
}

impl Kernels {
    /// Puts together what is known: nodes and reports by the node's name, profiles by their hash.
    pub fn new(
        nodes: &BTreeMap<String, Node>,
        reports: &BTreeMap<String, Reported>,
        profiles: &BTreeMap<String, Arc<Profile>>,
        shipped: &Shipped,
    ) -> Self {
        let mut list: BTreeMap<(Source, String, String), Kernel> = BTreeMap::new();
        let mut unknown = 0;
        let none = Node::default();
        let with_report = reports.keys().filter(|name| !nodes.contains_key(*name)).map(|name| (name, &none));
        for (name, node) in nodes.iter().chain(with_report) {
            let from_agent = reports.get(name).and_then(|report| {
                let profile = profiles.get(&report.hash)?;
                Some((Source::Agent, report.release.as_str(), report.hash.as_str(), profile))
            });
            let release = reports.get(name).map_or(node.release.as_str(), |report| &report.release);
            let found = from_agent.or_else(|| {
                let (name, profile) = fitting(release, &node.arch, shipped)?;
                Some((Source::Shipped, release, name, profile))
            });
            let Some((source, release, key, profile)) = found else {
                unknown += 1;
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
        if list.is_empty() && unknown == 0 {
            list.extend(shipped.iter().map(|(name, profile)| Kernel {
                release: (*name).to_owned(),
                source: Source::Assumed,
                profile: Arc::clone(profile),
                nodes: Vec::new(),
            }));
        }
        // `host_ns` stands for numbers that are only known on a node; that there are some is enough here, and the
        // kernel gives none of these out (see PROC_DYNAMIC_FIRST in fs/proc/generic.c).
        let host_namespaces = NamespaceKind::ALL.iter().zip(1..).map(|(kind, n)| (*kind, n)).collect();
        Self { list, unknown, host_namespaces }
    }

    /// All kernels of which something is known.
    pub fn list(&self) -> &[Kernel] {
        &self.list
    }

    /// Nodes whose kernel isn't known: policies aren't checked for them.
    pub fn unknown(&self) -> usize {
        self.unknown
    }

    /// One sentence about what policies are checked for, where that isn't what agents report.
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
        if self.unknown > 0 {
            parts.push(format!(
                "the kernels of {} nodes are unknown: policies are not checked for them",
                self.unknown
            ));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Everything that is to be reported of a policy on these kernels. What holds on all of them is reported once; what
    /// keeps it off some nodes only is a warning that names them.
    pub fn assess(&self, checked: &Checked, selection: &Selection) -> Vec<Diagnostic> {
        let kernels = self.list.iter().map(|kernel| assess::Kernel {
            name: &kernel.release,
            environment: Environment { kernel: &kernel.profile, host_namespaces: &self.host_namespaces },
            // A kernel that is only assumed has no nodes that could be selected.
            nodes: (kernel.source != Source::Assumed).then_some(kernel.nodes.as_slice()),
        });
        let kernels: Vec<assess::Kernel<'_>> = kernels.collect();
        let fleet = Fleet::Cluster { unknown: self.unknown };
        // The API server has checked the schema.
        checked.assess(&Against { selection, schemas: None, kernels: &kernels, fleet }).0
    }
}

/// The shipped profile for a release: of the same version (`6.12` of `6.12.117+deb13-cloud-amd64`) and architecture.
fn fitting<'a>(release: &str, arch: &str, shipped: &'a Shipped) -> Option<(&'static str, &'a Arc<Profile>)> {
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
    use super::*;
    use gatewatch_policy::source::parse;

    fn node(release: &str, zone: &str) -> Node {
        let labels = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
        Node { labels, release: release.to_owned(), arch: "amd64".to_owned() }
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

    fn said(kernels: &Kernels, spec: &str) -> Vec<String> {
        let found = kernels.assess(&policy(spec), &Selection::default());
        // That there is no message is a note, and said of no kernel.
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
        let said = said(&kernels, "kprobes: [{call: securty_file_permission, syscall: false}]");
        let [line] = said.as_slice() else { panic!("{said:?}") };
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
        let found = said(&kernels, &spec);
        let [line] = found.as_slice() else { panic!("{found:?}") };
        assert!(line.starts_with("warning GW201"), "{line}");
        assert!(line.contains("not loaded on 1 of 3 nodes (5.10.0-8): the kernel has no function"), "{line}");
        // Where the node isn't selected nothing is said of its kernel.
        let scoped = format!("{spec}, nodeSelector: {{matchLabels: {{zone: '1'}}}}");
        assert!(said(&kernels, &scoped).iter().all(|line| !line.contains("GW201")));
    }

    #[test]
    fn an_agent_s_profile_comes_before_the_shipped_one() {
        let nodes = BTreeMap::from([("a".to_owned(), node("6.12.1-x", "1"))]);
        let report = Reported { release: "6.12.1-x".into(), hash: "h".into(), endpoint: None };
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
        let said = said(&kernels, "kprobes: [{call: securty_file_permission, syscall: false}]");
        assert!(said[0].contains("on all shipped kernels"), "{said:?}");
    }
}
