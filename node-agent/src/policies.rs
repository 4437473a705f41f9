//! From the text of files to plans: parse, read, check, compile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gatewatch_policy::{
    assess::{Against, Assessment, Fleet, Kernel, Objects, assess},
    compile::Environment,
    diagnostic::Severity,
    model::{Kind, LabelSelector, Policy},
    plan::Plan,
    read::{self, Identity},
    selection::Selection,
    source::{self, Lines, Located},
    target::Target,
};

use crate::{fingerprint::fingerprint, policy_key::PolicyKey, sources::Origin};

/// One policy of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Which policy.
    pub key: PolicyKey,
    /// What to run; `None` where an error keeps it from running.
    pub plan: Option<Plan>,
    /// The nodes that it is for; `None`: all.
    pub nodes: Option<LabelSelector>,
    /// What keeps it from running.
    pub refusal: Option<Refusal>,
    /// `metadata.generation`, for an object of the API server.
    pub generation: Option<i64>,
    /// Number for its `spec`, whatever this node makes of it.
    pub spec: u64,
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Code of the first error.
    pub code: &'static str,
    /// That error, as a sentence.
    pub sentence: String,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// Its policies, also those that can't run.
    pub policies: Vec<Found>,
    /// What there is to say about it, a line each.
    pub messages: Vec<(Severity, String)>,
    /// Whether a part of it couldn't be read as a policy at all.
    pub broken: bool,
}

/// Reads what an origin holds.
pub fn read_text(origin: &Origin, text: &str, environment: Environment<'_>) -> Contents {
    let selection = Selection::of(&[Target::Gatewatch]);
    let kernels = [Kernel { name: &environment.kernel.release, environment, nodes: None }];
    // The API server has checked what comes from it, and never sees files.
    let against =
        Against { selection: &selection, schemas: None, kernels: &kernels, fleet: Fleet::Requested };
    let mut contents = Contents::default();
    let lines = Lines::new(text);
    for document in source::parse(text) {
        contents.broken |= document.findings.iter().any(|finding| finding.diagnostic.is_error());
        let mut told = false;
        for object in Objects::of(&document).objects {
            if let Identity::Other { api_version, kind } = read::identify(object.node()) {
                let message = format!("{origin}: a {kind} ({api_version}) is not a policy; ignored");
                contents.messages.push((Severity::Warning, message));
                continue;
            }
            told |= object.is_whole();
            contents.object(origin, &lines, assess(object, &against));
        }
        // What is wrong with the text is among the findings of an object that is all of it.
        for finding in document.findings.iter().filter(|_| !told) {
            contents.report(origin, &lines, finding);
        }
    }
    contents
}

impl Contents {
    fn object(&mut self, origin: &Origin, lines: &Lines<'_>, assessment: Assessment) {
        for finding in &assessment.findings {
            self.report(origin, lines, finding);
        }
        let error = assessment.first_error();
        let refusal = error.map(|error| Refusal { code: error.code.id, sentence: error.to_string() });
        let Some(policy) = &assessment.policy else {
            self.broken = true;
            return;
        };
        self.policies.push(Found {
            key: key(policy),
            nodes: policy.spec.node_selector.clone(),
            refusal,
            generation: None,
            spec: fingerprint(&policy.spec),
            plan: assessment.plans.into_iter().next().flatten().map(Arc::unwrap_or_clone),
        });
    }

    fn report(&mut self, origin: &Origin, lines: &Lines<'_>, finding: &Located) {
        let diagnostic = &finding.diagnostic;
        let place = match finding.span {
            Some(span) if matches!(origin, Origin::File(_)) => {
                let position = lines.position(span.range().start);
                format!("{origin}:{}:{}", position.line, position.column)
            }
            _ => origin.to_string(),
        };
        self.messages.push((diagnostic.severity, format!("{place}: {}: {diagnostic}", diagnostic.severity)));
    }
}

/// The name of a policy.
pub fn key(policy: &Policy) -> PolicyKey {
    PolicyKey {
        namespace: match policy.kind {
            Kind::Cluster => None,
            Kind::Namespaced => Some(policy.namespace.clone().unwrap_or_else(|| "default".to_owned())),
        },
        name: policy.name.clone(),
    }
}

/// The policies of all origins together.
#[derive(Debug, Default)]
pub struct Library {
    origins: BTreeMap<Origin, Contents>,
    /// The plan that a policy had last, with the origin that it came from.
    last: BTreeMap<PolicyKey, (Origin, Plan)>,
}

/// The policies that are to run, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Wanted {
    /// To run.
    pub plans: BTreeMap<PolicyKey, Plan>,
    /// Policies with errors. One that ran before is in `plans` too, as it was.
    pub refused: BTreeMap<PolicyKey, Refusal>,
    /// Policies for other nodes.
    pub skipped: BTreeSet<PolicyKey>,
    /// `metadata.generation` of each policy, where there is one.
    pub generations: BTreeMap<PolicyKey, i64>,
    /// Things to say about origins that only show when all are put together.
    pub messages: Vec<String>,
}

impl Library {
    /// Stores an origin's new contents.
    pub fn set(&mut self, origin: Origin, contents: Contents) {
        self.origins.insert(origin, contents);
    }

    /// Forgets an origin.
    pub fn remove(&mut self, origin: &Origin) {
        self.origins.remove(origin);
    }

    /// Origins of which a part isn't in force.
    pub fn broken(&self) -> usize {
        self.origins.values().filter(|contents| contents.broken).count()
    }

    /// Puts the origins together, for a node with these labels; where they can't be known, every policy is for it. A policy that became wrong stays as it was until it is
    /// fixed or removed: a typo must not end the observation. Of two policies with one name the first origin's
    /// runs.
    pub fn wanted(&mut self, node: Option<&BTreeMap<String, String>>) -> Wanted {
        let mut wanted = Wanted::default();
        let mut seen: BTreeMap<PolicyKey, &Origin> = BTreeMap::new();
        let mut next = BTreeMap::new();
        for (origin, contents) in &self.origins {
            let mut here = BTreeSet::new();
            for found in &contents.policies {
                here.insert(&found.key);
                if let Some(first) = seen.get(&found.key) {
                    wanted.messages.push(format!(
                        "{origin}: policy {} is also in {first}; that one runs, this one does not",
                        found.key,
                    ));
                    continue;
                }
                seen.insert(found.key.clone(), origin);
                if let Some(generation) = found.generation {
                    wanted.generations.insert(found.key.clone(), generation);
                }
                let elsewhere = |nodes: &LabelSelector| node.is_some_and(|node| !nodes.matches(node));
                if found.nodes.as_ref().is_some_and(elsewhere) {
                    wanted.skipped.insert(found.key.clone());
                    continue;
                }
                let plan = if let Some(plan) = &found.plan {
                    Some(plan.clone())
                } else {
                    let refusal = found.refusal.clone();
                    wanted.refused.extend(refusal.map(|refusal| (found.key.clone(), refusal)));
                    self.kept(origin, &found.key)
                };
                if let Some(plan) = plan {
                    next.insert(found.key.clone(), (origin.clone(), plan));
                }
            }
            // Policies that a broken file had before are not gone: they can't be read.
            if contents.broken {
                for (key, (from, plan)) in self.last.iter().filter(|(_, (from, _))| from == origin) {
                    if !here.contains(key) && !seen.contains_key(key) {
                        next.insert(key.clone(), (from.clone(), plan.clone()));
                    }
                }
            }
        }
        wanted.plans = next.iter().map(|(key, (_, plan))| (key.clone(), plan.clone())).collect();
        self.last = next;
        wanted
    }

    /// Hash of the policies that the origins have, whatever their order, and whatever this node's kernel and labels make of
    /// them: the same on nodes that know the same.
    pub fn hash(&self) -> String {
        let mut known: BTreeMap<&PolicyKey, u64> = BTreeMap::new();
        for found in self.origins.values().flat_map(|contents| &contents.policies) {
            known.entry(&found.key).or_insert(found.spec);
        }
        format!("{:016x}", fingerprint(&known))
    }

    fn kept(&self, origin: &Origin, key: &PolicyKey) -> Option<Plan> {
        self.last.get(key).filter(|(from, _)| from == origin).map(|(_, plan)| plan.clone())
    }
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::{model::LabelSelector, plan::Scope};

    use super::*;

    fn origin(name: &str) -> Origin {
        Origin::Object { kind: "TracingPolicy", namespace: None, name: name.to_owned() }
    }

    fn found(name: &str, right: bool) -> Found {
        let plan = Plan {
            name: name.to_owned(),
            namespace: None,
            scope: Scope::default(),
            hooks: Vec::new(),
            partial: false,
            monitor_mode: false,
        };
        let refusal = Refusal { code: "GW201", sentence: "no such function".to_owned() };
        Found {
            key: PolicyKey { namespace: None, name: name.to_owned() },
            plan: right.then_some(plan),
            nodes: None,
            refusal: (!right).then_some(refusal),
            generation: Some(1),
            spec: 1,
        }
    }

    fn holding(found: Found) -> Contents {
        Contents { policies: vec![found], ..Contents::default() }
    }

    #[test]
    fn a_policy_for_other_nodes_is_skipped_until_the_node_has_its_labels() {
        let mut library = Library::default();
        let match_labels: BTreeMap<_, _> = [("role".to_owned(), "edge".to_owned())].into();
        let nodes = Some(LabelSelector { match_labels: match_labels.clone(), match_expressions: Vec::new() });
        library.set(origin("a"), holding(Found { nodes, ..found("a", true) }));
        library.set(origin("b"), holding(found("b", true)));
        let wanted = library.wanted(Some(&BTreeMap::new()));
        assert_eq!((wanted.plans.len(), wanted.skipped.len()), (1, 1));
        let wanted = library.wanted(Some(&match_labels));
        assert_eq!((wanted.plans.len(), wanted.skipped.len()), (2, 0));
        let wanted = library.wanted(None);
        assert_eq!((wanted.plans.len(), wanted.skipped.len()), (2, 0), "nobody may tell us the labels");
    }

    #[test]
    fn the_hash_is_of_what_was_read() {
        let hash = |all: Vec<Found>| {
            let mut library = Library::default();
            for (number, found) in all.into_iter().enumerate() {
                library.set(origin(&number.to_string()), holding(found));
            }
            library.hash()
        };
        let both = hash(vec![found("a", true), found("b", true)]);
        assert_eq!(hash(vec![found("b", true), found("a", true)]), both, "another order");
        assert_eq!(hash(vec![found("a", true), found("b", false)]), both, "a kernel that can't run one");
        let match_labels: BTreeMap<_, _> = [("role".to_owned(), "edge".to_owned())].into();
        let nodes = Some(LabelSelector { match_labels, match_expressions: Vec::new() });
        let elsewhere = Found { nodes, ..found("b", true) };
        assert_eq!(hash(vec![found("a", true), elsewhere]), both, "a node that it is not for");
        assert_ne!(hash(vec![found("a", true)]), both);
        assert_ne!(hash(vec![found("a", true), found("c", true)]), both);
        assert_ne!(hash(vec![found("a", true), Found { spec: 2, ..found("b", true) }]), both);
    }

    #[test]
    fn a_slip_blinds_nobody() {
        let mut library = Library::default();
        library.set(origin("a"), holding(found("a", true)));
        assert_eq!(library.wanted(Some(&BTreeMap::new())).plans.len(), 1);
        library.set(origin("a"), holding(found("a", false)));
        let wanted = library.wanted(Some(&BTreeMap::new()));
        assert_eq!((wanted.plans.len(), wanted.refused.len()), (1, 1), "it runs as it was before");
        library.remove(&origin("a"));
        assert_eq!(library.wanted(Some(&BTreeMap::new())).plans.len(), 0);
    }
}
