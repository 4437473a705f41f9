//! Filters on the calling process: its program, ids, namespaces and capabilities.

use gatewatch_abi::consts::FORK_PIDS;

use super::compiler::Compiler;
use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath},
    model::{NamespaceKind, Operator, PidFilter, Selector},
    plan::{Field, Filter, Test, TextOp},
    values::{self, NamespaceValue, constants},
};

impl Compiler<'_> {
    /// `matchBinaries`.
    pub(super) fn binaries(&mut self, selector: &Selector, path: &FieldPath, filters: &mut Vec<Filter>) {
        for (i, filter) in selector.match_binaries.iter().enumerate() {
            let path = path.field("matchBinaries").index(i);
            let (negated, op) = match filter.operator {
                Operator::In => (false, TextOp::Equal),
                Operator::NotIn => (true, TextOp::Equal),
                Operator::Prefix => (false, TextOp::Prefix),
                Operator::NotPrefix => (true, TextOp::Prefix),
                Operator::Postfix => (false, TextOp::Postfix),
                Operator::NotPostfix => (true, TextOp::Postfix),
                other => {
                    self.operator(&path, other, "In, NotIn, Prefix, NotPrefix, Postfix, NotPostfix");
                    continue;
                }
            };
            if filter.follow_children && op != TextOp::Equal {
                self.report(Diagnostic::new(
                    &codes::OPERATOR_TYPE,
                    path.field("followChildren"),
                    format!("`followChildren` works only with In and NotIn, not with {}", filter.operator),
                ));
                continue;
            }
            if op != TextOp::Postfix {
                self.absolute(&filter.values, &path);
            }
            if let Some(values) = self.texts(&filter.values, op, &path) {
                let test = Test::Text { negated, op, values, follow_children: filter.follow_children };
                filters.push(Filter { field: Field::Binary, test });
            }
        }
    }

    fn absolute(&mut self, paths: &[String], path: &FieldPath) {
        for (i, value) in
            paths.iter().enumerate().filter(|(_, value)| !value.is_empty() && !value.starts_with('/'))
        {
            self.report(Diagnostic::new(
                &codes::BAD_TEXT,
                path.field("values").index(i),
                format!(
                    "`{value}` is not an absolute path; programs are matched by absolute path, so it never matches"
                ),
            ));
        }
    }

    /// `matchPIDs`.
    pub(super) fn pids(&mut self, selector: &Selector, path: &FieldPath, filters: &mut Vec<Filter>) {
        for (i, filter) in selector.match_pids.iter().enumerate() {
            let path = path.field("matchPIDs").index(i);
            let Some(negated) = self.membership(filter.operator, &path) else { continue };
            if filter.values.is_empty() {
                self.report(Diagnostic::new(
                    &codes::NO_VALUES,
                    path,
                    "the filter has no values, so it has no effect",
                ));
                continue;
            }
            if filter.follow_forks {
                filters.extend(self.descends(filter, negated, &path));
                continue;
            }
            let ranges = crate::values::merge(
                filter.values.iter().map(|v| (i128::from(*v), i128::from(*v))).collect(),
            );
            let field = if filter.is_namespace_pid { Field::NamespacePid } else { Field::Pid };
            filters.push(Filter { field, test: Test::Int { negated, ranges } });
        }
    }

    /// An entry of `matchPIDs` with `followForks`.
    fn descends(&mut self, filter: &PidFilter, negated: bool, path: &FieldPath) -> Option<Filter> {
        let mut distinct = filter.values.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() > FORK_PIDS {
            self.report(
                Diagnostic::new(
                    &codes::OVER_LIMIT,
                    path.field("values"),
                    format!("{} process ids with `followForks`: at most {FORK_PIDS}", distinct.len()),
                )
                .help("write several selectors, of which each has some of them"),
            );
            return None;
        }
        let last = distinct.last().copied().unwrap_or_default();
        let pids = std::array::from_fn(|i| distinct.get(i).copied().unwrap_or(last));
        let field = Field::Descends { namespaced: filter.is_namespace_pid, pids };
        Some(Filter { field, test: Test::Mask { negated, mask: 1 } })
    }

    /// `matchNamespaces`.
    pub(super) fn namespaces(&mut self, selector: &Selector, path: &FieldPath, filters: &mut Vec<Filter>) {
        for (i, filter) in selector.match_namespaces.iter().enumerate() {
            let path = path.field("matchNamespaces").index(i);
            let Some(negated) = self.membership(filter.operator, &path) else { continue };
            let Some(values) =
                self.read_values(&filter.values, &path, &codes::UNKNOWN_CONSTANT, values::namespace)
            else {
                continue;
            };
            let host = self.environment.host_namespaces.get(&filter.namespace).copied();
            let mut ranges = Vec::with_capacity(values.len());
            for (k, value) in values.into_iter().enumerate() {
                match (value, host) {
                    (NamespaceValue::Inode(inode), _) | (NamespaceValue::Host, Some(inode)) => {
                        ranges.push((i128::from(inode), i128::from(inode)));
                    }
                    (NamespaceValue::Host, None) => self.report(Diagnostic::new(
                        &codes::UNKNOWN_CONSTANT,
                        path.field("values").index(k),
                        format!("this kernel has no namespaces of kind `{}`", filter.namespace),
                    )),
                }
            }
            let field = Field::Namespace(filter.namespace);
            filters.push(Filter { field, test: Test::Int { negated, ranges: crate::values::merge(ranges) } });
        }
    }

    /// `matchCapabilities`.
    pub(super) fn capabilities(&mut self, selector: &Selector, path: &FieldPath, filters: &mut Vec<Filter>) {
        for (i, filter) in selector.match_capabilities.iter().enumerate() {
            let path = path.field("matchCapabilities").index(i);
            let Some(negated) = self.membership(filter.operator, &path) else { continue };
            if filter.is_namespace_capability {
                filters.extend(self.in_another_user_namespace(&path));
            }
            let read =
                self.read_values(&filter.values, &path, &codes::UNKNOWN_CONSTANT, constants::capability);
            if let Some(numbers) = read {
                let mask = numbers.into_iter().fold(0, |mask, number| mask | 1 << number);
                filters.push(Filter {
                    field: Field::Capabilities(filter.set),
                    test: Test::Mask { negated, mask },
                });
            }
        }
    }

    /// `isNamespaceCapability`: in the host's user namespace the filter does not match, whatever its operator
    /// (`bpf/process/pfilter.h`).
    fn in_another_user_namespace(&mut self, path: &FieldPath) -> Option<Filter> {
        let kind = NamespaceKind::User;
        let Some(host) = self.environment.host_namespaces.get(&kind).copied() else {
            self.report(Diagnostic::new(
                &codes::UNKNOWN_CONSTANT,
                path.field("isNamespaceCapability"),
                format!("this kernel has no namespaces of kind `{kind}`"),
            ));
            return None;
        };
        let host = i128::from(host);
        let test = Test::Int { negated: true, ranges: vec![(host, host)] };
        Some(Filter { field: Field::Namespace(kind), test })
    }

    /// Whether the filter is negated: `In` or `NotIn`.
    fn membership(&mut self, operator: Operator, path: &FieldPath) -> Option<bool> {
        match operator {
            Operator::In => Some(false),
            Operator::NotIn => Some(true),
            other => {
                self.operator(path, other, "In or NotIn");
                None
            }
        }
    }

    fn operator(&mut self, path: &FieldPath, operator: Operator, allowed: &str) {
        self.report(
            Diagnostic::new(
                &codes::OPERATOR_TYPE,
                path.field("operator"),
                format!("operator `{operator}` is not supported here"),
            )
            .help(format!("use one of {allowed}")),
        );
    }
}
