//! The list of a kernel's functions, and which of them can be probed.

use super::{Attach, Obstacle};

/// Sorted names, with the data of the kernel's lists for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Functions {
    pub(super) names: Names,
    /// Parallel to `names`.
    pub(super) entries: Vec<Entry>,
    /// Whether [`Entry::overridable`] is known.
    pub(super) overrides_known: bool,
}

/// The data of a function other than its name and types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) access: Access,
    /// Number of functions with this name.
    pub(super) symbols: u16,
    pub(super) overridable: bool,
}

/// Whether a function can be probed, and why not. The file format uses these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Unknown = 0,
    Yes = 1,
    NotTraceable = 2,
    Blacklisted = 3,
    Ambiguous = 4,
}

impl Access {
    pub(super) const ALL: [Self; 5] =
        [Self::Unknown, Self::Yes, Self::NotTraceable, Self::Blacklisted, Self::Ambiguous];

    /// Whether no obstacle is known.
    pub(super) const fn may_be_probed(self) -> bool {
        matches!(self, Self::Unknown | Self::Yes)
    }
}

impl Functions {
    /// The index and entry of a function, or of its clone if the compiler kept only that.
    pub(super) fn find(&self, name: &str) -> Option<(usize, Entry, Attach, Option<Obstacle>)> {
        if let Some(index) = self.names.find(name) {
            let entry = *self.entries.get(index)?;
            let (attach, obstacle) = match entry.access {
                Access::Unknown => (Attach::Unknown, None),
                Access::Yes => (Attach::Yes, None),
                Access::NotTraceable => (Attach::No, Some(Obstacle::NotTraceable)),
                Access::Blacklisted => (Attach::No, Some(Obstacle::Blacklisted)),
                Access::Ambiguous => {
                    (Attach::No, Some(Obstacle::Ambiguous { symbols: entry.symbols.into() }))
                }
            };
            return Some((index, entry, attach, obstacle));
        }
        let (index, symbol) = self.clone_of(name)?;
        let obstacle = Obstacle::Clone { symbol: symbol.to_owned() };
        Some((index, *self.entries.get(index)?, Attach::No, Some(obstacle)))
    }

    /// The first symbol that consists of this name and a suffix from the compiler.
    fn clone_of(&self, name: &str) -> Option<(usize, &str)> {
        let prefix = format!("{name}.");
        let index = self.names.position(&prefix);
        let symbol = self.names.get(index)?;
        (!name.is_empty() && symbol.starts_with(&prefix)).then_some((index, symbol))
    }
}

/// Sorted names in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    text: String,
    /// The end of each name in `text`.
    ends: Vec<u32>,
}

impl Names {
    /// Appends a name, which must sort after the existing ones. Does nothing beyond 4 GiB of names.
    pub(super) fn push(&mut self, name: &str) {
        if let Ok(end) = u32::try_from(self.text.len() + name.len()) {
            self.text.push_str(name);
            self.ends.push(end);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start as usize..*self.ends.get(index)? as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The index of the first name that does not sort before this one.
    fn position(&self, name: &str) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.get(middle).is_some_and(|other| other < name) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let index = self.position(name);
        (self.get(index) == Some(name)).then_some(index)
    }

    pub(super) fn is_sorted(&self) -> bool {
        self.iter().zip(self.iter().skip(1)).all(|(a, b)| a < b)
    }
}

impl<'a> FromIterator<&'a str> for Names {
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        let mut all = Self::default();
        for name in names {
            all.push(name);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        let names: Names = ["", "a", "ab", "b"].into_iter().collect();
        for (index, name) in names.iter().enumerate() {
            assert_eq!(names.find(name), Some(index));
        }
        assert_eq!(names.find("aa"), None);
        assert_eq!(names.find("c"), None);
        assert!(names.is_sorted());
        assert!(!["b", "a"].into_iter().collect::<Names>().is_sorted());
        assert!(!["a", "a"].into_iter().collect::<Names>().is_sorted());
    }
}
