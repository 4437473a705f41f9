//! Sets of strings: those that begin with, end with, contain or equal something.
//!
//! A set is a conjunction of clauses. Whether it is empty is found by choosing one alternative of every clause: an
//! exact string is tried out, and of beginnings and ends the longest must have all others at their own beginning and
//! end. Between a beginning and an end there is room for any letters, so nothing else can contradict them.

use super::budget::{ALTERNATIVES, Budget};

/// What can be asked of a string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom {
    /// It is this.
    Equal(String),
    /// It begins with this.
    Prefix(String),
    /// It ends with this.
    Postfix(String),
    /// This is somewhere in it.
    Contains(String),
}

impl Atom {
    /// Whether it holds for a string.
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::Equal(value) => text == value,
            Self::Prefix(value) => text.starts_with(value.as_str()),
            Self::Postfix(value) => text.ends_with(value.as_str()),
            Self::Contains(value) => text.contains(value.as_str()),
        }
    }
}

/// At least one of the alternatives holds, or, negated, none does. There being no string is in negated ones only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Whether none holds.
    pub negated: bool,
    /// The alternatives.
    pub atoms: Vec<Atom>,
}

/// Strings for which all clauses hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextSet {
    clauses: Vec<Clause>,
}

/// The part of a string that is settled by the alternatives that were chosen.
#[derive(Clone, Copy, Default)]
struct Shape<'a> {
    prefix: &'a str,
    postfix: &'a str,
    exact: Option<&'a str>,
}

impl TextSet {
    /// Every string, and there being none.
    pub const fn everything() -> Self {
        Self { clauses: Vec::new() }
    }

    /// The strings for which one clause holds.
    pub fn of(clause: Clause) -> Self {
        Self { clauses: vec![clause] }
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let mut clauses = self.clauses.clone();
        clauses.extend(other.clauses.iter().filter(|clause| !self.clauses.contains(clause)).cloned());
        Self { clauses }
    }

    /// Sets that together are everything that isn't in this one.
    pub fn complement(&self) -> Vec<Self> {
        let negate = |clause: &Clause| Clause { negated: !clause.negated, atoms: clause.atoms.clone() };
        self.clauses.iter().map(|clause| Self::of(negate(clause))).collect()
    }

    /// Whether the string, or there being none, is in the set.
    pub fn contains(&self, text: Option<&str>) -> bool {
        let holds = |clause: &Clause| {
            let one = text.is_some_and(|text| clause.atoms.iter().any(|atom| atom.holds(text)));
            one != clause.negated
        };
        self.clauses.iter().all(holds)
    }

    /// Whether it is proved that nothing is in it.
    pub(super) fn is_empty(&self, budget: &Budget) -> bool {
        // The shortest lists first: they leave the fewest alternatives.
        let mut wanted: Vec<&[Atom]> =
            self.clauses.iter().filter(|clause| !clause.negated).map(|clause| &*clause.atoms).collect();
        wanted.sort_by_key(|atoms| atoms.len());
        if wanted.is_empty() {
            // There being no string is in it.
            return false;
        }
        let ways = wanted.iter().fold(1_usize, |ways, atoms| ways.saturating_mul(atoms.len()));
        if ways > ALTERNATIVES * ALTERNATIVES {
            return false;
        }
        !self.possible(&wanted, Shape::default(), &mut Vec::new(), budget)
    }

    /// Whether some choice of alternatives leaves a string, or the search takes too long.
    fn possible<'a>(
        &self,
        wanted: &[&'a [Atom]],
        shape: Shape<'a>,
        inside: &mut Vec<&'a str>,
        budget: &Budget,
    ) -> bool {
        let Some((atoms, rest)) = wanted.split_first() else {
            return self.leaves_room(shape, inside, budget);
        };
        for atom in *atoms {
            if !budget.spend(1) {
                return true;
            }
            let depth = inside.len();
            if let Some(shape) = shape.with(atom, inside)
                && self.possible(rest, shape, inside, budget)
            {
                return true;
            }
            inside.truncate(depth);
        }
        false
    }

    /// Whether there is a string of this shape that no negated clause forbids.
    fn leaves_room(&self, shape: Shape<'_>, inside: &[&str], budget: &Budget) -> bool {
        let forbidden = || self.clauses.iter().filter(|c| c.negated).flat_map(|clause| &clause.atoms);
        if !budget.spend(1 + forbidden().count()) {
            return true;
        }
        if let Some(text) = shape.exact {
            let fits = text.starts_with(shape.prefix) && text.ends_with(shape.postfix);
            return fits
                && inside.iter().all(|part| text.contains(part))
                && !forbidden().any(|a| a.holds(text));
        }
        // What is settled already must not be forbidden; all else can be avoided.
        let settled =
            |part: &str| [shape.prefix, shape.postfix].iter().chain(inside).any(|text| text.contains(part));
        !forbidden().any(|atom| match atom {
            Atom::Equal(_) => false,
            Atom::Prefix(value) => shape.prefix.starts_with(value.as_str()),
            Atom::Postfix(value) => shape.postfix.ends_with(value.as_str()),
            Atom::Contains(value) => settled(value),
        })
    }
}

impl<'a> Shape<'a> {
    /// With one more alternative, unless it contradicts what is settled.
    fn with(mut self, atom: &'a Atom, inside: &mut Vec<&'a str>) -> Option<Self> {
        match atom {
            Atom::Equal(value) => match self.exact {
                Some(exact) if exact != value => return None,
                _ => self.exact = Some(value),
            },
            Atom::Prefix(value) if value.starts_with(self.prefix) => self.prefix = value,
            Atom::Prefix(value) if !self.prefix.starts_with(value.as_str()) => return None,
            Atom::Postfix(value) if value.ends_with(self.postfix) => self.postfix = value,
            Atom::Postfix(value) if !self.postfix.ends_with(value.as_str()) => return None,
            Atom::Prefix(_) | Atom::Postfix(_) => {}
            Atom::Contains(value) => inside.push(value),
        }
        let fits =
            self.exact.is_none_or(|text| text.starts_with(self.prefix) && text.ends_with(self.postfix));
        fits.then_some(self)
    }
}
