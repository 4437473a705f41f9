//! Labels that are a likely typo of a policy's, from the pod's and from the policy's side.

use gatewatch_policy::diagnostic::FieldPath;
use gatewatch_policy::nearest::slip;

use crate::index::Index;
use crate::select::{Selection, Tally};
use crate::shape::{Change, Shape};
use crate::table::Table;
use crate::watch::{PolicyId, Watch, is_synthetic, terms};

/// Labels that are looked at in place of one: more would be a guess.
const CANDIDATES: usize = 8;

/// A label of a pod that policies don't select by, and one that they do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The label that the pod has.
    pub key: String,
    /// Its value.
    pub value: String,
    /// The label that was probably meant.
    pub meant_key: String,
    /// Its value.
    pub meant_value: String,
    /// The policies that would select the pod with it, and don't now.
    pub gained: Vec<PolicyId>,
}

/// Pods that a policy misses, with the label that they have in place of the policy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearPods {
    /// Where the policy's value stands, from the selector.
    pub place: FieldPath,
    /// The label that the policy asks for.
    pub wanted: (String, String),
    /// The label that the pods have.
    pub found: (String, String),
    /// What the policy would select, too, if the pods had its label.
    pub missed: Selection,
}

/// A label that may have been meant, and by how many slips it differs.
type Candidate<'a> = (u8, &'a str, &'a str);

/// The labels of a table that are one slip away from a label: another value, another key, or both swapped.
fn around<'a>(table: &'a Table, key: &'a str, value: &'a str) -> Vec<Candidate<'a>> {
    let mut found: Vec<Candidate<'a>> = Vec::new();
    if let Some(known) = table.key(key) {
        found.extend(known.values.near(value).into_iter().map(|(slips, meant, _)| (slips, key, meant)));
    }
    for (slips, meant, known) in table.near_keys(key) {
        if known.values.get(value).is_some() {
            found.push((slips, meant, value));
        } else {
            // Two slips only where both are mere spelling.
            let near = known.values.near(value).into_iter().filter(|(other, ..)| *other == 0 && slips == 0);
            found.extend(near.map(|(_, meant_value, _)| (1, meant, meant_value)));
        }
    }
    if key != value && table.get(value, key).is_some() {
        found.push((1, value, key));
    }
    found.sort_unstable();
    found.truncate(CANDIDATES);
    found
}

impl Index {
    /// For each label of a pod or template that no policy selects by: the label that policies select by and that was
    /// probably meant.
    pub fn near_misses(&self, shape: &Shape) -> Vec<NearMiss> {
        let mut found = Vec::new();
        for (key, value) in &shape.labels {
            if self.is_asked_for(key, value, &shape.namespace) {
                continue;
            }
            let mut best: Option<(usize, u8, Candidate<'_>, Vec<&PolicyId>)> = None;
            for candidate in around(&self.policies.terms, key, value) {
                let (slips, meant_key, meant_value) = candidate;
                if is_synthetic(meant_key) || (meant_key != key && shape.labels.contains_key(meant_key)) {
                    continue;
                }
                let change = Change { without: key, key: meant_key, value: meant_value };
                let gained = self.policies.gained(shape, change);
                let better = best.as_ref().is_none_or(|(most, least, ..)| {
                    (slips, std::cmp::Reverse(gained.len())) < (*least, std::cmp::Reverse(*most))
                });
                if !gained.is_empty() && better {
                    best = Some((gained.len(), slips, candidate, gained));
                }
            }
            if let Some((_, _, (_, meant_key, meant_value), gained)) = best {
                found.push(NearMiss {
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

    /// Whether a policy for this namespace asks for the label: then it is no slip.
    fn is_asked_for(&self, key: &str, value: &str, namespace: &str) -> bool {
        let asking = self.policies.terms.get(key, value).into_iter().flatten();
        asking.filter_map(|slot| self.policies.get(*slot)).any(|watch| {
            let wanted = watch.scope.pods.as_ref().and_then(|scope| scope.namespace.as_ref());
            wanted.is_none_or(|wanted| wanted == namespace)
        })
    }

    /// For each label that a policy asks for: the labels that pods have in its place, by a slip in one or the other,
    /// and the pods that the policy would select if it were mended. The most first.
    pub fn near_pods(&self, watch: &Watch) -> Vec<NearPods> {
        let Some(scope) = &watch.scope.pods else { return Vec::new() };
        let Some(selector) = &scope.pods else { return Vec::new() };
        let mut found = Vec::new();
        for term in terms(selector).filter(|term| !is_synthetic(term.key)) {
            for (i, wanted) in term.values.iter().enumerate() {
                for (_, key, value) in around(&self.classes.labels, term.key, wanted) {
                    // One that the policy asks for as well is meant.
                    if key == term.key && term.values.contains(&value) {
                        continue;
                    }
                    let change = Change { without: key, key: term.key, value: wanted };
                    let mut missed = Selection::default();
                    for id in self.classes.labels.get(key, value).into_iter().flatten() {
                        let Some(class) = self.classes.class(*id) else { continue };
                        let shape = &class.shape;
                        let taken = key != term.key && shape.labels.contains_key(term.key);
                        if !taken && !shape.is_selected_by(scope) && shape.is_selected_with(scope, change) {
                            missed.add(&shape.namespace, class.tally);
                        }
                    }
                    if !missed.is_empty() {
                        found.push(NearPods {
                            place: term.value_path(&FieldPath::root(), i),
                            wanted: (term.key.to_owned(), (*wanted).to_owned()),
                            found: (key.to_owned(), value.to_owned()),
                            missed,
                        });
                    }
                }
            }
        }
        let size = |near: &NearPods| {
            let Tally { pods, workloads } = near.missed.total();
            pods + workloads
        };
        found.sort_by_key(|near| std::cmp::Reverse(size(near)));
        found
    }

    /// The names of containers in the pods that a policy's other selectors select, where its `containerSelector`
    /// finds none of them; the nearest to what it asks for first. `None` where it finds some, or where there are no
    /// pods to look at.
    pub fn other_containers(&self, watch: &Watch) -> Option<Vec<(String, usize)>> {
        let scope = watch.scope.pods.as_ref()?;
        let selector = scope.containers.as_ref()?;
        let pods = gatewatch_policy::scope::PodScope { containers: None, ..scope.clone() };
        let mut names = std::collections::BTreeMap::<&str, usize>::new();
        for class in self.classes.selected(&pods) {
            if class.shape.is_selected_by(scope) {
                return None;
            }
            for container in class.shape.containers.iter().flatten() {
                *names.entry(&container.name).or_default() += class.tally.pods + class.tally.workloads;
            }
        }
        let wanted: Vec<&str> =
            terms(selector).filter(|term| term.key == "name").flat_map(|term| term.values).collect();
        let nearness = |name: &str| wanted.iter().filter_map(|w| slip(w, name)).min().unwrap_or(u8::MAX);
        let mut names: Vec<_> = names.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        names.sort_by_key(|(name, count)| (nearness(name), std::cmp::Reverse(*count)));
        (!names.is_empty()).then_some(names)
    }
}
