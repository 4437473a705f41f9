//! Pods and templates, grouped by everything that selectors can match.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::select::Tally;
use crate::shape::{Shape, Workload};
use crate::table::{Ids, Table};

/// The members of a class have one shape.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) shape: Arc<Shape>,
    /// The shape's, beside the tally: what is only counted by namespace is counted without a look at the shape.
    pub(crate) namespace: Arc<str>,
    pub(crate) tally: Tally,
}

/// What a namespace holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespace {
    pub(crate) classes: Ids,
    pub(crate) tally: Tally,
    /// The class of each object, by kind and name.
    members: HashMap<Arc<str>, BTreeMap<Arc<str>, u32>>,
}

/// All pods and templates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    slots: Vec<Option<Class>>,
    free: Vec<u32>,
    by_shape: HashMap<Arc<Shape>, u32>,
    pub(crate) labels: Table,
    /// `name` and `repo` of containers.
    pub(crate) containers: Table,
    /// Classes of which the containers aren't known.
    pub(crate) unknown_containers: Ids,
    pub(crate) namespaces: HashMap<Arc<str>, Namespace>,
    /// Kinds are few, so each is kept once.
    kinds: BTreeSet<Arc<str>>,
}

impl Classes {
    pub(crate) fn class(&self, id: u32) -> Option<&Class> {
        self.slots.get(id as usize)?.as_ref()
    }

    /// The classes of a namespace.
    pub(crate) fn in_namespace(&self, name: &str) -> Option<&Ids> {
        self.namespaces.get(name).map(|namespace| &namespace.classes)
    }

    /// The shape of an object that is known.
    pub(crate) fn shape_of(&self, kind: &str, namespace: &str, name: &str) -> Option<&Shape> {
        let id = self.namespaces.get(namespace)?.members.get(kind)?.get(name)?;
        self.class(*id).map(|class| &*class.shape)
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
        let place = self.namespaces.entry(key).or_default();
        place.classes.insert(id);
        place.tally += one;
        place.members.entry(kind).or_default().insert(name.as_str().into(), id);
        if let Some(Some(class)) = self.slots.get_mut(id as usize) {
            class.tally += one;
        }
    }

    pub(crate) fn delete(&mut self, kind: &str, namespace: &str, name: &str) {
        let Some(place) = self.namespaces.get_mut(namespace) else { return };
        let Some(members) = place.members.get_mut(kind) else { return };
        let Some(id) = members.remove(name) else { return };
        if members.is_empty() {
            place.members.remove(kind);
        }
        let one = Tally::one(kind == crate::shape::POD);
        place.tally -= one;
        let Some(slot) = self.slots.get_mut(id as usize) else { return };
        let gone = match slot {
            Some(class) => {
                class.tally -= one;
                class.tally.is_empty()
            }
            None => false,
        };
        if gone && let Some(class) = slot.take() {
            place.classes.remove(&id);
            self.by_shape.remove(&class.shape);
            self.free.push(id);
            self.unlist(&class.shape, id);
        }
        if self.namespaces.get(namespace).is_some_and(|place| place.tally.is_empty()) {
            self.namespaces.remove(namespace);
        }
    }

    /// Forgets all objects of a kind.
    pub(crate) fn clear(&mut self, kind: &str) {
        let gone: Vec<(Arc<str>, Arc<str>)> = self
            .namespaces
            .iter()
            .flat_map(|(namespace, place)| {
                let names = place.members.get(kind).into_iter().flat_map(BTreeMap::keys);
                names.map(|name| (namespace.clone(), name.clone()))
            })
            .collect();
        for (namespace, name) in gone {
            self.delete(kind, &namespace, &name);
        }
    }

    fn intern(&mut self, shape: &Shape, namespace: &Arc<str>) -> u32 {
        if let Some(id) = self.by_shape.get(shape) {
            return *id;
        }
        let shape = Arc::new(shape.clone());
        let class = Class { shape: shape.clone(), namespace: namespace.clone(), tally: Tally::default() };
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // Four thousand million shapes don't fit into memory.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.slots.get_mut(id as usize) {
            *slot = Some(class);
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

    fn unlist(&mut self, shape: &Shape, id: u32) {
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
