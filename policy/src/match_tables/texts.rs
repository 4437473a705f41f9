//! Tables of strings: trees of beginnings (a whole string is one that ends with its NUL) and of ends.
//!
//! The kernel finds the longest entry that fits; an entry's row therefore answers for the shorter ones too.

use gatewatch_abi::{
    TextSlot,
    consts::{
        FROM_NOWHERE, LENGTH_UNKNOWN, MOUNT_OF_ROOT, POSTFIX_BYTES, TEXT_BINARY, TEXT_BINPRM, TEXT_BYTES,
        TEXT_DENTRY, TEXT_DESCRIPTOR, TEXT_DEVICE, TEXT_FIELD, TEXT_FILE, TEXT_HAS_POSTFIX, TEXT_HAS_PREFIX,
        TEXT_KERNEL, TEXT_NONE, TEXT_PATH, TEXT_UNIX, TEXT_USER,
    },
    is_path,
};

use super::{
    builder::{Builder, negated},
    excess::Excess,
    steps, ways,
};
use crate::plan::{Field, Test, TextOp, WayRead};

/// The bytes of an entry for a value.
fn entry(op: TextOp, value: &[u8]) -> Vec<u8> {
    match op {
        TextOp::Prefix => value.to_vec(),
        TextOp::Equal => [value, b"\0"].concat(),
        TextOp::Postfix => value.iter().rev().copied().collect(),
    }
}

/// Whether a test holds for a string of which `found` is the longest entry that fits (none: `None`).
fn holds(test: &Test, found: Option<&[u8]>) -> bool {
    let Test::Text { op, values, .. } = test else { return true };
    let positive =
        found.is_some_and(|found| values.iter().any(|value| found.starts_with(&entry(*op, value))));
    positive != negated(test)
}

impl Builder<'_> {
    /// The tables of one string.
    pub(super) fn text(&mut self, field: Field) -> Result<(), Excess> {
        let mut slot = source(field);
        let number = u8::try_from(self.tables.text_fields.len()).map_err(|_| Excess::Texts)?;
        let begins = |test: &Test| {
            matches!(test, Test::Text { op: TextOp::Equal | TextOp::Prefix, follow_children: false, .. })
                // The whole path of a program is looked up by its id instead.
                && !(field == Field::Binary && matches!(test, Test::Text { op: TextOp::Equal, .. }))
        };
        let ends = |test: &Test| matches!(test, Test::Text { op: TextOp::Postfix, .. });
        if let Some((default, entries)) = self.trie(field, begins, TEXT_BYTES)? {
            slot.tables |= TEXT_HAS_PREFIX;
            slot.prefix_row = default;
            // The empty beginning is every string's, and a slash every path's.
            let empty = entries.iter().find(|(bytes, _)| bytes.is_empty()).map(|(_, row)| *row);
            let known: &[u8] = if is_path(slot.source) { b"/" } else { b"" };
            let begin = steps::add(&mut self.tables.prefixes, number, &entries);
            let (row, begin) = steps::follow(&self.tables.prefixes, begin, known);
            slot.begin_row = row.or(empty).unwrap_or(default);
            slot.skip = u32::from(!known.is_empty());
            (slot.from, slot.to) = (begin.from, begin.to);
            slot.longest = longest(&entries);
        }
        if let Some((default, entries)) = self.trie(field, ends, POSTFIX_BYTES)? {
            slot.tables |= TEXT_HAS_POSTFIX;
            slot.postfix_row = default;
            slot.longest_end = longest(&entries);
            self.tables.postfixes.extend(entries.into_iter().map(|(bytes, row)| (number, bytes, row)));
        }
        if slot.tables != 0 {
            *self.tables.config.texts.get_mut(usize::from(number)).ok_or(Excess::Texts)? = slot;
            self.tables.text_fields.push(field);
        }
        Ok(())
    }

    /// The default row and the entries of one trie; `None` if no test wants it.
    #[allow(clippy::type_complexity, reason = "used once, right above")]
    fn trie(
        &mut self,
        field: Field,
        wanted: impl Fn(&Test) -> bool,
        limit: usize,
    ) -> Result<Option<(u32, Vec<(Vec<u8>, u32)>)>, Excess> {
        let mut entries: Vec<Vec<u8>> = Vec::new();
        for selector in self.selectors {
            for test in Self::tests(selector, field).filter(|test| wanted(test)) {
                if let Test::Text { op, values, .. } = test {
                    entries.extend(values.iter().map(|value| entry(*op, value)));
                }
            }
        }
        if entries.is_empty() {
            return Ok(None);
        }
        if entries.iter().any(|bytes| bytes.len() > limit) {
            return Err(Excess::TextLength);
        }
        entries.sort_unstable();
        entries.dedup();
        let default =
            self.intern(|s| Self::tests(s, field).filter(|test| wanted(test)).all(|test| holds(test, None)));
        let mut rows = Vec::with_capacity(entries.len());
        for bytes in entries {
            let row = self.intern(|s| {
                Self::tests(s, field).filter(|test| wanted(test)).all(|test| holds(test, Some(&bytes)))
            });
            rows.push((bytes, row));
        }
        Ok(Some((default, rows)))
    }
}

/// Bytes of the longest entry.
fn longest(entries: &[(Vec<u8>, u32)]) -> u32 {
    entries.iter().map(|(bytes, _)| u32::try_from(bytes.len()).unwrap_or(u32::MAX)).max().unwrap_or(0)
}

/// Where the string comes from.
fn source(field: Field) -> TextSlot {
    let (source, arg) = match field {
        Field::File(arg) => (TEXT_FILE, arg),
        Field::Path(arg) => (TEXT_PATH, arg),
        Field::Dentry(arg) => (TEXT_DENTRY, arg),
        Field::Binprm(arg) => (TEXT_BINPRM, arg),
        Field::KernelString(arg) => (TEXT_KERNEL, arg),
        Field::UserString(arg) => (TEXT_USER, arg),
        Field::TracepointString(arg) => (TEXT_FIELD, arg),
        Field::Descriptor(arg) => (TEXT_DESCRIPTOR, arg),
        Field::UnixName { index, .. } => (TEXT_UNIX, index),
        Field::DeviceName(arg) => (TEXT_DEVICE, arg),
        Field::WayText { read, .. } => {
            let source = match read {
                WayRead::String => TEXT_KERNEL,
                WayRead::File => TEXT_FILE,
                WayRead::Path => TEXT_PATH,
                WayRead::Dentry => TEXT_DENTRY,
                WayRead::Binprm => TEXT_BINPRM,
            };
            (source, 0)
        }
        Field::Binary => (TEXT_BINARY, 0),
        _ => (TEXT_NONE, 0),
    };
    let len_arg = match field {
        Field::UnixName { length: Some(arg), .. } => u32::from(arg),
        _ => LENGTH_UNKNOWN,
    };
    let (way_from, way) = match field {
        Field::WayText { way, .. } => (ways::from(way.from), ways::steps(&way)),
        _ => (FROM_NOWHERE, [0; 4]),
    };
    TextSlot {
        source,
        arg: u32::from(arg),
        mount_arg: MOUNT_OF_ROOT,
        len_arg,
        way_from,
        way,
        ..TextSlot::default()
    }
}
