//! The look-ups of the BPF programs in plain Rust, table by table. Tests compare it with the reference evaluator: a table
//! that is built wrongly is found without a kernel.

use gatewatch_abi::{
    ExactKey, IntSlot,
    consts::{
        ACTION_COUNT, NO_ROW, TABLE_DIRECT, TABLE_HASH, TABLE_INLINE, TABLE_MASK, TEXT_HAS_POSTFIX,
        TEXT_HAS_PREFIX,
    },
    row_first, row_last, row_number,
};

use super::{
    steps::{self, Place},
    tables::Tables,
};
use crate::{
    evaluate::{Event, Value},
    plan::Field,
};

impl Tables {
    /// The hooks that an event in a cgroup with this policy set is counted for, as the BPF programs find them.
    pub fn simulate(&self, policy_set: u32, event: &impl Event) -> Vec<u32> {
        let mut bits = self.row(policy_set);
        let mut and = |row: &[u64]| bits.iter_mut().zip(row).for_each(|(bits, row)| *bits &= row);
        for (i, (field, slot)) in self.int_fields.iter().zip(&self.config.ints).enumerate() {
            match event.value(*field) {
                Some(Value::Int(value)) => and(&self.int_row(i, slot, value)),
                _ => and(&self.named(slot.absent_row)),
            }
        }
        let binary = event.value(Field::Binary);
        if self.config.binary != 0 {
            let known = self.binaries.iter().find(|(path, _)| binary == Some(Value::Text(path.clone())));
            and(&self.named(known.map_or(self.config.binary_row, |(_, row)| *row)));
        }
        for (set, slot) in self.follow.iter().zip(&self.config.follow) {
            let inside = event.lineage().iter().any(|program| set.contains(program));
            and(&self.named(if inside { slot.inside_row } else { slot.outside_row }));
        }
        for (i, (field, slot)) in (0_u32..).zip(self.addr_fields.iter().zip(&self.config.addrs)) {
            let row = match event.value(*field) {
                Some(Value::Address(address)) => self
                    .addresses
                    .iter()
                    .filter(|(of, network, _)| *of == i && network.contains(&address))
                    .max_by_key(|(_, network, _)| network.prefix)
                    .map(|(_, _, row)| *row),
                _ => None,
            };
            and(&self.named(row.unwrap_or(slot.default_row)));
        }
        for (i, (field, slot)) in (0_u8..).zip(self.text_fields.iter().zip(&self.config.texts)) {
            let text = match event.value(*field) {
                Some(Value::Text(text)) => Some(text),
                _ => None,
            };
            let forwards = text.as_ref().map(|text| [text.as_slice(), b"\0"].concat());
            let backwards = text.map(|text| text.into_iter().rev().collect::<Vec<u8>>());
            if slot.tables & TEXT_HAS_PREFIX != 0 {
                let begin = Place { from: slot.from, to: slot.to };
                let found = |text: &[u8]| {
                    let end = text.len().min(slot.longest.max(slot.skip) as usize);
                    let text = &text[slot.skip as usize..end];
                    let (row, _) = steps::follow(&self.prefixes, begin, text);
                    row.unwrap_or(slot.begin_row)
                };
                and(&self.named(forwards.as_deref().map_or(slot.prefix_row, found)));
            }
            if slot.tables & TEXT_HAS_POSTFIX != 0 {
                and(&self.named(longest(&self.postfixes, i, backwards).unwrap_or(slot.postfix_row)));
            }
        }
        self.counted(bits)
    }

    fn counted(&self, mut bits: Vec<u64>) -> Vec<u32> {
        let mut hooks = Vec::new();
        for (w, word) in bits.iter_mut().enumerate() {
            while *word != 0 {
                let bit = word.trailing_zeros() as usize;
                *word &= *word - 1;
                let action = self.actions[w * 64 + bit];
                *word &= !action.siblings;
                if action.flags & ACTION_COUNT != 0 {
                    hooks.push(action.hook);
                }
            }
        }
        hooks
    }

    /// The row of a number.
    fn row(&self, number: u32) -> Vec<u64> {
        let words = self.config.words as usize;
        self.rows[number as usize * words..][..words].to_vec()
    }

    /// The row of a name, as far as the BPF programs read it.
    fn named(&self, name: u32) -> Vec<u64> {
        if name == NO_ROW {
            return vec![0; self.config.words as usize];
        }
        let mut row = self.row(row_number(name));
        let looked_at = row_first(name)..=row_last(name);
        for (_, word) in (0..).zip(&mut row).filter(|(w, _)| !looked_at.contains(w)) {
            *word = 0;
        }
        row
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as a register holds it")]
    fn int_row(&self, number: usize, slot: &IntSlot, value: i128) -> Vec<u64> {
        let register = value as u64;
        match slot.table {
            TABLE_INLINE => (0..slot.count)
                .find(|i| slot.values[*i as usize] == register)
                .map_or_else(|| self.named(slot.default_row), |i| self.named(slot.rows + i)),
            TABLE_HASH => {
                let key =
                    ExactKey { value: register, slot: u32::try_from(number).unwrap_or(u32::MAX), pad: 0 };
                self.named(
                    self.exact
                        .iter()
                        .find(|(known, _)| *known == key)
                        .map_or(slot.default_row, |(_, row)| *row),
                )
            }
            TABLE_DIRECT if register & slot.mask < u64::from(slot.count) => {
                self.named(self.direct[slot.rows as usize + (register & slot.mask) as usize])
            }
            TABLE_DIRECT => self.named(slot.default_row),
            TABLE_MASK => {
                let mut row = self.row(slot.default_row);
                let mut hits = vec![0; row.len()];
                for bit in (0..64).filter(|bit| register >> bit & 1 == 1) {
                    hits.iter_mut().zip(self.row(slot.rows + bit)).for_each(|(hits, row)| *hits |= row);
                }
                row.iter_mut().zip(hits).for_each(|(row, hits)| *row ^= hits);
                row
            }
            _ => {
                let ordered = if slot.signed == 0 { register } else { register ^ (1 << 63) };
                let points = &self.breaks[slot.rows as usize..][..slot.count as usize];
                let point = points.iter().rev().find(|[point, _]| *point <= ordered);
                self.named(point.map_or(NO_ROW, |[_, row]| u32::try_from(*row).unwrap_or(NO_ROW)))
            }
        }
    }
}

/// The row of the longest entry of a slot that the text begins with.
fn longest(entries: &[(u8, Vec<u8>, u32)], slot: u8, text: Option<Vec<u8>>) -> Option<u32> {
    let text = text?;
    entries
        .iter()
        .filter(|(of, bytes, _)| *of == slot && text.starts_with(bytes))
        .max_by_key(|(_, bytes, _)| bytes.len())
        .map(|(_, _, row)| *row)
}
