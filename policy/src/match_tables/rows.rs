//! Rows: bitmaps over selectors, each kept once.

use std::collections::HashMap;

use gatewatch_abi::{consts::NO_ROW, row_name, row_number};

/// A growing list of rows.
#[derive(Debug)]
pub(super) struct Rows {
    words: usize,
    data: Vec<u64>,
    known: HashMap<Vec<u64>, u32>,
}

impl Rows {
    pub(super) fn new(words: usize) -> Self {
        Self { words, data: Vec::new(), known: HashMap::new() }
    }

    /// Words in a row.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// The bits of a row.
    pub(super) fn get(&self, name: u32) -> Vec<u64> {
        if name == NO_ROW {
            return vec![0; self.words];
        }
        let start = row_number(name) as usize * self.words;
        self.data[start..start + self.words].to_vec()
    }

    /// Appends a row that can be changed later, or must be at this place; returns its number.
    pub(super) fn push(&mut self, row: Vec<u64>) -> u32 {
        debug_assert_eq!(row.len(), self.words);
        let number = u32::try_from(self.data.len() / self.words).unwrap_or(u32::MAX);
        self.data.extend(row);
        number
    }

    /// The name of a row with these bits, which may serve others too. The same bits have the same name.
    pub(super) fn intern(&mut self, row: Vec<u64>) -> u32 {
        let index = |word: Option<usize>| word.and_then(|word| u32::try_from(word).ok());
        let first = index(row.iter().position(|word| *word != 0));
        let last = index(row.iter().rposition(|word| *word != 0));
        let (Some(first), Some(last)) = (first, last) else { return NO_ROW };
        row_name(self.number(row), first, last)
    }

    /// The number of a row with these bits, which may serve others too.
    pub(super) fn number(&mut self, row: Vec<u64>) -> u32 {
        if let Some(number) = self.known.get(&row) {
            return *number;
        }
        let number = self.push(row.clone());
        self.known.insert(row, number);
        number
    }

    pub(super) fn into_words(self) -> Vec<u64> {
        self.data
    }
}
