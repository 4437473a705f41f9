//! Hooks on the functions of a list: `call: list:NAME`. Each function gets a hook of its own, and what is to be reported of
//! many functions is reported once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    rc::Rc,
};

use gatewatch_kernel::Arch;
use regex::bytes::RegexBuilder;

use super::compiler::{Compiler, Listed};
use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath, Fix, Severity},
    expand::weight,
    model::{Hook, HookTarget, List, ListType},
    plan::HookPlan,
    syscall_name::SyscallName,
};

/// The most functions that the lists of a policy may have together on one kernel. Each takes time to attach.
const MAX_POINTS: usize = 1024;
/// The most of them with `return: true`: each has a program and a matcher of its own, which see arguments and result together.
const MAX_RETURNS: usize = 64;
/// The most bytes that the filters of list hooks may take, counted for each function.
const MAX_BYTES: usize = 32 << 20;
/// The most lists of a policy that are searched in the names of all functions.
const MAX_SEARCHES: usize = 32;
/// The most bytes of a compiled pattern.
const MAX_PATTERN: usize = 1 << 20;
/// The kernel's answer to numbers without a system call (`kernel/sys_ni.c`): it is named like a system call, and is none.
const NO_CALL: &str = "sys_ni_syscall";

/// The lists of a policy, and their functions as far as hooks need them.
pub(super) struct Lists<'a> {
    written: &'a [List],
    functions: BTreeMap<usize, Rc<Vec<Listing>>>,
    searches: usize,
    points: usize,
    returns: usize,
    bytes: usize,
}

/// One function of a list.
#[derive(Clone, Debug)]
struct Listing {
    call: String,
    /// Whether it is a system call; `None`: as the hook says.
    syscall: Option<bool>,
    compat: bool,
    /// Its number in `values`.
    value: Option<usize>,
}

impl<'a> Lists<'a> {
    pub(super) const fn new(lists: &'a [List]) -> Self {
        Self { written: lists, functions: BTreeMap::new(), searches: 0, points: 0, returns: 0, bytes: 0 }
    }
}

/// The list that a hook names.
pub(super) fn named(hook: &Hook) -> Option<&str> {
    match &hook.target {
        HookTarget::Function { call, .. } => List::named_in(call),
        _ => None,
    }
}

/// Compiles a pattern of `generated_ftrace`, in Go's syntax. Names of functions are ASCII.
pub(crate) fn pattern(text: &str) -> Result<regex::bytes::Regex, String> {
    let compiled = RegexBuilder::new(text).unicode(false).size_limit(MAX_PATTERN).nest_limit(64).build();
    compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        // The last line is the reason; the others show the pattern.
        error => {
            error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    })
}

impl Compiler<'_> {
    /// The hooks on the functions of a list.
    pub(super) fn listed(
        &mut self,
        hook: &Hook,
        name: &str,
        path: &FieldPath,
        lists: &mut Lists<'_>,
    ) -> Vec<HookPlan> {
        let call = path.field("call");
        let Some(number) = lists.written.iter().position(|list| list.name == name) else {
            self.report(unknown_list(name, call));
            return Vec::new();
        };
        let functions = self.functions(number, lists);
        if !self.fit(hook, &functions, &call, lists) {
            return Vec::new();
        }
        let generated = lists.written[number].ty.is_some_and(ListType::is_generated);
        let values = FieldPath::root().field("spec").field("lists").index(number).field("values");
        let before = self.diagnostics.len();
        let (mut plans, mut points) = (Vec::with_capacity(functions.len()), BTreeSet::new());
        for function in functions.iter() {
            let mut one = hook.clone();
            if let HookTarget::Function { call, syscall, .. } = &mut one.target {
                call.clone_from(&function.call);
                *syscall = function.syscall.unwrap_or(*syscall);
            }
            self.listed = Some(Listed { generated, compat: function.compat });
            let start = self.diagnostics.len();
            plans.extend(self.hook(&one, path.clone()).filter(|plan| points.insert(plan.point.clone())));
            let Some(value) = function.value else { continue };
            for diagnostic in self.diagnostics.iter_mut().skip(start).filter(|found| found.path == call) {
                diagnostic.path = values.index(value);
                let fix = diagnostic.fix.take();
                diagnostic.fix = fix.map(|fix| {
                    let path = if fix.path == call { values.index(value) } else { fix.path };
                    Fix { path, ..fix }
                });
            }
        }
        self.listed = None;
        self.combine(before);
        plans
    }

    /// Whether the policy's lists are still within the limits, with this hook. If they are not, that is reported.
    fn fit(&mut self, hook: &Hook, functions: &[Listing], call: &FieldPath, lists: &mut Lists<'_>) -> bool {
        let within = |lists: &Lists<'_>| {
            lists.points <= MAX_POINTS && lists.returns <= MAX_RETURNS && lists.bytes <= MAX_BYTES
        };
        if !within(lists) {
            return false;
        }
        lists.points += functions.len();
        lists.returns += if hook.on_return { functions.len() } else { 0 };
        lists.bytes += functions.len() * hook.selectors.iter().map(weight).sum::<usize>();
        if within(lists) {
            return true;
        }
        // Without a number of this kernel's, so that several kernels say the same.
        let what = if lists.points > MAX_POINTS {
            format!("the lists that this policy hooks have more than {MAX_POINTS} functions")
        } else if lists.returns > MAX_RETURNS {
            format!(
                "the lists that this policy hooks with `return: true` have more than {MAX_RETURNS} functions, each of which \
                 needs a program of its own"
            )
        } else {
            format!(
                "the filters of this policy, for each function of its lists, take more than {} MiB",
                MAX_BYTES >> 20
            )
        };
        let message = format!("{what}, so the policy is not loaded");
        let diagnostic = Diagnostic::new(&codes::TOO_MANY_POINTS, call.clone(), message);
        self.report(diagnostic.help("name fewer functions, or divide them among several policies"));
        false
    }

    /// The functions of a list on this kernel.
    fn functions(&mut self, number: usize, lists: &mut Lists<'_>) -> Rc<Vec<Listing>> {
        if let Some(known) = lists.functions.get(&number) {
            return Rc::clone(known);
        }
        let list = &lists.written[number];
        let path = FieldPath::root().field("spec").field("lists").index(number);
        let found = match list.ty {
            Some(ListType::GeneratedSyscalls) => self.all_syscalls(),
            Some(ListType::GeneratedFtrace) => {
                lists.searches += 1;
                self.matching(list, lists.searches, &path)
            }
            Some(ListType::Syscalls) => {
                let values = list.values.iter().enumerate();
                values.filter_map(|(i, value)| self.syscall_of(value, i, &path.field("values"))).collect()
            }
            None => {
                let as_written = |(i, value): (usize, &String)| Listing {
                    call: value.clone(),
                    syscall: None,
                    compat: false,
                    value: Some(i),
                };
                list.values.iter().enumerate().map(as_written).collect()
            }
        };
        let found = Rc::new(found);
        lists.functions.insert(number, Rc::clone(&found));
        found
    }

    /// Every system call that can be probed.
    fn all_syscalls(&self) -> Vec<Listing> {
        let kernel = self.environment.kernel;
        let can_be_probed = |name: &&str| {
            kernel.facts(&kernel.syscall_symbol(name)).is_some_and(|facts| facts.may_be_probed())
        };
        let listing =
            |name: &str| Listing { call: name.to_owned(), syscall: Some(true), compat: false, value: None };
        kernel.syscalls().filter(|name| *name != NO_CALL).filter(can_be_probed).map(listing).collect()
    }

    /// Every function that a pattern matches and that can be probed.
    fn matching(&mut self, list: &List, searches: usize, path: &FieldPath) -> Vec<Listing> {
        let kernel = self.environment.kernel;
        let at = path.field("pattern");
        let text = list.pattern.as_deref().unwrap_or_default();
        if text.is_empty() {
            self.report(missing_pattern(at));
            return Vec::new();
        }
        if searches > MAX_SEARCHES {
            let message =
                format!("a policy supports at most {MAX_SEARCHES} lists of type `generated_ftrace`");
            self.report(Diagnostic::new(&codes::TOO_MANY_POINTS, at, message));
            return Vec::new();
        }
        let pattern = match pattern(text) {
            Ok(pattern) => pattern,
            Err(why) => {
                self.report(bad_pattern(text, &why, at));
                return Vec::new();
            }
        };
        let all = kernel.functions().filter(|name| pattern.is_match(name.as_bytes()));
        let (found, left_out): (Vec<&str>, Vec<&str>) =
            all.partition(|name| kernel.facts(name).is_some_and(|facts| facts.may_be_probed()));
        if found.is_empty() {
            let message = format!(
                "the pattern `{text}` matches no function of the kernel {} that can be probed",
                kernel.release
            );
            self.report(Diagnostic::new(&codes::UNKNOWN_FUNCTION, at, message));
        } else if !left_out.is_empty() {
            let message = "the pattern also matches functions that cannot be probed; they are not hooked";
            self.report(Diagnostic::new(&codes::NOT_ATTACHABLE, at, message).severity(Severity::Note));
        }
        let listing =
            |name: &str| Listing { call: name.to_owned(), syscall: None, compat: false, value: None };
        // More than that are rejected.
        found.into_iter().take(MAX_POINTS + 1).map(listing).collect()
    }

    /// The system call of one value of a list of the type `syscalls`, and whether it is one of 32-bit programs.
    pub(super) fn syscall_of_list(
        &mut self,
        value: &str,
        number: usize,
        values: &FieldPath,
    ) -> Option<(String, bool)> {
        self.syscall_of(value, number, values).map(|listing| (listing.call, listing.compat))
    }

    /// The system call of one value of a list of the type `syscalls`.
    fn syscall_of(&mut self, value: &str, number: usize, values: &FieldPath) -> Option<Listing> {
        let arch = self.environment.kernel.arch;
        let (abi, name) = value.split_once('/').unwrap_or((arch.abi(), value));
        let listing =
            |compat| Listing { call: name.to_owned(), syscall: Some(true), compat, value: Some(number) };
        let is_call = SyscallName::parse(name).is_some();
        if is_call && (abi == arch.abi() || abi == arch.compat_abi()) {
            return Some(listing(abi != arch.abi()));
        }
        let other =
            Arch::ALL.iter().filter(|_| is_call).find(|arch| [arch.abi(), arch.compat_abi()].contains(&abi));
        let at = values.index(number);
        self.report(match other {
            Some(other) => {
                let message = format!(
                    "`{value}` exists only on {}; nodes of another architecture don't load the policy",
                    other.name()
                );
                Diagnostic::new(&codes::ARCH_NAME, at, message).severity(Severity::Error)
            }
            None => not_a_syscall(value, at),
        });
        None
    }

    /// Combines the findings since then that have one code and one path, which are about several functions.
    fn combine(&mut self, before: usize) {
        let found = self.diagnostics.split_off(before);
        let mut alike: BTreeMap<(&str, FieldPath), (usize, usize)> = BTreeMap::new();
        let first = self.diagnostics.len();
        for diagnostic in found {
            let key = (diagnostic.code.id, diagnostic.path.clone());
            if let Some((place, more)) = alike.get_mut(&key) {
                *more += 1;
                let known = &mut self.diagnostics[first + *place];
                if known.severity < diagnostic.severity {
                    *known = diagnostic;
                }
            } else {
                alike.insert(key, (self.diagnostics.len() - first, 0));
                self.diagnostics.push(diagnostic);
            }
        }
        for (place, more) in alike.into_values().filter(|(_, more)| *more > 0) {
            let message = &mut self.diagnostics[first + place].message;
            let _ = write!(message, "; the same for {more} more of the list");
        }
    }
}

/// A name of a list that the policy doesn't have.
pub(crate) fn unknown_list(name: &str, path: FieldPath) -> Diagnostic {
    Diagnostic::new(&codes::BAD_LIST, path, format!("unknown list `{name}`; every node rejects the policy"))
}

/// A list of functions without the pattern that finds them.
pub(crate) fn missing_pattern(path: FieldPath) -> Diagnostic {
    let message = "a list of type `generated_ftrace` requires a pattern; every node rejects the policy";
    Diagnostic::new(&codes::BAD_LIST, path, message)
        .help("add `pattern: …`, a regular expression such as `^tcp_v4_`")
}

/// A value of a list of system calls that is none.
pub(crate) fn not_a_syscall(value: &str, path: FieldPath) -> Diagnostic {
    let message = format!("`{value}` is not a system call name; every node rejects the policy");
    Diagnostic::new(&codes::BAD_LIST, path, message)
        .help("write `sys_NAME` or `ABI/sys_NAME`, for example `i386/sys_open`")
}

/// A pattern that is not a regular expression.
pub(crate) fn bad_pattern(text: &str, why: &str, path: FieldPath) -> Diagnostic {
    Diagnostic::new(
        &codes::BAD_LIST,
        path,
        format!("`{text}` is not a valid regular expression: {why}; every node rejects the policy"),
    )
    .help("write a regular expression, for example `^tcp_v4_`, or `^tcp_.*_msg$` where `.*` matches any characters")
}

#[cfg(test)]
mod tests;
