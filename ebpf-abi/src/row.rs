//! The names of rows: see [`MatcherConfig`](crate::MatcherConfig).

use crate::consts::NO_ROW;

/// Bits of a row's number.
const NUMBER: u32 = 24;
/// Bits of the number of a word.
const WORD: u32 = 4;

const _: () = assert!(crate::consts::MAX_WORDS == 1 << WORD);

/// The name of row `number`, whose words before `first` and after `last` are 0.
pub const fn row_name(number: u32, first: u32, last: u32) -> u32 {
    number | first << NUMBER | last << (NUMBER + WORD)
}

/// Its number. Names of rows with one word are their numbers.
#[inline]
pub const fn row_number(name: u32) -> u32 {
    name & ((1 << NUMBER) - 1)
}

/// The first of its words that isn't 0.
#[inline]
pub const fn row_first(name: u32) -> u32 {
    name >> NUMBER & ((1 << WORD) - 1)
}

/// The last of them.
#[inline]
pub const fn row_last(name: u32) -> u32 {
    name >> (NUMBER + WORD)
}

// That name belongs to no row: there are no 16 million of them.
const _: () = assert!(row_number(NO_ROW) == (1 << NUMBER) - 1);

#[cfg(test)]
mod tests {
    use super::{row_first, row_last, row_name, row_number};

    #[test]
    fn a_name_has_three_parts() {
        let name = row_name(70_000, 3, 15);
        assert_eq!((row_number(name), row_first(name), row_last(name)), (70_000, 3, 15));
        assert_eq!(row_name(7, 0, 0), 7);
    }
}
