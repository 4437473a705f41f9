//! Arguments: what a policy declares against what the function has.

use std::{collections::BTreeSet, fmt};

use gatewatch_kernel::{CType, Function, Kind, Param, Pointee, Syscall};

use super::{
    compiler::Compiler,
    declared::{Declared, misread},
    resolve::{Behind, structure},
    syscall::portable,
    syscall_numbers::has_syscall_number,
    types::{Expected, Readable, expected, integer, readable, written},
};
use crate::{
    codes,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Severity},
    filter_rules::undeclared,
    hook_point::PointKind,
    model::{ArgFilter, ArgType, Hook},
    plan::{ArgEvidence, ArgPlan, Evidence, Field, HookPoint, WayFrom},
};

/// Arguments that a kernel function gets in registers.
const MAX_ARGS: u32 = 6;
/// Arguments of a function in a user program that the language has, from 0 on.
const USER_ARGS: u32 = 5;

/// What the kernel has where a hook attaches. It is formatted as in C, which takes time, only for a
/// diagnostic.
#[derive(Clone, Debug)]
pub(super) enum Real<'a> {
    Function(&'a Function),
    /// The prototype of a system call's entry is the same for all: one pointer to the registers. The call's own is
    /// known apart from that.
    Call(Syscall),
}

impl Real<'_> {
    fn params(&self) -> Option<&[Param]> {
        match self {
            Self::Function(function) => function.params.as_deref(),
            Self::Call(call) => call.params.as_deref(),
        }
    }
}

impl fmt::Display for Real<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(function) => function.fmt(f),
            Self::Call(call) => call.fmt(f),
        }
    }
}

/// The declared arguments of a hook, and its result.
#[derive(Clone, Debug, Default)]
pub(super) struct Arguments<'a> {
    pub(super) args: Vec<Declared>,
    /// Whether `args` is there at all.
    pub(super) listed: bool,
    pub(super) result: Option<Declared>,
    /// The function or the system call itself.
    pub(super) real: Option<Real<'a>>,
    /// Those that are enumerations in the kernel: index, and the enumeration's tag.
    pub(super) enums: Vec<(u32, String)>,
}

impl Arguments<'_> {
    /// The arguments as the plan has them.
    pub(super) fn plan(&self) -> Vec<ArgPlan> {
        self.args.iter().map(|declared| ArgPlan { index: declared.index, ty: declared.ty }).collect()
    }

    /// What records of the hook have beside the values of these.
    pub(super) fn evidence(&self, hook: &Hook, user: bool) -> Evidence {
        let of_arg = |declared: &Declared| {
            let Some(arg) = hook.args.get(declared.position) else { return ArgEvidence::default() };
            ArgEvidence {
                label: arg.label.clone(),
                size: arg.size_arg_index.checked_sub(1),
                unread: declared.absent || arg.resolve.is_some() || arg.return_copy || arg.source.is_some(),
                user,
            }
        };
        Evidence {
            message: hook.message.clone(),
            tags: hook.tags.clone(),
            args: self.args.iter().map(of_arg).collect(),
            result: hook.return_arg.as_ref().filter(|_| hook.on_return).map(|arg| arg.ty),
        }
    }
}

impl Compiler<'_> {
    /// Checks the declarations against the prototype.
    pub(super) fn arguments<'f>(
        &mut self,
        hook: &Hook,
        point: &HookPoint,
        function: Option<&'f Function>,
        path: &FieldPath,
    ) -> Arguments<'f> {
        let symbol = point.name();
        let function = function.filter(|_| !point.is_syscall());
        let user = point.has_user_pointers();
        let real = if point.is_syscall() {
            self.environment.kernel.syscall(portable(symbol)).map(Real::Call)
        } else {
            function.map(Real::Function)
        };
        let mut arguments = Arguments { listed: !hook.args.is_empty(), ..Arguments::default() };
        let params = real.as_ref().and_then(Real::params);
        let filtered: BTreeSet<usize> = filtered(hook);
        for (i, arg) in hook.args.iter().enumerate() {
            let path = path.field("args").index(i);
            let most = if point.kind() == PointKind::Uprobe { USER_ARGS } else { MAX_ARGS };
            let count = params.map_or(most, |params| u32::try_from(params.len()).unwrap_or(most));
            if arg.index >= count.min(MAX_ARGS) {
                if point.kind() == PointKind::Uprobe {
                    // A rule reports it.
                    continue;
                }
                let message = format!("`{symbol}` has no argument {}", arg.index);
                let said = |message: String| {
                    let diagnostic = Diagnostic::new(&codes::ARG_INDEX, path.field("index"), message);
                    match real.as_ref().filter(|_| params.is_some()) {
                        Some(real) => diagnostic.help(prototype(real)),
                        None => diagnostic,
                    }
                };
                if self.listed.is_none() || arg.index >= MAX_ARGS {
                    self.report(said(message));
                    continue;
                }
                if filtered.contains(&i) {
                    let message = format!("{message}; a filter on it has no value there");
                    self.report(said(message).severity(Severity::Warning));
                }
                let index = u8::try_from(arg.index).unwrap_or(u8::MAX);
                let readable = readable(arg, index, user);
                let declared = Declared { index: arg.index, position: i, ty: arg.ty, readable, absent: true };
                arguments.args.push(declared);
                continue;
            }
            if point.kind() == PointKind::Uprobe {
                self.of_user_program(arg, filtered.contains(&i), &path);
            }
            let param = params.and_then(|params| params.get(arg.index as usize));
            if let (Some(param), Some(real)) = (param, &real)
                && arg.resolve.is_none()
            {
                let what = format_args!("argument {} of `{symbol}`", arg.index);
                let of = Use { result: false, read: filtered.contains(&i), real: Some(real) };
                self.fits(arg.ty, &param.ty, what, &path, of);
                if let Kind::Enum { name, .. } = &param.ty.kind
                    && !name.is_empty()
                {
                    arguments.enums.push((arg.index, name.clone()));
                }
            }
            let index = u8::try_from(arg.index).unwrap_or(u8::MAX);
            let mut readable = readable(arg, index, user);
            if let Some(param) = param {
                readable = readable.narrowed(&param.ty);
            }
            if let Readable::Unix(..) = readable {
                readable = Readable::Unix(index, length_beside(params, index));
            }
            if arg.resolve.is_some() && !point.is_syscall() && point.kind() != PointKind::Uprobe {
                let structure = structure(arg, param.map(|param| &param.ty));
                let behind =
                    Behind { from: WayFrom::Argument(index), structure, filtered: filtered.contains(&i) };
                readable = self.resolved(arg, behind, &path);
            }
            if has_syscall_number(point, arg) {
                readable = Readable::Syscall(index);
            }
            let declared = Declared { index: arg.index, position: i, ty: arg.ty, readable, absent: false };
            arguments.args.push(declared);
        }
        if let Some(arg) = &hook.return_arg {
            if let Some(function) = function
                && let Some(ret) = &function.ret
            {
                let what = format_args!("the return value of `{symbol}`");
                let of = Use {
                    result: true,
                    read: hook.selectors.iter().any(|selector| !selector.match_return_args.is_empty()),
                    real: None,
                };
                self.fits(arg.ty, ret, what, &path.field("returnArg"), of);
            }
            let readable = match integer(arg.ty) {
                Some((bits, signed)) => Readable::Int { field: Field::Return { bits, signed }, bits, signed },
                None => Readable::Opaque,
            };
            arguments.result = Some(Declared { index: 0, position: 0, ty: arg.ty, readable, absent: false });
        }
        arguments.real = real;
        arguments
    }

    /// Checks a declared type against the kernel's: an error where something else would be read by a filter, a warning
    /// where a part of the value would be, or nothing reads it.
    fn fits(&mut self, ty: ArgType, real: &CType, what: fmt::Arguments<'_>, path: &FieldPath, of: Use<'_>) {
        let code = if of.result { &codes::RETURN_TYPE } else { &codes::ARG_TYPE };
        let problem = match (expected(ty), &real.kind) {
            // Of a narrower one no more is read than there is.
            (Expected::Int(declared), Kind::Int { bits, .. } | Kind::Enum { bits, .. }) => {
                (u32::from(declared) < u32::from(*bits)).then_some(Severity::Warning)
            }
            // 64 bits: an address may be wanted as a number.
            (Expected::Int(_), Kind::Bool)
            | (Expected::Any, _)
            | (Expected::Int(64), Kind::Pointer(_))
            | (Expected::Chars, Kind::Pointer(Pointee::Char | Pointee::Void)) => None,
            (Expected::Struct(names), Kind::Pointer(Pointee::Struct(real))) => {
                (!names.contains(&real.as_str())).then_some(Severity::Error)
            }
            (Expected::Struct(_) | Expected::Chars | Expected::Int(_), _) => Some(Severity::Error),
        };
        if let Some(severity) = problem {
            let generated = self.listed.is_some_and(|listed| listed.generated);
            let (severity, consequence) = match severity {
                Severity::Error if of.read && generated => {
                    (Severity::Warning, "a filter compares a different value")
                }
                Severity::Error => misread(of.read),
                _ => (severity, "only part of the value would be read"),
            };
            let at = path.field("type");
            let diagnostic = Diagnostic::new(
                code,
                at.clone(),
                format!("declared as `{}`, but {what} is a `{}`; {consequence}", ty.name(), real.text),
            )
            .severity(severity);
            let diagnostic = match of.real {
                Some(real) => diagnostic.help(prototype(real)),
                None => diagnostic,
            };
            self.report(match written(real) {
                Some(ty) => diagnostic.fix(Fix {
                    title: format!("write `type: {ty}`"),
                    path: at,
                    edit: Edit::Replace(ty.name().to_owned()),
                    // The filters on it were written for another type.
                    safe: false,
                }),
                None => diagnostic,
            });
        }
    }

    /// The argument that a filter names.
    pub(super) fn declared(
        &mut self,
        hook: &Hook,
        arguments: &Arguments<'_>,
        filter: &ArgFilter,
        path: &FieldPath,
    ) -> Option<Declared> {
        let position = hook
            .filtered_arg(filter)
            .and_then(|arg| hook.args.iter().position(|other| std::ptr::eq(other, arg)));
        let at = |position| arguments.args.iter().find(|declared| declared.position == position).copied();
        let found = position.and_then(at);
        if position.is_none() && !filter.args.is_empty() {
            self.diagnostics.extend(undeclared(hook, filter, path));
        } else if position.is_none() {
            let declared: Vec<String> =
                arguments.args.iter().take(8).map(|arg| arg.index.to_string()).collect();
            let declared = if declared.is_empty() { "none".to_owned() } else { declared.join(", ") };
            let diagnostic = Diagnostic::new(
                &codes::UNDECLARED_ARG,
                path.field("index"),
                format!(
                    "argument {} is not declared in `args` (declared: {declared}), so this filter cannot be evaluated",
                    filter.index
                ),
            );
            self.report(declare(diagnostic, arguments, filter.index, path));
        }
        found
    }

    /// The result, for a filter on it.
    pub(super) fn result(
        &mut self,
        hook: &Hook,
        arguments: &Arguments<'_>,
        path: &FieldPath,
    ) -> Option<Declared> {
        if !hook.on_return {
            self.report(Diagnostic::new(
                &codes::RETURN_FILTER,
                path.clone(),
                "`matchReturnArgs` requires `return: true`; without it there is no return value to match",
            ));
            return None;
        }
        if arguments.result.is_none() {
            self.report(Diagnostic::new(
                &codes::RETURN_FILTER,
                path.clone(),
                "`matchReturnArgs` requires `returnArg`, which declares the type of the return value",
            ));
        }
        arguments.result
    }
}

/// The argument behind the address of a socket, if it is the address's length.
fn length_beside(params: Option<&[Param]>, index: u8) -> Option<u8> {
    let beside = params?.get(usize::from(index) + 1)?;
    matches!(beside.ty.kind, Kind::Int { bits: 32, .. }).then_some(index + 1)
}

/// What a declared argument or result is for.
#[derive(Clone, Copy, Debug)]
struct Use<'a> {
    /// Whether it is the result.
    result: bool,
    /// Whether a filter reads it.
    read: bool,
    /// The function, where the diagnostic shows its prototype.
    real: Option<&'a Real<'a>>,
}

/// The help of a diagnostic on a declaration. The prototype is not in the message, because kernels that agree about the
/// mistake can have other names for the parameters, and findings with other messages are not merged.
fn prototype(real: &Real<'_>) -> String {
    format!("the prototype is `{real}`")
}

/// The positions in `args` that filters read.
pub(super) fn filtered(hook: &Hook) -> BTreeSet<usize> {
    let filters = hook.selectors.iter().flat_map(|selector| &selector.match_args);
    let named = filters.flat_map(|filter| {
        let first = hook
            .filtered_arg(filter)
            .and_then(|arg| hook.args.iter().position(|other| std::ptr::eq(other, arg)));
        first.into_iter().chain(filter.args.iter().map(|position| *position as usize))
    });
    named.collect()
}

/// Adds to a diagnostic on an undeclared argument how it would be declared.
fn declare(diagnostic: Diagnostic, arguments: &Arguments<'_>, index: u32, path: &FieldPath) -> Diagnostic {
    let known = arguments.real.as_ref().and_then(|real| Some((real, real.params()?)));
    let Some((real, params)) = known else {
        return diagnostic.help(format!("declare it: `- {{index: {index}, type: …}}`"));
    };
    let Some(param) = params.get(index as usize) else {
        return diagnostic.help(format!("`{real}` has no argument {index}"));
    };
    let Some(ty) = written(&param.ty) else {
        return diagnostic.help(format!("declare it: argument {index} of `{real}` is a `{}`", param.ty.text));
    };
    let entry = format!("{{index: {index}, type: {ty}}}");
    // From `selectors[0].matchArgs[0]` back to the hook.
    let hook = FieldPath(path.0[..path.0.len().saturating_sub(4)].to_vec());
    let (path, edit) = if arguments.listed {
        (hook.field("args"), Edit::Append(entry.clone()))
    } else {
        (hook, Edit::AddField("args".to_owned(), format!("[{entry}]")))
    };
    diagnostic.help(format!("declare it: `- {entry}` ({real})")).fix(Fix {
        title: format!("declare argument {index}"),
        path,
        edit,
        safe: true,
    })
}
