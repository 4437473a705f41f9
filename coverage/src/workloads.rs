//! Pods and templates, grouped by everything that selectors can match.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    label_index::{IdSet, LabelIndex},
    selection::Tally,
    shape::{Shape, Workload},
};

/// The pods and templates of one shape.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) shape: Arc<Shape>,
    /// The namespace of the shape. It is next to the tally, so that counting by namespace does not load the shape.
    pub(crate) namespace: Arc<str>,
    pub(crate) tally: Tally,
}

/// The pods and templates of one namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamespaceEntry {
    pub(crate) groups: IdSet,
    pub(crate) tally: Tally,
    /// The group of each object, by kind and name.
    members: HashMap<Arc<str>, BTreeMap<Arc<str>, u32>>,
}

/// All pods and templates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workloads {
    slots: Vec<Option<Group>>,
    free: Vec<u32>,
    by_shape: HashMap<Arc<Shape>, u32>,
    pub(crate) labels: LabelIndex,
    /// `name` and `repo` of containers.
    pub(crate) containers: LabelIndex,
    /// Groups whose containers are not known.
    pub(crate) unknown_containers: IdSet,
    pub(crate) namespaces: HashMap<Arc<str>, NamespaceEntry>,
    /// Each kind is stored once, because there are few.
    kinds: BTreeSet<Arc<str>>,
}

impl Workloads {
    pub(crate) fn group(&self, id: u32) -> Option<&Group> {
        self.slots.get(id as usize)?.as_ref()
    }

    /// The groups of a namespace.
    pub(crate) fn in_namespace(&self, name: &str) -> Option<&IdSet> {
        self.namespaces.get(name).map(|namespace| &namespace.groups)
    }

    /// The shape of a known object.
    pub(crate) fn shape_of(&self, kind: &str, namespace: &str, name: &str) -> Option<&Shape> {
        let id = self.namespaces.get(namespace)?.members.get(kind)?.get(name)?;
        self.group(*id).map(|group| &*group.shape)
    }

    /// Whether a pod or template has a label with this key, in one namespace or in all (`None`).
    pub(crate) fn has_key(&self, key: &str, namespace: Option<&str>) -> bool {
        match namespace {
            None => self.labels.key(key).is_some(),
            Some(name) => self.groups_in(name).any(|group| group.shape.labels.contains_key(key)),
        }
    }

    /// The values of a key with the number of groups that have each, in one namespace or in all (`None`).
    pub(crate) fn values_of(&self, key: &str, namespace: Option<&str>) -> Vec<(&str, usize)> {
        let Some(name) = namespace else {
            return self.labels.values(key).map(|(value, ids)| (value, ids.len())).collect();
        };
        let mut values = BTreeMap::<&str, usize>::new();
        for value in self.groups_in(name).filter_map(|group| group.shape.labels.get(key)) {
            *values.entry(value).or_default() += 1;
        }
        values.into_iter().collect()
    }

    fn groups_in(&self, namespace: &str) -> impl Iterator<Item = &Group> {
        let ids = self.in_namespace(namespace).into_iter().flatten();
        ids.filter_map(|id| self.group(*id))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_shape.is_empty()
    }

    pub(crate) fn apply(&mut self, workload: &Workload) {
        let (kind, namespace, name) = (&workload.kind, &workload.shape.namespace, &workload.name);
        if self.shape_of(kind, namespace, name) == Some(&workload.shape) {
            return;
        }
        self.delete(kind, namespace, name);
        let key: Arc<str> = match self.namespaces.get_key_value(namespace.as_str()) {
            Some((known, _)) => known.clone(),
            None => namespace.as_str().into(),
        };
        let id = self.intern(&workload.shape, &key);
        let one = Tally::one(workload.is_pod());
        let kind = self.kind(kind);
        let entry = self.namespaces.entry(key).or_default();
        entry.groups.insert(id);
        entry.tally += one;
        entry.members.entry(kind).or_default().insert(name.as_str().into(), id);
        if let Some(Some(group)) = self.slots.get_mut(id as usize) {
            group.tally += one;
        }
    }

    pub(crate) fn delete(&mut self, kind: &str, namespace: &str, name: &str) {
        let Some(entry) = self.namespaces.get_mut(namespace) else { return };
        let Some(members) = entry.members.get_mut(kind) else { return };
        let Some(id) = members.remove(name) else { return };
        if members.is_empty() {
            entry.members.remove(kind);
        }
        let one = Tally::one(kind == crate::templates::POD);
        entry.tally -= one;
        let Some(slot) = self.slots.get_mut(id as usize) else { return };
        let is_empty = match slot {
            Some(group) => {
                group.tally -= one;
                group.tally.is_empty()
            }
            None => false,
        };
        if is_empty && let Some(group) = slot.take() {
            entry.groups.remove(&id);
            self.by_shape.remove(&group.shape);
            self.free.push(id);
            self.remove_from_indexes(&group.shape, id);
        }
        if self.namespaces.get(namespace).is_some_and(|entry| entry.tally.is_empty()) {
            self.namespaces.remove(namespace);
        }
    }

    /// Removes all objects of a kind.
    pub(crate) fn clear(&mut self, kind: &str) {
        let removed: Vec<(Arc<str>, Arc<str>)> = self
            .namespaces
            .iter()
            .flat_map(|(namespace, entry)| {
                let names = entry.members.get(kind).into_iter().flat_map(BTreeMap::keys);
                names.map(|name| (namespace.clone(), name.clone()))
            })
            .collect();
        for (namespace, name) in removed {
            self.delete(kind, &namespace, &name);
        }
    }

    fn intern(&mut self, shape: &Shape, namespace: &Arc<str>) -> u32 {
        if let Some(id) = self.by_shape.get(shape) {
            return *id;
        }
        let shape = Arc::new(shape.clone());
        let group = Group { shape: shape.clone(), namespace: namespace.clone(), tally: Tally::default() };
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // 2^32 shapes do not fit into memory.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.slots.get_mut(id as usize) {
            *slot = Some(group);
        }
        for (key, value) in &shape.labels {
            self.labels.insert(key, Some(value), id);
        }
        for (key, value) in container_fields(&shape) {
            self.containers.insert(key, Some(value), id);
        }
        if shape.containers.is_none() {
            self.unknown_containers.insert(id);
        }
        self.by_shape.insert(shape, id);
        id
    }

    fn remove_from_indexes(&mut self, shape: &Shape, id: u32) {
        self.unknown_containers.remove(&id);
        for (key, value) in &shape.labels {
            self.labels.remove(key, Some(value), id);
        }
        for (key, value) in container_fields(shape) {
            self.containers.remove(key, Some(value), id);
        }
    }

    fn kind(&mut self, kind: &str) -> Arc<str> {
        if let Some(known) = self.kinds.get(kind) {
            return known.clone();
        }
        let kind: Arc<str> = kind.into();
        self.kinds.insert(kind.clone());
        kind
    }
}

fn container_fields(shape: &Shape) -> impl Iterator<Item = (&'static str, &str)> {
    let containers = shape.containers.iter().flatten();
    containers.flat_map(|c| [("name", c.name.as_str()), ("repo", c.repo.as_str())])
}
