//! Filters on arguments and on the result.

use gatewatch_abi::consts::{POSTFIX_BYTES, TEXT_BYTES};

use super::{
    compiler::{Compiler, not_run},
    declared::Declared,
    types::Readable,
};
use crate::{
    codes::{self, Code},
    diagnostic::{Diagnostic, FieldPath},
    evaluate::{self, Value},
    filter_rules,
    model::{ArgFilter, ArgType, Operator},
    plan::{Field, Filter, Test, TextOp},
    values::{self, ValueError, constants},
};

impl Compiler<'_> {
    /// One entry of `matchArgs` or `matchReturnArgs`. Nothing where a diagnostic was reported instead.
    pub(super) fn argument_filter(
        &mut self,
        argument: Declared,
        filter: &ArgFilter,
        path: &FieldPath,
    ) -> Option<Filter> {
        if matches!(filter.operator, Operator::CelExpr | Operator::SubString | Operator::SubStringIgnCase) {
            self.not_run(path.field("operator"), &format!("`{}`", filter.operator));
            return None;
        }
        let before = self.diagnostics.len();
        let found = match argument.readable {
            Readable::Int { field, bits, signed } => {
                self.int_test(filter, bits, signed, path).map(|test| Filter { field, test })
            }
            Readable::Text(Field::File(index)) if is_file_type(filter) => {
                self.file_type(Field::FileType(index), filter, path)
            }
            Readable::Text(Field::Path(index)) if is_file_type(filter) => {
                self.file_type(Field::PathType(index), filter, path)
            }
            Readable::Text(Field::Descriptor(index)) if is_file_type(filter) => {
                self.file_type(Field::DescriptorType(index), filter, path)
            }
            Readable::Text(Field::Dentry(_)) if is_file_type(filter) => {
                self.not_run(path.field("operator"), &format!("`{}` on type `dentry`", filter.operator));
                None
            }
            Readable::Text(field) => self.text_test(filter, path).map(|test| Filter { field, test }),
            Readable::Sock(index) => self.sock_filter(index, filter, path),
            Readable::Socket(index) => self.socket_filter(index, filter, path),
            Readable::Address(index) => self.address_filter(index, filter, path),
            Readable::Unix(index, length) => self.unix_filter(index, length, filter, path),
            Readable::Packet(index) => self.packet_filter(index, filter, path),
            Readable::Syscall(index) => {
                self.syscall_test(filter, path).map(|test| Filter { field: Field::Syscall(index), test })
            }
            Readable::Capabilities(index) => self
                .capability_test(filter, path)
                .map(|test| Filter { field: Field::CapabilityArg(index), test }),
            Readable::Empty => self.text_test(filter, path).map(|test| of_nothing(&test)),
            Readable::Opaque => {
                self.not_read(argument, filter, path);
                return None;
            }
            // The values may be wrong, too.
            Readable::Misdeclared => {
                filter_rules::argument(argument.ty, filter, path, &mut self.diagnostics);
                return None;
            }
        };
        // Unless something else was reported of this entry.
        if found.is_none() && !self.stopped_since(before) {
            self.wrong_operator(argument, filter, path);
        }
        if argument.absent { found.map(|filter| constant(evaluate::test(&filter.test, None))) } else { found }
    }

    /// Whether one of the diagnostics since then keeps the agent from running the policy. Where none does, a filter
    /// that has no meaning yet must not be left out.
    fn stopped_since(&self, before: usize) -> bool {
        self.diagnostics.iter().skip(before).any(Diagnostic::stops_gatewatch)
    }

    /// A filter on a type that isn't run yet, which may have no meaning anywhere.
    fn not_read(&mut self, argument: Declared, filter: &ArgFilter, path: &FieldPath) {
        let before = self.diagnostics.len();
        filter_rules::argument(argument.ty, filter, path, &mut self.diagnostics);
        if !self.stopped_since(before) {
            let of_type = format!("filters on arguments of type `{}`", argument.ty);
            let diagnostic = not_run(path.field("index"), &of_type);
            self.report(match argument.ty {
                ArgType::Auto => diagnostic.help(filter_rules::TYPE_HELP),
                _ => diagnostic,
            });
        }
    }

    /// Reports an operator that doesn't fit.
    fn wrong_operator(&mut self, argument: Declared, filter: &ArgFilter, path: &FieldPath) {
        let allowed = match argument.readable {
            Readable::Int { .. } => "Equal, NotEqual, GT, LT, Mask, InMap, NotInMap, InRange, NotInRange",
            Readable::Text(Field::File(_) | Field::Path(_) | Field::Descriptor(_)) => {
                "Equal, NotEqual, Prefix, NotPrefix, Postfix, NotPostfix, FileType, NotFileType"
            }
            Readable::Text(_) | Readable::Empty => "Equal, NotEqual, Prefix, NotPrefix, Postfix, NotPostfix",
            Readable::Unix(..) => "Equal, NotEqual, Prefix, NotPrefix, Postfix, NotPostfix, Family",
            Readable::Address(_) => "SAddr, NotSAddr, SPort, NotSPort, SPortPriv, NotSportPriv, Family",
            Readable::Packet(_) => {
                "SAddr, DAddr, SPort, DPort and their Not forms, SPortPriv, DPortPriv and their Not forms, Protocol, Family"
            }
            Readable::Sock(_) | Readable::Socket(_) => {
                "SAddr, DAddr, SPort, DPort and their Not forms, SPortPriv, DPortPriv and their Not forms, Protocol, \
                 Family, State"
            }
            Readable::Syscall(_) => "Equal, NotEqual, InMap, NotInMap",
            Readable::Capabilities(_) => "Equal, NotEqual, GT, LT, Mask, CapabilitiesGained",
            Readable::Opaque | Readable::Misdeclared => return,
        };
        self.report(
            Diagnostic::new(
                &codes::OPERATOR_TYPE,
                path.field("operator"),
                format!(
                    "operator `{}` does not work on type `{}`; Tetragon would match every call, or none",
                    filter.operator, argument.ty
                ),
            )
            .help(format!("use one of {allowed}")),
        );
    }

    fn int_test(&mut self, filter: &ArgFilter, bits: u8, signed: bool, path: &FieldPath) -> Option<Test> {
        if filter.values.iter().any(|value| value.starts_with("list:")) {
            self.not_run(path.field("values"), "`list:` as a value of an integer argument");
            return None;
        }
        let single = |text: &str| values::integer_of(text, bits, signed).map(|v| (v, v));
        let either = |text: &str| {
            if text.contains(':') { values::range_of(text, bits, signed) } else { single(text) }
        };
        let (negated, ranges) = match filter.operator {
            Operator::Equal => (false, self.values(filter, path, &codes::BAD_NUMBER, single)?),
            Operator::NotEqual => (true, self.values(filter, path, &codes::BAD_NUMBER, single)?),
            Operator::InMap | Operator::InRange => {
                (false, self.values(filter, path, &codes::BAD_NUMBER, either)?)
            }
            Operator::NotInMap | Operator::NotInRange => {
                (true, self.values(filter, path, &codes::BAD_NUMBER, either)?)
            }
            Operator::Gt | Operator::Lt => {
                let values = self.values(filter, path, &codes::BAD_NUMBER, |text| {
                    values::integer_of(text, bits, signed)
                })?;
                (false, beyond(&values, filter.operator == Operator::Gt, values::bounds(bits, signed)))
            }
            Operator::Mask => {
                // A mask is bits, whatever the sign of the type.
                let mask = |text: &str| values::mask_of(text, bits, signed);
                let masks = self.values(filter, path, &codes::BAD_NUMBER, mask)?;
                return Some(Test::Mask {
                    negated: false,
                    mask: masks.into_iter().fold(0, |all, m| all | m),
                });
            }
            _ => return None,
        };
        Some(Test::Int { negated, ranges: crate::values::merge(ranges) })
    }

    /// `FileType` and `NotFileType`.
    fn file_type(&mut self, field: Field, filter: &ArgFilter, path: &FieldPath) -> Option<Filter> {
        let read = |text: &str| constants::file_type_number(text).map(i128::from);
        let types = self.values(filter, path, &codes::UNKNOWN_CONSTANT, read)?;
        let ranges = crate::values::merge(types.into_iter().map(|ty| (ty, ty)).collect());
        let negated = filter.operator == Operator::NotFileType;
        Some(Filter { field, test: Test::Int { negated, ranges } })
    }

    pub(super) fn text_test(&mut self, filter: &ArgFilter, path: &FieldPath) -> Option<Test> {
        let (negated, op) = match filter.operator {
            Operator::Equal => (false, TextOp::Equal),
            Operator::NotEqual => (true, TextOp::Equal),
            Operator::Prefix => (false, TextOp::Prefix),
            Operator::NotPrefix => (true, TextOp::Prefix),
            Operator::Postfix => (false, TextOp::Postfix),
            Operator::NotPostfix => (true, TextOp::Postfix),
            _ => return None,
        };
        let values = self.texts(&filter.values, op, path)?;
        Some(Test::Text { negated, op, values, follow_children: false })
    }

    /// Reads strings: not empty, without NUL, not longer than the kernel's tables hold.
    pub(super) fn texts(&mut self, values: &[String], op: TextOp, path: &FieldPath) -> Option<Vec<Vec<u8>>> {
        if !self.some_values(values, path) {
            return None;
        }
        let limit = match op {
            TextOp::Equal => TEXT_BYTES - 1,
            TextOp::Prefix => TEXT_BYTES,
            TextOp::Postfix => POSTFIX_BYTES,
        };
        let mut good = true;
        for (i, value) in values.iter().enumerate() {
            let problem = if value.is_empty() {
                Some(match op {
                    TextOp::Equal => "an empty string equals no value from the kernel".to_owned(),
                    TextOp::Prefix | TextOp::Postfix => {
                        "every string starts and ends with the empty string".to_owned()
                    }
                })
            } else if value.contains('\0') {
                Some("a string with a NUL byte never matches, because kernel strings end there".to_owned())
            } else if value.len() > limit {
                Some(format!(
                    "the value has {} bytes; the kernel's match tables hold at most {limit}",
                    value.len()
                ))
            } else {
                None
            };
            if let Some(problem) = problem {
                good = false;
                self.report(Diagnostic::new(&codes::BAD_TEXT, path.field("values").index(i), problem));
            }
        }
        good.then(|| values.iter().map(|value| value.clone().into_bytes()).collect())
    }

    /// Reads every value, and reports each that can't be read.
    pub(super) fn values<T>(
        &mut self,
        filter: &ArgFilter,
        path: &FieldPath,
        code: &'static Code,
        read: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<Vec<T>> {
        self.read_values(&filter.values, path, code, read)
    }

    /// Reads every value of a list, and reports each that can't be read.
    pub(super) fn read_values<T>(
        &mut self,
        values: &[String],
        path: &FieldPath,
        code: &'static Code,
        read: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<Vec<T>> {
        if !self.some_values(values, path) {
            return None;
        }
        let mut good = Vec::with_capacity(values.len());
        for (i, value) in values.iter().enumerate() {
            match read(value) {
                Ok(value) => good.push(value),
                Err(error) => {
                    self.report(filter_rules::unreadable(code, &error, path.field("values").index(i)));
                }
            }
        }
        (good.len() == values.len()).then_some(good)
    }

    pub(super) fn some_values(&mut self, values: &[String], path: &FieldPath) -> bool {
        if values.is_empty() {
            self.report(filter_rules::no_values(path));
        }
        !values.is_empty()
    }
}

fn is_file_type(filter: &ArgFilter) -> bool {
    matches!(filter.operator, Operator::FileType | Operator::NotFileType)
}

/// What a test comes to where the value is always empty: values of filters never are.
fn of_nothing(test: &Test) -> Filter {
    constant(evaluate::test(test, Some(&Value::Text(Vec::new()))))
}

/// The values that are greater than one of these, or less, within the bounds of their type.
pub(super) fn beyond(values: &[i128], greater: bool, (min, max): (i128, i128)) -> Vec<(i128, i128)> {
    let ranges = values.iter().map(|value| if greater { (value + 1, max) } else { (min, value - 1) });
    ranges.filter(|(low, high)| low <= high).collect()
}

/// A filter that always holds, or never.
pub(super) const fn constant(holds: bool) -> Filter {
    Filter { field: Field::Pid, test: Test::Int { negated: holds, ranges: Vec::new() } }
}
