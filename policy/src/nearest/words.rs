//! Likely typos of a word.

use std::{collections::HashMap, sync::Arc};

/// Words longer than this are not compared: no label's key or value is.
const LONGEST: usize = 320;

/// The distance of two different words, if one is a likely typo of the other: 0 where they differ in case and
/// punctuation only, otherwise the number of letters that are wrong, missing, too many or swapped.
///
/// Short words have to be nearer, since there are so many of them, and words that differ in their digits alone
/// (`v1`, `v2`) are meant to differ.
pub fn typo_distance(one: &str, other: &str) -> Option<u8> {
    if one == other || one.len() > LONGEST || other.len() > LONGEST {
        return None;
    }
    let (one, other) = (fold(one), fold(other));
    if one == other {
        return (!one.is_empty()).then_some(0);
    }
    let letters = |word: &str| word.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let most = allowed(one.chars().count().min(other.chars().count()));
    if most == 0 || letters(&one) == letters(&other) {
        return None;
    }
    let distance = strsim::damerau_levenshtein(&one, &other);
    // Of four letters another first one makes another word more often than a typo: `test` and `rest`.
    let plausible = one.len().min(other.len()) > 4 || one.as_bytes().first() == other.as_bytes().first();
    (distance <= most && plausible).then(|| u8::try_from(distance).unwrap_or(u8::MAX))
}

/// The number of typos that are allowed in a word of this length.
fn allowed(length: usize) -> usize {
    match length {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

fn fold(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' ')).map(|c| c.to_ascii_lowercase()).collect()
}

/// A summary of a word that is compared first: which letters are in it, how many, and hashes of all of them.
#[derive(Clone, Copy, Debug)]
struct Sketch {
    letters: u64,
    length: u16,
    /// Of all letters, as [`fold`] leaves them.
    folded: u32,
    /// Of those that are no digits.
    wordly: u32,
}

impl Sketch {
    fn new(word: &str) -> Self {
        let mut sketch = Self { letters: 0, length: 0, folded: 0, wordly: 0 };
        // FNV-1a, of which any start will do here.
        let hash = |so_far: u32, byte: u8| (so_far ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        for byte in word.bytes().filter(|b| !matches!(b, b'-' | b'_' | b'.' | b' ')) {
            let byte = byte.to_ascii_lowercase();
            let bit = match byte {
                letter @ b'a'..=b'z' => letter - b'a',
                digit @ b'0'..=b'9' => 26 + digit - b'0',
                other => 36 + other % 28,
            };
            sketch.letters |= 1 << bit;
            sketch.length = sketch.length.saturating_add(1);
            sketch.folded = hash(sketch.folded, byte);
            if !byte.is_ascii_digit() {
                sketch.wordly = hash(sketch.wordly, byte);
            }
        }
        sketch
    }

    /// Whether words of these sketches may be similar. A typo changes at most two letters of the set, and words that
    /// differ in their digits alone are similar only where they don't differ in these either.
    fn near(self, other: Self) -> bool {
        if self.wordly == other.wordly && self.folded != other.folded && self.letters_alone(other) {
            return false;
        }
        let most = allowed(usize::from(self.length.min(other.length)));
        usize::from(self.length.abs_diff(other.length)) <= most
            && (self.letters ^ other.letters).count_ones() as usize <= 2 * most
    }

    /// Whether the same letters are in both, digits aside; so that a clash of hashes hides no word that has others.
    fn letters_alone(self, other: Self) -> bool {
        const DIGITS: u64 = 0x3ff << 26;
        (self.letters ^ other.letters) & !DIGITS == 0
    }
}

/// A map from words to values that finds a word and the words that are similar to it.
#[derive(Clone, Debug)]
pub struct Words<T> {
    /// The place of each word in both lists.
    places: HashMap<Arc<str>, usize>,
    /// Apart from the words, since all of it is read for every question.
    sketches: Vec<Sketch>,
    list: Vec<(Arc<str>, T)>,
}

impl<T> Default for Words<T> {
    fn default() -> Self {
        Self { places: HashMap::new(), sketches: Vec::new(), list: Vec::new() }
    }
}

impl<T: Default> Words<T> {
    /// The value of a word.
    pub fn get(&self, word: &str) -> Option<&T> {
        self.known(word).map(|(_, about)| about)
    }

    /// The word itself, too, which lives as long as the list.
    pub fn known(&self, word: &str) -> Option<(&str, &T)> {
        self.list.get(*self.places.get(word)?).map(|(word, about)| (&**word, about))
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, word: &str) -> Option<&mut T> {
        self.list.get_mut(*self.places.get(word)?).map(|(_, about)| about)
    }

    /// The value of a word, which is added if it is missing.
    pub fn entry(&mut self, word: &str) -> &mut T {
        let place = self.places.get(word).copied().unwrap_or_else(|| {
            let word: Arc<str> = word.into();
            self.sketches.push(Sketch::new(&word));
            self.places.insert(word.clone(), self.list.len());
            self.list.push((word, T::default()));
            self.list.len() - 1
        });
        &mut self.list[place].1
    }

    /// Removes a word.
    pub fn remove(&mut self, word: &str) {
        let Some(place) = self.places.remove(word) else { return };
        self.sketches.swap_remove(place);
        self.list.swap_remove(place);
        if let Some((moved, _)) = self.list.get(place)
            && let Some(its_place) = self.places.get_mut(moved)
        {
            *its_place = place;
        }
    }

    /// All words, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.list.iter().map(|(word, about)| (&**word, about))
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The words of which this one is a likely typo, with the number of typos, the most similar first.
    pub fn near<'a>(&'a self, word: &str) -> Vec<(u8, &'a str, &'a T)> {
        let sketch = Sketch::new(word);
        let candidates = self.sketches.iter().zip(&self.list).filter(|(other, _)| sketch.near(**other));
        let mut found: Vec<_> = candidates
            .filter_map(|(_, (other, about))| Some((typo_distance(word, other)?, &**other, about)))
            .collect();
        found.sort_by_key(|(distance, other, _)| (*distance, *other));
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slips_and_words_of_their_own() {
        for (one, other, expected) in [
            ("empre", "empire", Some(1)),
            ("Empire", "empire", Some(0)),
            ("death-star", "death_star", Some(0)),
            ("deathsatr", "deathstar", Some(1)),
            ("org", "Org", Some(0)),
            ("org", "orb", None),
            ("test", "rest", None),
            ("test", "tets", Some(1)),
            ("v1", "v2", None),
            ("web-1", "web-2", None),
            ("web", "web2", None),
            ("empire", "alliance", None),
            ("empire", "empire", None),
            ("-", ".", None),
        ] {
            assert_eq!(typo_distance(one, other), expected, "{one} {other}");
            assert_eq!(typo_distance(other, one), expected, "{other} {one}");
        }
    }

    proptest! {
        /// The sketch only leaves out what isn't near.
        #[test]
        fn all_near_words_are_found(
            words in prop::collection::btree_set("[ab]{1,3}[a-dA-D0-2._-]{0,8}", 1..20),
            asked in "[ab]{1,3}[a-dA-D0-2._-]{0,8}",
            gone in any::<prop::sample::Index>(),
        ) {
            let mut known = Words::<()>::default();
            for word in &words {
                known.entry(word);
            }
            let gone = words.iter().nth(gone.index(words.len())).cloned().unwrap_or_default();
            known.remove(&gone);
            let found: Vec<&str> = known.near(&asked).iter().map(|(_, word, ())| *word).collect();
            for word in words.iter().filter(|word| **word != gone) {
                prop_assert!(known.get(word).is_some());
                prop_assert_eq!(found.contains(&word.as_str()), typo_distance(&asked, word).is_some(), "{}", word);
            }
            prop_assert!(!found.contains(&gone.as_str()));
        }
    }
}
