//! A policy becomes a plan for one kernel: names become symbols and numbers, text becomes values. Whatever can't be
//! given a meaning is a diagnostic; a policy with an error has no plan.
//!
//! Meaning that Tetragon leaves undefined (entries that are silently dropped, filters that are always true) is an
//! error here. A part that the agent doesn't run yet is reported as [`NOT_RUN_HERE`](codes::NOT_RUN_HERE).

mod answers;
mod arguments;
mod compiler;
mod enums;
mod filters;
mod function;
mod limits;
mod lists;
mod point;
mod process;
mod syscall;
#[cfg(test)]
mod tests;
mod types;
mod unsupported;

use self::{
    compiler::{Compiler, SEARCHES},
    lists::Lists,
};
use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath},
    model::{Action, ActionKind, Hook, Kind, Policy, Section, Selector},
    plan::{ActionPlan, HookPlan, Plan, Scope, SelectorPlan},
};

pub use answers::Answers;
pub use compiler::Environment;
pub(crate) use lists::{bad_pattern, pattern};

/// Compiles a policy. There is a plan unless there is an error that is about Gatewatch.
pub fn compile(policy: &Policy, environment: Environment<'_>) -> (Option<Plan>, Vec<Diagnostic>) {
    compile_with(policy, environment, SEARCHES)
}

/// The same for whoever needs the plan: the diagnostics name no similar functions. Finding these is most of the time that
/// unknown functions take.
pub fn compile_without_hints(
    policy: &Policy,
    environment: Environment<'_>,
) -> (Option<Plan>, Vec<Diagnostic>) {
    compile_with(policy, environment, 0)
}

fn compile_with(
    policy: &Policy,
    environment: Environment<'_>,
    searches: usize,
) -> (Option<Plan>, Vec<Diagnostic>) {
    let mut compiler = Compiler::new(environment, policy.monitors(), searches);
    let plan = compiler.policy(policy);
    let failed = compiler.diagnostics.iter().any(Diagnostic::stops_gatewatch);
    (if failed { None } else { Some(plan) }, compiler.diagnostics)
}

impl Compiler<'_> {
    fn policy(&mut self, policy: &Policy) -> Plan {
        let spec = &policy.spec;
        let root = FieldPath::root().field("spec");
        for section in Section::ALL.iter().filter(|section| **section != Section::Kprobes) {
            if !section.hooks(spec).is_empty() {
                self.not_run(root.field(section.name()), &format!("`{section}`"));
            }
        }
        for (name, present) in [
            ("loader", spec.loader),
            // A policy that only monitors doesn't need them.
            ("enforcers", !spec.enforcers.is_empty() && !self.monitors),
        ] {
            if present {
                self.not_run(root.field(name), &format!("`{name}`"));
            }
        }
        self.other_hooks(policy, &root);
        let kprobes = root.field(Section::Kprobes.name());
        let mut lists = Lists::new(&spec.lists);
        let mut hooks: Vec<HookPlan> = Vec::with_capacity(spec.kprobes.len());
        for (i, hook) in spec.kprobes.iter().enumerate() {
            let path = kprobes.index(i);
            match lists::named(hook) {
                Some(name) => hooks.extend(self.listed(hook, name, &path, &mut lists)),
                None => hooks.extend(self.hook(hook, path)),
            }
        }
        self.check_limits(&hooks);
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

    fn hook(&mut self, hook: &Hook, path: FieldPath) -> Option<HookPlan> {
        let resolved = self.resolve(hook, &path);
        // Without the point there is no plan, but all other faults are still found.
        let (point, function) = match &resolved {
            Some((point, function)) => (point.clone(), Some(function.clone())),
            None => self.assumed(hook)?,
        };
        let arguments = self.arguments(hook, &point, function.as_ref(), &path);
        let action = hook.return_arg_action.as_deref().and_then(ActionKind::from_name);
        if let Some(action) = action.filter(|action| ActionKind::ON_RETURN_VALUES.contains(action)) {
            self.not_run(path.field("returnArgAction"), &format!("`{action}`"));
        }
        let mut selectors = Vec::new();
        for (i, selector) in hook.selectors.iter().enumerate() {
            selectors.push(self.selector(selector, hook, &arguments, &path.field("selectors").index(i)));
        }
        if selectors.is_empty() {
            selectors.push(SelectorPlan { filters: Vec::new(), actions: ActionPlan::COUNT });
        }
        let args = arguments.plan();
        resolved.map(|(point, _)| HookPlan { point, origin: path, args, selectors })
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
            // One that could not be expanded, which a rule reports.
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
        let actions = self.actions(&selector.match_actions, &path.field("matchActions"));
        self.actions(&selector.match_return_actions, &path.field("matchReturnActions"));
        SelectorPlan { filters, actions }
    }

    /// What is done with an event.
    fn actions(&mut self, actions: &[Action], path: &FieldPath) -> ActionPlan {
        let mut plan = if actions.is_empty() { ActionPlan::COUNT } else { ActionPlan::NONE };
        for (i, action) in actions.iter().enumerate() {
            let path = path.index(i);
            match action.kind {
                Some(ActionKind::Post) => {
                    plan.count = true;
                    for name in action.fields.keys() {
                        self.report(Diagnostic::new(
                            &codes::NO_EFFECT,
                            path.field(name),
                            format!("`{name}` affects only events; the kernel counts every match regardless"),
                        ));
                    }
                }
                Some(ActionKind::NoPost) => {}
                // Nothing is done to the process, and what it would be done to is counted.
                Some(other) if self.monitors && other.is_monitored() => plan.count = true,
                Some(other) => self.not_run(path.field("action"), &format!("the action `{other}`")),
                None => self.not_run(path.field("action"), "this action"),
            }
        }
        plan
    }
}
