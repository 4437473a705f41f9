//! Filters on sets of capabilities that are arguments.

use super::{
    arguments::Arguments,
    compiler::Compiler,
    declared::Declared,
    filters::{beyond, constant},
    types::Readable,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath},
    filter_rules,
    model::{ArgFilter, Hook, Operator},
    plan::{Field, Filter, Test},
    values::{self, constants},
};

impl Compiler<'_> {
    /// What must hold for the set of one argument. Nothing where a diagnostic was reported, or the operator doesn't work.
    pub(super) fn capability_test(&mut self, filter: &ArgFilter, path: &FieldPath) -> Option<Test> {
        use Operator as O;
        if !matches!(filter.operator, O::Equal | O::NotEqual | O::Gt | O::Lt | O::Mask) {
            return None;
        }
        let sets = self.capability_sets(filter, path)?;
        let numbers: Vec<i128> = sets.iter().map(|set| i128::from(*set)).collect();
        let ranges = match filter.operator {
            O::Mask => {
                let mask = sets.iter().fold(0, |all, set| all | set);
                return Some(Test::Mask { negated: false, mask });
            }
            O::Gt | O::Lt => beyond(&numbers, filter.operator == O::Gt, values::bounds(64, false)),
            _ => numbers.into_iter().map(|set| (set, set)).collect(),
        };
        Some(Test::Int { negated: filter.operator == O::NotEqual, ranges: values::merge(ranges) })
    }

    /// Reads every value, and reports each that can't be read.
    fn capability_sets(&mut self, filter: &ArgFilter, path: &FieldPath) -> Option<Vec<u64>> {
        if !self.some_values(&filter.values, path) {
            return None;
        }
        let mut sets = Vec::with_capacity(filter.values.len());
        for (i, value) in filter.values.iter().enumerate() {
            match constants::capabilities(value) {
                Ok(set) => sets.push(set),
                Err(error) => {
                    let code = filter_rules::capability_code(&error);
                    self.report(filter_rules::unreadable(code, &error, path.field("values").index(i)));
                }
            }
        }
        (sets.len() == filter.values.len()).then_some(sets)
    }

    /// `CapabilitiesGained`: the second of two sets has a capability that the first one has not. Tetragon reads the set
    /// before from the first argument and the set after from the second (`bpf/process/types/basic.h`).
    pub(super) fn capabilities_gained(
        &mut self,
        hook: &Hook,
        arguments: &Arguments<'_>,
        filter: &ArgFilter,
        path: &FieldPath,
    ) -> Option<Filter> {
        if !filter.values.is_empty() {
            self.report(Diagnostic::new(
                &codes::NO_VALUES,
                path.field("values"),
                "`CapabilitiesGained` takes no values: it compares two arguments",
            ));
            return None;
        }
        let &[old, new] = filter.args.as_slice() else {
            self.report(filter_rules::two_sets(path));
            return None;
        };
        if let Some(diagnostic) = filter_rules::undeclared(hook, filter, path) {
            self.report(diagnostic);
            return None;
        }
        let old = self.capability_argument(arguments, old, path.field("args").index(0));
        let new = self.capability_argument(arguments, new, path.field("args").index(1));
        let ((old, old_index), (new, new_index)) = (old?, new?);
        if old.absent || new.absent {
            return Some(constant(false));
        }
        let field = Field::CapabilitiesGained { old: old_index, new: new_index };
        Some(Filter { field, test: Test::Int { negated: false, ranges: vec![(1, u64::MAX.into())] } })
    }

    /// The argument at a position of the hook's list, with its index, if it is a set of capabilities.
    fn capability_argument(
        &mut self,
        arguments: &Arguments<'_>,
        position: u32,
        path: FieldPath,
    ) -> Option<(Declared, u8)> {
        let declared = arguments.args.iter().find(|declared| declared.position == position as usize)?;
        if let Readable::Capabilities(index) = declared.readable {
            return Some((*declared, index));
        }
        self.report(
            Diagnostic::new(
                &codes::OPERATOR_TYPE,
                path,
                format!(
                    "`CapabilitiesGained` compares two sets of capabilities, but the argument at position {position} is \
                     declared as `{}`; the filter cannot be evaluated",
                    declared.ty
                ),
            )
            .help("declare both arguments as `kernel_cap_t`, `cap_effective`, `cap_permitted` or `cap_inheritable`"),
        );
        None
    }
}
