//! A policy becomes a plan for one kernel: names become symbols and numbers, text becomes values. Whatever can't be
//! given a meaning is a diagnostic; a policy with an error has no plan.
//!
//! Meaning that Tetragon leaves undefined (entries that are silently dropped, filters that are always true) is an
//! error here. What the agent doesn't run yet is said as [`NOT_RUN_HERE`](codes::NOT_RUN_HERE).

mod answers;
mod arguments;
mod elsewhere;
mod enums;
mod filters;
mod process;
mod room;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use answers::Answers;
use gatewatch_kernel::{Attach, Function, Profile};

use crate::{
    arch, check, codes,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Severity},
    model::{Action, Hook, Kind, NamespaceKind, Policy, Selector, Target},
    nearest, placeholder,
    plan::{HookPlan, Plan, Scope, SelectorPlan},
};

/// What a policy is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Environment<'a> {
    /// The kernel.
    pub kernel: &'a Profile,
    /// Inode numbers of the host's own namespaces, for `host_ns`. A kind that is missing has none on this kernel.
    pub host_namespaces: &'a BTreeMap<NamespaceKind, u32>,
}

/// Compiles a policy. There is a plan unless there is an error that is about Gatewatch.
pub fn compile(policy: &Policy, environment: Environment<'_>) -> (Option<Plan>, Vec<Diagnostic>) {
    let mut compiler =
        Compiler { environment, diagnostics: Vec::new(), searches: SEARCHES, monitors: policy.monitors() };
    let plan = compiler.policy(policy);
    let failed = compiler.diagnostics.iter().any(Diagnostic::stops_gatewatch);
    (if failed { None } else { Some(plan) }, compiler.diagnostics)
}

/// Names of one policy that are looked for among the kernel's with slips in them. Each takes a look at all of its
/// functions, and a policy may have tens of thousands of hooks.
const SEARCHES: usize = 32;

struct Compiler<'a> {
    environment: Environment<'a>,
    diagnostics: Vec<Diagnostic>,
    /// How many more names are looked for.
    searches: usize,
    /// Whether the policy only monitors.
    monitors: bool,
}

impl Compiler<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The functions whose names are most like this one, as long as there aren't too many to look for.
    fn nearest(&mut self, symbol: &str, max: usize) -> Vec<String> {
        match self.searches.checked_sub(1) {
            Some(left) => {
                self.searches = left;
                nearest::functions(self.environment.kernel, symbol, max)
            }
            None => Vec::new(),
        }
    }

    /// Says that a part of the language isn't run yet.
    fn not_run(&mut self, path: FieldPath, what: &str) {
        self.report(Diagnostic::new(
            &codes::NOT_RUN_HERE,
            path,
            format!("this agent does not support {what} yet, so it does not load the policy"),
        ));
    }

    fn policy(&mut self, policy: &Policy) -> Plan {
        let spec = &policy.spec;
        let root = FieldPath::root().field("spec");
        for (name, present) in [
            ("fentries", !spec.fentries.is_empty()),
            ("tracepoints", !spec.tracepoints.is_empty()),
            ("lsmhooks", !spec.lsm_hooks.is_empty()),
            ("uprobes", !spec.uprobes.is_empty()),
            ("usdts", !spec.usdts.is_empty()),
            ("loader", spec.loader),
            ("lists", !spec.lists.is_empty()),
            // A policy that only monitors doesn't need them.
            ("enforcers", !spec.enforcers.is_empty() && !self.monitors),
            ("selectorsMacros", !spec.selectors_macros.is_empty()),
        ] {
            if present {
                self.not_run(root.field(name), &format!("`{name}`"));
            }
        }
        self.other_hooks(policy, &root);
        let kprobes = root.field("kprobes");
        let hooks: Vec<(usize, HookPlan)> = spec
            .kprobes
            .iter()
            .enumerate()
            .filter_map(|(i, hook)| Some((i, self.hook(hook, &kprobes.index(i))?)))
            .collect();
        self.room(&hooks, &kprobes);
        let hooks = hooks.into_iter().map(|(_, hook)| hook).collect();
        Plan {
            name: policy.name.clone(),
            namespace: match policy.kind {
                Kind::Cluster => None,
                Kind::Namespaced => policy.namespace.clone(),
            },
            scope: Scope::of(policy),
            hooks,
        }
    }

    fn hook(&mut self, hook: &Hook, path: &FieldPath) -> Option<HookPlan> {
        let Target::Function { call, syscall, syscall_written } = &hook.target else { return None };
        let function = if call.starts_with("list:") {
            self.not_run(path.field("call"), "`list:` in `call`");
            None
        } else {
            self.function(call, *syscall, *syscall_written, hook.ignore_failure, path)
        };
        // Without the function there is no plan, but all other faults are still found. A name that is not written as a
        // system call's is taken for the function of that name.
        let kernel = self.environment.kernel;
        let prefixed = call.starts_with("sys_") || call.starts_with(kernel.arch.syscall_prefix());
        let by_name = || kernel.function(call).filter(|_| !prefixed);
        let known = function.clone().or_else(by_name);
        let symbol = known.as_ref().map_or(call.as_str(), |function| function.name.as_str());
        let arguments = self.arguments(hook, symbol, *syscall && prefixed, known.as_ref(), path);
        if let Some(action @ ("TrackSock" | "UntrackSock")) = hook.return_arg_action.as_deref() {
            self.not_run(path.field("returnArgAction"), &format!("`{action}`"));
        }
        let mut selectors = Vec::new();
        for (i, selector) in hook.selectors.iter().enumerate() {
            selectors.push(self.selector(selector, hook, &arguments, &path.field("selectors").index(i)));
        }
        if selectors.is_empty() {
            selectors.push(SelectorPlan { filters: Vec::new(), counts: true });
        }
        let symbol = function?.name;
        Some(HookPlan { symbol, syscall: *syscall, on_return: hook.on_return, selectors })
    }

    /// The kernel's function, if it has one that can be probed.
    fn function(
        &mut self,
        call: &str,
        syscall: bool,
        written: bool,
        optional: bool,
        path: &FieldPath,
    ) -> Option<Function> {
        let kernel = self.environment.kernel;
        let prefix = kernel.arch.syscall_prefix();
        let named_as_syscall = call.starts_with("sys_") || call.starts_with(prefix);
        if let Some(of) = arch::of_one(call).filter(|of| of.prefix != prefix)
            && kernel.function(call).is_none_or(|_| syscall)
        {
            self.report(
                check::hooks::one_architecture(call, syscall, of, path.field("call"))
                    .severity(Severity::Error),
            );
            return None;
        }
        if syscall && !named_as_syscall {
            let symbol = kernel.syscall_symbol(call);
            let reason = if written { "" } else { " by default" };
            self.report(
                Diagnostic::new(
                    &codes::SYSCALL_NAME,
                    path.field("call"),
                    format!(
                        "`{call}` is not a system call, but `syscall` is true{reason}; no kernel has `{symbol}`"
                    ),
                )
                .fix(Fix {
                    title: "write `syscall: false`".to_owned(),
                    path: if written { path.field("syscall") } else { path.clone() },
                    edit: if written {
                        Edit::Replace("false".to_owned())
                    } else {
                        Edit::AddField("syscall".to_owned(), "false".to_owned())
                    },
                    safe: kernel.function(call).is_some(),
                }),
            );
            return None;
        }
        if !syscall && call.starts_with("sys_") {
            self.report(
                Diagnostic::new(
                    &codes::SYSCALL_NAME,
                    path.field("call"),
                    format!(
                        "`{call}` is a system call name, but `syscall` is false; the kernel has no function `{call}`"
                    ),
                )
                .fix(Fix {
                    title: "write `syscall: true`".to_owned(),
                    path: path.field("syscall"),
                    edit: Edit::Replace("true".to_owned()),
                    safe: true,
                }),
            );
            return None;
        }
        let symbol = if syscall { kernel.syscall_symbol(call) } else { call.to_owned() };
        match kernel.function(&symbol) {
            Some(function) if function.attachable == Attach::No => {
                let why = function.obstacle.map_or_else(String::new, |why| format!(": {why}"));
                self.report(Diagnostic::new(
                    &codes::NOT_ATTACHABLE,
                    path.field("call"),
                    format!(
                        "the kernel {} does not allow probing `{symbol}`{why}; the hook would never fire",
                        kernel.release
                    ),
                ));
                None
            }
            Some(function) => Some(function),
            None => {
                self.missing(call, &symbol, syscall, optional, path);
                None
            }
        }
    }

    fn missing(&mut self, call: &str, symbol: &str, syscall: bool, optional: bool, path: &FieldPath) {
        let kernel = self.environment.kernel;
        let nearest = self.nearest(symbol, 3);
        let mut diagnostic = Diagnostic::new(
            &codes::UNKNOWN_FUNCTION,
            path.field("call"),
            format!("the kernel {} has no function `{symbol}`; this hook would never fire", kernel.release),
        );
        if let Some(found) = placeholder::find(call) {
            diagnostic = diagnostic.help(placeholder::help(found));
        } else if let Some(best) = nearest.first() {
            let written =
                if syscall { best.strip_prefix(kernel.arch.syscall_prefix()) } else { Some(best.as_str()) };
            let names: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
            diagnostic = diagnostic.help(format!("did you mean {}?", names.join(" or ")));
            if let Some(written) = written.filter(|written| *written != call) {
                diagnostic = diagnostic.fix(Fix {
                    title: format!("write `{written}`"),
                    path: path.field("call"),
                    edit: Edit::Replace(written.to_owned()),
                    safe: false,
                });
            }
        }
        if optional {
            diagnostic = diagnostic.severity(Severity::Warning);
        }
        self.report(diagnostic);
    }

    fn selector(
        &mut self,
        selector: &Selector,
        hook: &Hook,
        arguments: &arguments::Arguments<'_>,
        path: &FieldPath,
    ) -> SelectorPlan {
        for (name, present) in [
            ("matchData", !selector.match_data.is_empty()),
            ("matchParentBinaries", !selector.match_parent_binaries.is_empty()),
            ("matchNamespaceChanges", !selector.match_namespace_changes.is_empty()),
            ("matchCapabilityChanges", !selector.match_capability_changes.is_empty()),
            ("matchWorkloads", !selector.match_workloads.is_empty()),
            ("macros", !selector.macros.is_empty()),
        ] {
            if present {
                self.not_run(path.field(name), &format!("`{name}`"));
            }
        }
        let mut filters = Vec::new();
        self.binaries(selector, path, &mut filters);
        self.pids(selector, path, &mut filters);
        self.namespaces(selector, path, &mut filters);
        self.capabilities(selector, path, &mut filters);
        for (i, filter) in selector.match_args.iter().enumerate() {
            let path = path.field("matchArgs").index(i);
            if let Some(argument) = self.declared(hook, arguments, filter, &path) {
                filters.extend(self.argument_filter(argument, filter, &path));
                self.enum_numbers(arguments, argument.index, filter, &path);
            }
        }
        for (i, filter) in selector.match_return_args.iter().enumerate() {
            let path = path.field("matchReturnArgs").index(i);
            if let Some(result) = self.result(hook, arguments, &path) {
                filters.extend(self.argument_filter(result, filter, &path));
            }
        }
        let counts = self.actions(&selector.match_actions, &path.field("matchActions"));
        self.actions(&selector.match_return_actions, &path.field("matchReturnActions"));
        SelectorPlan { filters, counts }
    }

    /// Whether a match is counted.
    fn actions(&mut self, actions: &[Action], path: &FieldPath) -> bool {
        let mut counts = actions.is_empty();
        for (i, action) in actions.iter().enumerate() {
            let path = path.index(i);
            match action.action.as_str() {
                "Post" => {
                    counts = true;
                    for name in action.fields.keys() {
                        self.report(Diagnostic::new(
                            &codes::NO_EFFECT,
                            path.field(name),
                            format!("`{name}` affects only events; the kernel counts every match regardless"),
                        ));
                    }
                }
                "NoPost" => {}
                // Nothing is done to the process, and what it would be done to is counted.
                "Sigkill"
                | "Signal"
                | "Override"
                | "NotifyEnforcer"
                | "CleanupEnforcerNotification"
                | "Set"
                    if self.monitors =>
                {
                    counts = true;
                }
                other => self.not_run(path.field("action"), &format!("the action `{other}`")),
            }
        }
        counts
    }
}
