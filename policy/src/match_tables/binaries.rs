//! Tables of programs: whole paths by their ids, parts of paths as any string, and sets whose members' descendants
//! belong to them too.

use gatewatch_abi::FollowSlot;

use super::{
    builder::{Builder, negated},
    excess::Excess,
};
use crate::{
    evaluate::{self, Value},
    plan::{Field, Test, TextOp},
};

/// Whether the test is answered by the program's id.
const fn whole(test: &Test) -> bool {
    matches!(test, Test::Text { op: TextOp::Equal, follow_children: false, .. })
}

/// The set that the test follows.
fn followed(test: &Test) -> Option<&Vec<Vec<u8>>> {
    match test {
        Test::Text { values, follow_children: true, .. } => Some(values),
        _ => None,
    }
}

impl Builder<'_> {
    /// All tables of the calling process's program.
    pub(super) fn binary(&mut self) -> Result<(), Excess> {
        self.whole_paths();
        self.follow_sets()?;
        self.text(Field::Binary)
    }

    fn whole_paths(&mut self) {
        let mut paths: Vec<Vec<u8>> = Vec::new();
        for selector in self.selectors {
            for test in Self::tests(selector, Field::Binary).filter(|test| whole(test)) {
                if let Test::Text { values, .. } = test {
                    paths.extend(values.iter().cloned());
                }
            }
        }
        if paths.is_empty() {
            return;
        }
        paths.sort_unstable();
        paths.dedup();
        self.tables.config.binary = 1;
        self.tables.config.binary_row =
            self.intern(|s| Self::tests(s, Field::Binary).filter(|test| whole(test)).all(negated));
        for path in paths {
            let value = Value::Text(path.clone());
            let row = self.intern(|s| {
                Self::tests(s, Field::Binary)
                    .filter(|test| whole(test))
                    .all(|test| evaluate::test(test, Some(&value)))
            });
            self.tables.binaries.push((path, row));
        }
    }

    fn follow_sets(&mut self) -> Result<(), Excess> {
        let mut sets: Vec<Vec<Vec<u8>>> = Vec::new();
        for selector in self.selectors {
            for set in Self::tests(selector, Field::Binary).filter_map(followed) {
                if !sets.contains(set) {
                    sets.push(set.clone());
                }
            }
        }
        for (i, set) in sets.iter().enumerate() {
            let about = |test: &&Test| followed(test) == Some(set);
            let inside_row =
                self.intern(|s| Self::tests(s, Field::Binary).filter(about).all(|test| !negated(test)));
            let outside_row = self.intern(|s| Self::tests(s, Field::Binary).filter(about).all(negated));
            *self.tables.config.follow.get_mut(i).ok_or(Excess::FollowSets)? =
                FollowSlot { mask: 0, inside_row, outside_row };
        }
        self.tables.follow = sets;
        Ok(())
    }
}
