//! Trees of strings' beginnings as a double array: one look-up for each byte, and an end at the first that no entry has.

use std::collections::VecDeque;

use gatewatch_abi::Step;

/// Places that are tried for a step's successors before they go to the end of the table.
const TRIES: usize = 256;

/// An entry: its bytes, and the row of the strings that it is the longest entry of.
type Entry = (Vec<u8>, u32);

/// Entries whose next steps have no place yet.
struct Open<'a> {
    /// Sorted, each there once; they begin with the same bytes.
    entries: &'a [Entry],
    /// How many bytes.
    depth: usize,
    /// The number of the step by the last of these; `None` at the beginning.
    step: Option<usize>,
}

/// A place in a tree: behind a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The step's number; before the first one a number that no step has.
    pub(super) from: u32,
    /// Where the steps behind it are; 0: there are none.
    pub(super) to: u32,
}

/// Adds the tree of a slot's entries, which are sorted and each there once, and gives its beginning.
pub(super) fn add(table: &mut Vec<Step>, slot: u8, entries: &[Entry]) -> Place {
    let mut begin = Place { from: u32::MAX - u32::from(slot), to: 0 };
    let mut free = 0;
    let mut open = VecDeque::from([Open { entries, depth: 0, step: None }]);
    while let Some(Open { entries, depth, step }) = open.pop_front() {
        // The entry that ends here is before the others.
        let next = |entry: &Entry| entry.0.get(depth).copied();
        let longer = entries.iter().position(|entry| next(entry).is_some()).unwrap_or(entries.len());
        let successors: Vec<&[Entry]> =
            entries.get(longer..).unwrap_or_default().chunk_by(|a, b| next(a) == next(b)).collect();
        let bytes: Vec<u8> = successors.iter().filter_map(|entries| entries.first().and_then(next)).collect();
        if bytes.is_empty() {
            continue;
        }
        let to = room(table, &mut free, &bytes);
        let number = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let from = step.map_or(begin.from, number);
        match step.and_then(|step| table.get_mut(step)) {
            None => begin.to = number(to),
            Some(step) => step.to = number(to),
        }
        for (entries, byte) in successors.into_iter().zip(bytes) {
            let place = to + usize::from(byte);
            if table.len() <= place {
                table.resize(place + 1, Step::default());
            }
            let ends = entries.first().filter(|(bytes, _)| bytes.len() == depth + 1);
            table[place] =
                Step { from, to: 0, row: ends.map_or(0, |(_, row)| *row), ends: u32::from(ends.is_some()) };
            open.push_back(Open { entries, depth: depth + 1, step: Some(place) });
        }
    }
    begin
}

/// Where there is room for steps by these bytes, of which the lowest is the first. No step below number `free` is free.
fn room(table: &[Step], free: &mut usize, bytes: &[u8]) -> usize {
    let is_free = |step: usize| table.get(step).is_none_or(|step| step.from == 0);
    while !is_free(*free) {
        *free += 1;
    }
    let lowest = bytes.first().copied().map_or(0, usize::from);
    let start = free.saturating_sub(lowest).max(1);
    let fits = |place: &usize| bytes.iter().all(|byte| is_free(place + usize::from(*byte)));
    (start..table.len()).take(TRIES).find(fits).unwrap_or_else(|| table.len().saturating_sub(lowest).max(1))
}

/// Continues from a place by the bytes of a text, as the BPF programs do. Returns the row of the longest entry that ends
/// with one of these steps, and the place behind the last byte. No steps are there if no entry has one of the bytes.
pub(super) fn follow(table: &[Step], place: Place, text: &[u8]) -> (Option<u32>, Place) {
    let Place { mut from, mut to } = place;
    let mut row = None;
    for byte in text {
        let place = to + u32::from(*byte);
        let step = table.get(place as usize);
        let Some(step) = step.filter(|step| to != 0 && step.from == from) else {
            return (row, Place { from, to: 0 });
        };
        if step.ends != 0 {
            row = Some(step.row);
        }
        (from, to) = (place, step.to);
    }
    (row, Place { from, to })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Place, add, follow};

    /// Few letters, so that entries begin with one another.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0), Just(b'/'), b'a'..=b'c', Just(255)], 0..6)
    }

    proptest! {
        #[test]
        fn the_longest_entry_is_found(
            tables in proptest::collection::vec(proptest::collection::btree_map(text(), 0..1000_u32, 0..60), 1..4),
            texts in proptest::collection::vec(text(), 1..40),
        ) {
            let mut steps = Vec::new();
            let begins: Vec<Place> = (0..)
                .zip(&tables)
                .map(|(slot, entries): (u8, &BTreeMap<Vec<u8>, u32>)| {
                    let entries: Vec<(Vec<u8>, u32)> = entries.clone().into_iter().collect();
                    add(&mut steps, slot, &entries)
                })
                .collect();
            for (entries, begin) in tables.iter().zip(begins) {
                for text in texts.iter().chain(entries.keys()) {
                    let fitting = entries.iter().filter(|(entry, _)| !entry.is_empty() && text.starts_with(entry));
                    let expected = fitting.max_by_key(|(entry, _)| entry.len()).map(|(_, row)| *row);
                    prop_assert_eq!(follow(&steps, begin, text).0, expected);
                }
            }
        }
    }

    #[test]
    fn many_entries_fill_the_table() {
        let mut entries: Vec<(Vec<u8>, u32)> =
            (0..3000_u32).map(|i| (format!("/srv/app-{i}/data/").into_bytes(), i)).collect();
        entries.sort();
        let mut steps = Vec::new();
        let begin = add(&mut steps, 0, &entries);
        for (entry, row) in &entries {
            assert_eq!(follow(&steps, begin, entry).0, Some(*row));
        }
        let taken = steps.iter().filter(|step| step.from != 0).count();
        assert!(steps.len() < 2 * taken, "{} steps, {taken} of them taken", steps.len());
    }
}
