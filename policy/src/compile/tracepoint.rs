//! Tracepoints: by the fields of their formats, or (`raw: true`) by the arguments of their prototypes.

use std::collections::BTreeSet;

use gatewatch_kernel::{Attach, FieldKind, Function, TracepointField};

use super::{
    arguments::{Arguments, filtered},
    compiler::Compiler,
    declared::{Declared, misread},
    syscall_numbers::is_syscall_number,
    types::{Expected, Readable, expected, integer, readable},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Edit, FieldPath},
    model::{Arg, ArgFilter, ArgType, Hook, List},
    nearest::nearest,
    plan::{Field, HookPoint},
};

/// Arguments that a raw tracepoint's program can read.
const RAW_ARGS: usize = 5;

/// The subsystem of the entries and exits of system calls, whose pointers are the program's.
const SYSCALLS: &str = "syscalls";

impl Compiler<'_> {
    /// The point of a tracepoint, and for a raw one its prototype. `None`: the reason is reported.
    pub(super) fn tracepoint(
        &mut self,
        (subsystem, event, raw): (&str, &str, bool),
        path: &FieldPath,
    ) -> Option<(HookPoint, Option<Function>)> {
        let kernel = self.environment.kernel;
        let (subsystem, event) = (subsystem.to_owned(), event.to_owned());
        if raw && let Some(params) = kernel.raw_tracepoint(&event) {
            let function = Function {
                name: event.clone(),
                params: Some(params.into_iter().take(RAW_ARGS).collect()),
                ret: None,
                variadic: false,
                attachable: Attach::Yes,
                obstacle: None,
                overridable: None,
            };
            return Some((HookPoint::RawTracepoint { subsystem, event }, Some(function)));
        }
        let name = format!("{subsystem}/{event}");
        let release = &kernel.release;
        if !kernel.knows_tracepoints() {
            let message = format!(
                "the tracepoints of the kernel {release} are not known, so it is not known whether `{name}` exists"
            );
            self.report(Diagnostic::new(&codes::UNKNOWN_FUNCTION, path.field("event"), message).help(
                "mount the tracing file system on the node: `mount -t tracefs tracefs /sys/kernel/tracing`",
            ));
            return None;
        }
        if kernel.tracepoint(&subsystem, &event).is_some() && !raw {
            return Some((HookPoint::Tracepoint { subsystem, event }, None));
        }
        self.unknown_tracepoint(&subsystem, &event, path);
        None
    }

    fn unknown_tracepoint(&mut self, subsystem: &str, event: &str, path: &FieldPath) {
        let kernel = self.environment.kernel;
        let message = format!(
            "the kernel {} has no tracepoint `{subsystem}/{event}`; this hook would never fire",
            kernel.release
        );
        let all = if self.may_search() { kernel.tracepoints() } else { Vec::new() };
        let split = || all.iter().filter_map(|name| name.split_once('/'));
        let elsewhere = split().find(|(of, other)| *other == event && *of != subsystem);
        let (at, suggestion) = if let Some((subsystem, _)) = elsewhere {
            (path.field("subsystem"), Some(subsystem))
        } else {
            let here = split().filter(|(other, _)| *other == subsystem).map(|(_, event)| event);
            (path.field("event"), nearest(event, here))
        };
        let diagnostic = Diagnostic::new(&codes::UNKNOWN_FUNCTION, at, message);
        self.report(match suggestion {
            Some(suggestion) => diagnostic.did_you_mean(suggestion, Edit::Replace(suggestion.to_owned())),
            None => diagnostic,
        });
    }

    /// Checks the declared arguments against the fields of the format.
    pub(super) fn field_arguments<'f>(
        &mut self,
        hook: &Hook,
        (subsystem, event): (&str, &str),
        path: &FieldPath,
    ) -> Arguments<'f> {
        let mut arguments = Arguments { listed: !hook.args.is_empty(), ..Arguments::default() };
        let Some(fields) = self.environment.kernel.tracepoint(subsystem, event) else { return arguments };
        let filtered: BTreeSet<usize> = filtered(hook);
        for (position, arg) in hook.args.iter().enumerate() {
            let path = path.field("args").index(position);
            let field = fields.get(arg.index as usize);
            let (Some(field), Ok(index)) = (field, u8::try_from(arg.index)) else {
                self.report(
                    Diagnostic::new(
                        &codes::ARG_INDEX,
                        path.field("index"),
                        format!("the tracepoint `{subsystem}/{event}` has no field {}", arg.index),
                    )
                    .help(listed(&fields)),
                );
                continue;
            };
            let readable = if is_syscall_number(subsystem, field, arg, names_list(hook, position)) {
                Some(Readable::Syscall(index))
            } else {
                of_field(arg, index, field, subsystem == SYSCALLS)
            };
            let readable = match readable {
                // System calls with the address of a socket have its length behind it.
                Some(Readable::Unix(..)) => {
                    let beside = fields.get(arg.index as usize + 1);
                    let is_length = beside.is_some_and(|field| field.name.ends_with("len"));
                    Some(Readable::Unix(index, is_length.then_some(index + 1)))
                }
                readable => readable,
            };
            if readable.is_none() {
                let (severity, consequence) = misread(filtered.contains(&position));
                self.report(
                    Diagnostic::new(
                        &codes::ARG_TYPE,
                        path.field("type"),
                        format!(
                            "declared as `{}`, but field {} of `{subsystem}/{event}` is `{} {}`; {consequence}",
                            arg.ty.name(),
                            arg.index,
                            field.ty,
                            field.name
                        ),
                    )
                    .severity(severity),
                );
            }
            arguments.args.push(Declared {
                index: arg.index,
                position,
                ty: arg.ty,
                readable: readable.unwrap_or(Readable::Misdeclared),
                absent: false,
            });
        }
        arguments
    }
}

/// What a filter on a field of a tracepoint reads. `None`: the type doesn't fit.
fn of_field(arg: &Arg, index: u8, field: &TracepointField, user: bool) -> Option<Readable> {
    let pointed = |arg: &Arg| readable(arg, index, user);
    Some(match (field.kind(), arg.ty) {
        (FieldKind::Int { bits, signed }, ArgType::Auto) => {
            Readable::Int { field: Field::Arg { index, bits, signed }, bits, signed }
        }
        (FieldKind::Int { bits: real, signed: sign }, ty) if integer(ty).is_some() => {
            let (bits, signed) = integer(ty)?;
            let (narrow, sign) = if real < bits { (real, sign) } else { (bits, signed) };
            Readable::Int { field: Field::Arg { index, bits: narrow, signed: sign }, bits, signed }
        }
        // The tracepoints of system calls have every argument as eight bytes, pointers too.
        (FieldKind::Int { bits: 64, .. }, ty) if integer(ty).is_none() => pointed(arg),
        // The first of several.
        (FieldKind::Array, ty)
            if element_bits(field).is_some() && element_bits(field) == integer(ty).map(|(bits, _)| bits) =>
        {
            let (bits, signed) = integer(ty)?;
            Readable::Int { field: Field::Arg { index, bits, signed }, bits, signed }
        }
        (FieldKind::Pointer, ArgType::Auto) if field.ty.contains("char") => {
            pointed(&Arg { ty: ArgType::String, ..arg.clone() })
        }
        (FieldKind::Pointer, ty) if ty != ArgType::Auto => match expected(ty) {
            Expected::Int(64) => pointed(arg),
            Expected::Int(_) => return None,
            Expected::Struct(names) if names_other(&field.ty, names) => return None,
            _ => pointed(arg),
        },
        (FieldKind::DataLoc, ArgType::Auto | ArgType::DataLoc | ArgType::String) => {
            Readable::Text(Field::TracepointString(index))
        }
        (FieldKind::Pointer, _)
        | (FieldKind::Array | FieldKind::Other, ArgType::Auto | ArgType::ConstBuf) => Readable::Opaque,
        _ => return None,
    })
}

/// Bits of an element of an array: `unsigned long[6]` of 48 bytes.
fn element_bits(field: &TracepointField) -> Option<u8> {
    let (_, count) = field.ty.strip_suffix(']')?.rsplit_once('[')?;
    let count: u32 = count.parse().ok().filter(|count| *count > 0)?;
    u8::try_from(field.size * 8 / count).ok()
}

/// Whether a filter on an argument, by its position in `args`, has the name of a list among its values.
fn names_list(hook: &Hook, position: usize) -> bool {
    let filters = hook.selectors.iter().flat_map(|selector| &selector.match_args);
    let of_it = |filter: &ArgFilter| {
        let arg = hook.filtered_arg(filter);
        arg.is_some_and(|arg| hook.args.get(position).is_some_and(|other| std::ptr::eq(other, arg)))
    };
    filters
        .filter(|filter| of_it(filter))
        .flat_map(|filter| &filter.values)
        .any(|value| List::named_in(value).is_some())
}

/// Whether a field is a pointer to another structure than these. A pointer without one (`void *`) may be to one of them.
fn names_other(field: &str, names: &[&str]) -> bool {
    let of = field.trim_start_matches("const ").trim_end_matches('*').trim_end();
    of.strip_prefix("struct ").is_some_and(|of| !names.contains(&of))
}

/// The fields, for a help.
fn listed(fields: &[TracepointField]) -> String {
    let names: Vec<String> =
        fields.iter().enumerate().map(|(number, field)| format!("{number} `{}`", field.name)).collect();
    format!("its fields are {}", names.join(", "))
}
