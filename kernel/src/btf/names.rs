//! Finds a type by its kind and name.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use super::blob::{Blob, Tag};

/// A hash table of type ids. Names are compared in the BTF itself, so the table of a kernel with 119,000 types takes
/// 1 MiB.
#[derive(Debug)]
pub(super) struct Names {
    /// The length is a power of two; 0 is a free slot. Linear probing.
    slots: Vec<u32>,
    /// By id of a function: the ids of further functions with the same name.
    namesakes: HashMap<u32, Vec<u32>>,
    hasher: RandomState,
}

impl Names {
    /// Inserts every named type. Of several with the same kind and name, the first is found.
    pub(super) fn new(blob: &Blob) -> Self {
        let named = |id: &u32| blob.get(*id).is_some_and(|ty| is_looked_up(ty.tag) && !ty.name.is_empty());
        let count = (1..=blob.last_id()).filter(named).count();
        let mut table = Self {
            slots: vec![0; (2 * count).next_power_of_two()],
            namesakes: HashMap::new(),
            hasher: RandomState::new(),
        };
        for id in (1..=blob.last_id()).filter(named) {
            if let Some(ty) = blob.get(id) {
                let slot = table.slot(blob, ty.tag, ty.name);
                match table.slots.get_mut(slot) {
                    Some(slot) if *slot == 0 => *slot = id,
                    Some(first) if ty.tag == Tag::Func => table.namesakes.entry(*first).or_default().push(id),
                    _ => {}
                }
            }
        }
        table
    }

    /// The id of the first type with this kind and name.
    pub(super) fn find(&self, blob: &Blob, tag: Tag, name: &str) -> Option<u32> {
        self.slots.get(self.slot(blob, tag, name)).copied().filter(|id| *id != 0)
    }

    /// The ids of all functions with this name.
    pub(super) fn find_functions(&self, blob: &Blob, name: &str) -> impl Iterator<Item = u32> {
        let first = self.find(blob, Tag::Func, name);
        let others = first.and_then(|first| self.namesakes.get(&first)).map_or(&[][..], Vec::as_slice);
        first.into_iter().chain(others.iter().copied())
    }

    /// The slot of this kind and name, or the free slot for it.
    fn slot(&self, blob: &Blob, tag: Tag, name: &str) -> usize {
        let mask = self.slots.len() - 1;
        let hash = self.hasher.hash_one((tag, name));
        #[allow(clippy::cast_possible_truncation, reason = "the low bits are all that is used")]
        let mut slot = hash as usize & mask;
        // More than half of the slots are free, so this ends.
        loop {
            match self.slots.get(slot) {
                None | Some(0) => return slot,
                Some(id) if blob.get(*id).is_some_and(|ty| ty.tag == tag && ty.name == name) => return slot,
                Some(_) => slot = (slot + 1) & mask,
            }
        }
    }
}

const fn is_looked_up(tag: Tag) -> bool {
    matches!(
        tag,
        Tag::Int | Tag::Struct | Tag::Union | Tag::Enum | Tag::Enum64 | Tag::Fwd | Tag::Typedef | Tag::Func
    )
}
