//! Filters on the number of a system call (`syscall64`), which the tracepoints `raw_syscalls/*` have.

use gatewatch_abi::consts::SYSCALL_BY_32_BITS;
use gatewatch_kernel::{TracepointField, syscall_numbers};

use super::{compiler::Compiler, lists::unknown_list};
use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath},
    filter_rules,
    model::{Arg, ArgFilter, ArgType, List, ListType, Operator, SYSCALL_PREFIX},
    plan::{HookPoint, Test},
    syscall_name::SyscallName,
    values,
};

/// The subsystem of the tracepoints of all system calls together.
const SUBSYSTEM: &str = "raw_syscalls";

/// Whether an argument is declared as what the raw tracepoint `raw_syscalls/sys_enter` has there: registers, and number.
pub(super) fn has_syscall_number(point: &HookPoint, arg: &Arg) -> bool {
    let is_entry = matches!(point, HookPoint::RawTracepoint { subsystem, event } if subsystem == SUBSYSTEM && event == "sys_enter");
    is_entry && arg.ty == ArgType::Syscall64 && arg.index == 1 && arg.resolve.is_none()
}

/// Whether a field of a tracepoint is declared as the number of a system call, and is one. Also as an integer of the same size,
/// if a filter on it names a list (`named`).
pub(super) fn is_syscall_number(subsystem: &str, field: &TracepointField, arg: &Arg, named: bool) -> bool {
    let declared = match arg.ty {
        ArgType::Syscall64 => true,
        ArgType::Int64 | ArgType::Uint64 => named,
        _ => false,
    };
    declared && subsystem == SUBSYSTEM && field.name == "id" && field.size == 8
}

impl Compiler<'_> {
    /// What must hold for the number. Nothing where a diagnostic was reported, or the operator doesn't work.
    pub(super) fn syscall_test(&mut self, filter: &ArgFilter, path: &FieldPath) -> Option<Test> {
        let (negated, in_map) = match filter.operator {
            Operator::Equal => (false, false),
            Operator::NotEqual => (true, false),
            Operator::InMap => (false, true),
            Operator::NotInMap => (true, true),
            _ => return None,
        };
        if !self.some_values(&filter.values, path) {
            return None;
        }
        let mut ranges = Some(Vec::new());
        for (i, value) in filter.values.iter().enumerate() {
            let at = path.field("values").index(i);
            let found = if let Some(name) = List::named_in(value) {
                self.numbers_of_list(name, at)
            } else {
                let read = if in_map && value.contains(':') {
                    values::range_of(value, 64, false)
                } else {
                    values::integer_of(value, 64, false).map(|number| (number, number))
                };
                read.map_err(|error| self.report(filter_rules::unreadable(&codes::BAD_NUMBER, &error, at)))
                    .map(|range| vec![range])
                    .ok()
            };
            ranges = ranges.zip(found).map(|(ranges, found)| [ranges, found].concat());
        }
        Some(Test::Int { negated, ranges: values::merge(ranges?) })
    }

    /// The numbers of the system calls of a list.
    fn numbers_of_list(&mut self, name: &str, at: FieldPath) -> Option<Vec<(i128, i128)>> {
        let lists = self.lists;
        let Some((number, list)) = lists.iter().enumerate().find(|(_, list)| list.name == name) else {
            self.report(unknown_list(name, at));
            return None;
        };
        let arch = self.environment.kernel.arch;
        match list.ty {
            // Every call with a number: the functions of the others are not entered by one.
            Some(ListType::GeneratedSyscalls) => {
                let kernel = self.environment.kernel;
                let calls = kernel.syscalls().filter_map(|name| name.strip_prefix(SYSCALL_PREFIX));
                let numbers = calls.flat_map(|name| syscall_numbers(arch.abi(), name));
                Some(numbers.map(|number| (i128::from(number), i128::from(number))).collect())
            }
            Some(ListType::Syscalls) => {
                let values = FieldPath::root().field("spec").field("lists").index(number).field("values");
                let mut all = Some(Vec::new());
                for (i, value) in list.values.iter().enumerate() {
                    let found = self.numbers_of_call(value, i, &values);
                    all = all.zip(found).map(|(all, found)| [all, found].concat());
                }
                all
            }
            Some(ListType::GeneratedFtrace) | None => {
                self.report(
                    Diagnostic::new(
                        &codes::BAD_LIST,
                        at,
                        format!("the list `{name}` has functions, and not the numbers of system calls"),
                    )
                    .help("name a list of type `syscalls` or `generated_syscalls`"),
                );
                None
            }
        }
    }

    /// The numbers of one value of a list, with the bit of 32-bit programs for their calls.
    fn numbers_of_call(&mut self, value: &str, i: usize, values: &FieldPath) -> Option<Vec<(i128, i128)>> {
        let (call, by_32_bits) = self.syscall_of_list(value, i, values)?;
        let arch = self.environment.kernel.arch;
        let (abi, bit) = if by_32_bits { (arch.compat_abi(), SYSCALL_BY_32_BITS) } else { (arch.abi(), 0) };
        let portable = SyscallName::parse(&call).map_or(call.as_str(), |name| name.portable);
        let name = portable.strip_prefix(SYSCALL_PREFIX).unwrap_or(portable);
        let numbers: Vec<(i128, i128)> = syscall_numbers(abi, name)
            .map(|number| i128::from(u64::from(number) | bit))
            .map(|number| (number, number))
            .collect();
        if numbers.is_empty() {
            self.report(
                Diagnostic::new(
                    &codes::UNKNOWN_CONSTANT,
                    values.index(i),
                    format!("no number is known for the system call `{value}` (table `{abi}`); a filter cannot match it"),
                )
                .help("write its number into the filter"),
            );
            return None;
        }
        Some(numbers)
    }
}
