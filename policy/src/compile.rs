//! A policy becomes a plan for one kernel: names become symbols and numbers, text becomes values. Whatever can't be
//! given a meaning is a diagnostic; a policy with an error has no plan.
//!
//! Meaning that Tetragon leaves undefined (entries that are silently dropped, filters that are always true) is an
//! error here. A part that the agent doesn't run yet is reported as [`NOT_RUN_HERE`](codes::NOT_RUN_HERE).

mod actions;
mod answers;
mod arguments;
mod capabilities;
mod compiler;
mod declared;
mod enums;
mod filters;
mod function;
mod limits;
mod lists;
mod lsm;
mod point;
mod process;
mod registers;
mod resolve;
mod sockets;
mod syscall;
mod syscall_numbers;
#[cfg(test)]
mod tests;
mod tracepoint;
mod types;
mod uprobe;

use gatewatch_kernel::Function;

use self::{
    compiler::{Compiler, SEARCHES},
    lists::Lists,
};
use crate::{
    diagnostic::{Diagnostic, FieldPath},
    model::{ActionKind, Hook, HookTarget, Kind, Operator, Policy, Section, Selector},
    plan::{ActionPlan, HookPlan, HookPoint, Plan, Scope, SelectorPlan},
};

pub use answers::Answers;
pub use compiler::Environment;
pub(crate) use lists::{bad_pattern, missing_pattern, not_a_syscall, pattern, unknown_list};
pub use lsm::LSM_PREFIX;
pub use uprobe::SymbolName;

/// The sections whose hooks run here.
pub const RUN: [Section; 5] =
    [Section::Kprobes, Section::Fentries, Section::Tracepoints, Section::LsmHooks, Section::Uprobes];

/// Compiles a policy. There is a plan unless there is an error that is about Gatewatch, or a macro could not be expanded,
/// which a rule reports.
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

fn compile_with<'a>(
    policy: &'a Policy,
    environment: Environment<'a>,
    searches: usize,
) -> (Option<Plan>, Vec<Diagnostic>) {
    let mut compiler = Compiler::new(environment, searches, &policy.spec.lists);
    let plan = compiler.policy(policy);
    let failed = compiler.unexpanded || compiler.diagnostics.iter().any(Diagnostic::stops_gatewatch);
    (if failed { None } else { Some(plan) }, compiler.diagnostics)
}

impl Compiler<'_> {
    fn policy(&mut self, policy: &Policy) -> Plan {
        let spec = &policy.spec;
        let root = FieldPath::root().field("spec");
        if spec.loader {
            self.not_run(root.field("loader"), "`loader`");
        }
        let mut lists = Lists::new(&spec.lists);
        let mut hooks: Vec<HookPlan> = Vec::new();
        for section in Section::ALL {
            let (of, path) = (section.hooks(spec), root.field(section.name()));
            if !of.is_empty() && !RUN.contains(section) {
                self.not_run(path, &format!("`{section}`"));
                continue;
            }
            for (i, hook) in of.iter().enumerate() {
                let path = path.index(i);
                match (lists::named(hook), &hook.target) {
                    (Some(name), _) => hooks.extend(self.listed(hook, name, &path, &mut lists)),
                    (None, HookTarget::Uprobe { .. }) => hooks.extend(self.uprobes(hook, path)),
                    (None, _) => hooks.extend(self.hook(hook, path)),
                }
            }
        }
        self.report_unperformed(policy);
        self.check_limits(&hooks);
        Plan {
            name: policy.name.clone(),
            namespace: match policy.kind {
                Kind::Cluster => None,
                Kind::Namespaced => policy.namespace.clone(),
            },
            scope: Scope::of(policy),
            hooks,
            partial: self.partial,
            monitor_mode: policy.monitors(),
        }
    }

    fn hook(&mut self, hook: &Hook, path: FieldPath) -> Option<HookPlan> {
        let resolved = self.resolve(hook, &path);
        // Without the point there is no plan, but all other faults are still found.
        let (point, function) = match &resolved {
            Some((point, function)) => (point.clone(), function.clone()),
            None => self.assumed(hook)?,
        };
        let plan = self.hook_at(hook, point, function.as_ref(), path);
        resolved.map(|_| plan)
    }

    /// A hook at this point, which has the arguments of this function if it is on one.
    fn hook_at(
        &mut self,
        hook: &Hook,
        point: HookPoint,
        function: Option<&Function>,
        path: FieldPath,
    ) -> HookPlan {
        let arguments = match &point {
            HookPoint::Tracepoint { subsystem, event } => {
                self.field_arguments(hook, (subsystem, event), &path)
            }
            _ => self.arguments(hook, &point, function, &path),
        };
        let action = hook.return_arg_action.as_deref().and_then(ActionKind::from_name);
        if let Some(action) = action.filter(|action| ActionKind::ON_RETURN_VALUES.contains(action)) {
            self.not_run(path.field("returnArgAction"), &format!("`{action}`"));
        }
        let data = self.data(hook, &point, &path);
        let mut selectors = Vec::new();
        for (i, selector) in hook.selectors.iter().enumerate() {
            let path = path.field("selectors").index(i);
            let mut plan = self.selector(selector, hook, (&point, &arguments), &path);
            plan.filters.extend(self.data_filters(selector, hook, &data, &path));
            selectors.push(plan);
        }
        if selectors.is_empty() {
            selectors.push(SelectorPlan { filters: Vec::new(), actions: ActionPlan::COUNT });
        }
        let (args, evidence) = (arguments.plan(), arguments.evidence(hook, point.has_user_pointers()));
        HookPlan { point, origin: path, args, selectors, evidence }
    }

    fn selector(
        &mut self,
        selector: &Selector,
        hook: &Hook,
        (point, arguments): (&HookPoint, &arguments::Arguments<'_>),
        path: &FieldPath,
    ) -> SelectorPlan {
        for (name, present) in [
            ("matchParentBinaries", !selector.match_parent_binaries.is_empty()),
            ("matchNamespaceChanges", !selector.match_namespace_changes.is_empty()),
            ("matchCapabilityChanges", !selector.match_capability_changes.is_empty()),
            ("matchWorkloads", !selector.match_workloads.is_empty()),
        ] {
            if present {
                self.not_run(path.field(name), &format!("`{name}`"));
            }
        }
        self.unexpanded |= !selector.macros.is_empty();
        let mut filters = Vec::new();
        self.binaries(selector, path, &mut filters);
        self.pids(selector, path, &mut filters);
        self.namespaces(selector, path, &mut filters);
        self.capabilities(selector, path, &mut filters);
        for (i, filter) in selector.match_args.iter().enumerate() {
            let path = path.field("matchArgs").index(i);
            if filter.operator == Operator::CapabilitiesGained {
                filters.extend(self.capabilities_gained(hook, arguments, filter, &path));
                continue;
            }
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
        let actions = self.selector_actions(selector, point, path);
        SelectorPlan { filters, actions }
    }
}
