//! Labels that are a likely typo of a policy's, from the pod's and from the policy's side.

use std::{cmp::Reverse, collections::BTreeMap};

use gatewatch_policy::{diagnostic::FieldPath, nearest::typo_distance, scope::PodScope};

use crate::{
    index::Index,
    indexed_policy::{IndexedPolicy, PolicyId},
    label_index::{IdSet, KeyEntry, LabelIndex},
    limits::{Hint, Limits, comparisons},
    selection::{Selection, Tally},
    shape::{Relabel, Shape},
    terms::{is_synthetic, terms},
};

/// Candidates that are checked for one label. More would be a guess.
const CANDIDATES: usize = 8;

/// A label of a pod that no policy selects by, and the label of which it is a likely typo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelTypo {
    /// The label that the pod has.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The label that was probably intended.
    pub meant_key: String,
    /// Its value.
    pub meant_value: String,
    /// The policies that would select the pod with it, and do not now.
    pub gained: Vec<PolicyId>,
}

/// Pods that a policy does not select because of a likely typo in a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedPods {
    /// Field path of the policy's value, relative to the selector.
    pub path: FieldPath,
    /// The label that the policy selects.
    pub wanted: (String, String),
    /// The label that the pods have.
    pub found: (String, String),
    /// The pods that the policy would select too if they had its label.
    pub missed: Selection,
}

/// A label that may have been intended, after its distance.
type Candidate<'a> = (u8, &'a str, &'a str);

/// The comparisons that [`candidates`] makes at most, apart from those with values of similar keys.
fn candidates_cost(index: &LabelIndex, key: &str, value: &str) -> usize {
    let values = index.key(key).map_or(0, KeyEntry::len);
    2 + comparisons(value, values) + comparisons(key, index.len())
}

/// The labels of which a label is a likely typo: with another value, another key, or both swapped.
fn candidates<'a>(
    index: &'a LabelIndex,
    key: &'a str,
    value: &'a str,
    allows: impl Fn(usize) -> bool,
) -> Vec<Candidate<'a>> {
    let mut found: Vec<Candidate<'a>> = Vec::new();
    if !allows(candidates_cost(index, key, value)) {
        return found;
    }
    if let Some(known) = index.key(key) {
        found.extend(known.values.near(value).into_iter().map(|(distance, meant, _)| (distance, key, meant)));
    }
    for (distance, meant, known) in index.key_typos(key) {
        if known.values.get(value).is_some() {
            found.push((distance, meant, value));
        } else if distance == 0 && allows(comparisons(value, known.len())) {
            // A typo in key and value only if both differ in case and punctuation alone.
            let near = known.values.near(value).into_iter().filter(|(other, ..)| *other == 0);
            found.extend(near.map(|(_, meant_value, _)| (1, meant, meant_value)));
        }
    }
    if key != value && index.get(value, key).is_some() {
        found.push((1, value, key));
    }
    found.sort_unstable();
    found.truncate(CANDIDATES);
    found
}

impl Index {
    /// For each label of a pod or template that no policy selects by: the policies' label of which it is a likely typo.
    pub fn label_typos(&self, shape: &Shape, limits: &Limits) -> Vec<LabelTypo> {
        let allows = |comparisons| limits.allows(Hint::LabelTypos, comparisons);
        let mut found = Vec::new();
        for (key, value) in &shape.labels {
            if !allows(1 + self.policies.requiring(key, value)) {
                break;
            }
            if self.is_selected_by_label(key, value, &shape.namespace) {
                continue;
            }
            let mut best: Option<(usize, u8, Candidate<'_>, Vec<&PolicyId>)> = None;
            for candidate in candidates(&self.policies.terms, key, value, allows) {
                let (distance, meant_key, meant_value) = candidate;
                if !allows(self.policies.requiring(meant_key, meant_value)) {
                    break;
                }
                if is_synthetic(meant_key) || (meant_key != key && shape.labels.contains_key(meant_key)) {
                    continue;
                }
                let relabel = Relabel { removed: key, key: meant_key, value: meant_value };
                let gained = self.policies.gained(shape, relabel);
                let better = best.as_ref().is_none_or(|(most, least, ..)| {
                    (distance, Reverse(gained.len())) < (*least, Reverse(*most))
                });
                if !gained.is_empty() && better {
                    best = Some((gained.len(), distance, candidate, gained));
                }
            }
            if let Some((_, _, (_, meant_key, meant_value), gained)) = best {
                found.push(LabelTypo {
                    key: key.clone(),
                    value: value.clone(),
                    meant_key: meant_key.to_owned(),
                    meant_value: meant_value.to_owned(),
                    gained: gained.into_iter().cloned().collect(),
                });
            }
        }
        found
    }

    /// Whether a policy for this namespace selects by the label. Such a label is not a typo.
    fn is_selected_by_label(&self, key: &str, value: &str, namespace: &str) -> bool {
        let requiring = self.policies.terms.get(key, value).into_iter().flatten();
        requiring.filter_map(|slot| self.policies.get(*slot)).any(|policy| {
            let wanted = policy.scope.pods.as_ref().and_then(|scope| scope.namespace.as_ref());
            wanted.is_none_or(|wanted| wanted == namespace)
        })
    }

    /// For each label that a policy selects: the labels of pods that are likely typos of it, and the pods that the
    /// policy would select if the typo were fixed. The largest selection comes first.
    pub fn missed_pods(&self, policy: &IndexedPolicy, limits: &Limits) -> Vec<MissedPods> {
        let allows = |comparisons| limits.allows(Hint::MissedPods, comparisons);
        let Some(scope) = &policy.scope.pods else { return Vec::new() };
        let Some(selector) = &scope.pods else { return Vec::new() };
        let mut found = Vec::new();
        for term in terms(selector).filter(|term| !is_synthetic(term.key)) {
            for (i, wanted) in term.values.iter().enumerate() {
                for (_, key, value) in candidates(&self.workloads.labels, term.key, wanted, allows) {
                    // A label that the policy also selects is not a typo.
                    if key == term.key && term.values.contains(&value) {
                        continue;
                    }
                    let relabel = Relabel { removed: key, key: term.key, value: wanted };
                    let mut missed = Selection::default();
                    if !allows(self.workloads.labels.get(key, value).map_or(0, IdSet::len)) {
                        continue;
                    }
                    for id in self.workloads.labels.get(key, value).into_iter().flatten() {
                        let Some(group) = self.workloads.group(*id) else { continue };
                        let shape = &group.shape;
                        let has_key = key != term.key && shape.labels.contains_key(term.key);
                        if !has_key && !shape.is_selected_by(scope) && shape.is_selected_after(scope, relabel)
                        {
                            missed.add(&shape.namespace, group.tally);
                        }
                    }
                    if !missed.is_empty() {
                        found.push(MissedPods {
                            path: term.value_path(&FieldPath::root(), i),
                            wanted: (term.key.to_owned(), (*wanted).to_owned()),
                            found: (key.to_owned(), value.to_owned()),
                            missed,
                        });
                    }
                }
            }
        }
        let size = |pods: &MissedPods| {
            let Tally { pods, workloads } = pods.missed.total();
            pods + workloads
        };
        found.sort_by_key(|pods| Reverse(size(pods)));
        found
    }

    /// The container names in the pods that a policy's other selectors select, if its `containerSelector` matches none
    /// of them. The most similar name comes first. `None` if it matches some, or if there are no such pods.
    pub fn other_containers(&self, policy: &IndexedPolicy) -> Option<Vec<(String, usize)>> {
        let scope = policy.scope.pods.as_ref()?;
        let selector = scope.containers.as_ref()?;
        let pods = PodScope { containers: None, ..scope.clone() };
        let mut names = BTreeMap::<&str, usize>::new();
        for group in self.workloads.selected(&pods) {
            if group.shape.is_selected_by(scope) {
                return None;
            }
            for container in group.shape.containers.iter().flatten() {
                *names.entry(&container.name).or_default() += group.tally.pods + group.tally.workloads;
            }
        }
        let wanted: Vec<&str> =
            terms(selector).filter(|term| term.key == "name").flat_map(|term| term.values).collect();
        let distance =
            |name: &str| wanted.iter().filter_map(|w| typo_distance(w, name)).min().unwrap_or(u8::MAX);
        let mut names: Vec<_> = names.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        names.sort_by_key(|(name, count)| (distance(name), Reverse(*count)));
        (!names.is_empty()).then_some(names)
    }
}
