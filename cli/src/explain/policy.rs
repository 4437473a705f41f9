//! A policy in plain words.

use std::{fmt::Write as _, sync::Arc};

use gatewatch_coverage::IndexedPolicy;
use gatewatch_kernel::Function;
use gatewatch_policy::{
    assess::{Against, Checked, Fleet, Kernel, listed},
    diagnostic::Diagnostic,
    model::{Hook, HookTarget, Kind, List, SYSCALL_PREFIX},
    plan::{HookPlan, Plan},
    scope::Scope,
    selection::Selection,
    target::Target as Program,
};

use super::{
    caveats::caveats,
    enforcement::stops,
    hooks::hooks_with_origins,
    words::{self, Subject},
};
use crate::{kernels::Kernels, report::counted as counted_word};

/// Explains what a policy counts, where it applies, on which kernels it runs, and what it does not catch.
pub(crate) fn explain(checked: &Checked, indexed: &IndexedPolicy, file: &str, kernels: &Kernels) -> String {
    let policy = &checked.policy;
    let (runs, fails, why) = on_kernels(checked, kernels);
    let mut text = String::new();
    let kind = match (&policy.kind, &indexed.id.namespace) {
        (Kind::Namespaced, Some(namespace)) => format!("a policy in namespace `{namespace}`"),
        _ => "a cluster-wide policy".to_owned(),
    };
    let _ = writeln!(text, "{}, {kind} ({file})\n", indexed.id.name);
    let _ =
        writeln!(text, "Events counted in tetragon_policy_events_total{{policy=\"{}\"}}:", indexed.id.name);
    for (number, (origin, hook)) in (1..).zip(hooks_with_origins(policy)) {
        let on = |run: &'_ Run<'_>| run.plan.hooks.iter().any(|hook| hook.origin == origin);
        let plans: Vec<&HookPlan> = runs
            .iter()
            .find(|run| on(run))
            .into_iter()
            .flat_map(|run| &run.plan.hooks)
            .filter(|hook| hook.origin == origin)
            .collect();
        if let HookTarget::Function { call, .. } = &hook.target
            && let Some(list) = List::named_in(call)
        {
            text.push_str(&counted(number, hook, &of_list(hook, list, &plans), None));
            continue;
        }
        let function = plans.first().and_then(|hook| hook.point.symbol()).and_then(|symbol| {
            let kernel = kernels.iter().last()?.environment.kernel;
            kernel.function(symbol)
        });
        let function = function.as_ref();
        text.push_str(&counted(number, hook, &target(hook, function), function));
        let without: Vec<&str> = runs.iter().filter(|run| !on(run)).map(|run| run.kernel).collect();
        if !without.is_empty() && !plans.is_empty() {
            let _ = writeln!(text, "     (not on {}: no such function)", listed(&without));
        }
    }
    let _ = writeln!(text, "\nApplies to:\n  {}", scope_summary(&indexed.scope));
    text.push_str("\nRuns on kernels:\n");
    if !runs.is_empty() {
        let names: Vec<&str> = runs.iter().map(|run| run.kernel).collect();
        let _ = writeln!(text, "  {}", listed(&names));
    }
    if !fails.is_empty() {
        let _ = writeln!(text, "  not on {}:", listed(&fails));
    }
    for error in &why {
        let _ = writeln!(text, "    - {}", error.message);
    }
    let stops = stops(policy);
    if !stops.is_empty() {
        text.push_str("\nWhat it stops:\n");
    }
    for sentence in stops {
        let _ = writeln!(text, "  - {sentence}");
    }
    text.push_str("\nWhat it does not catch:\n");
    for caveat in caveats(policy, &indexed.scope, !fails.is_empty()) {
        let _ = writeln!(text, "  - {caveat}");
    }
    text
}

struct Run<'a> {
    kernel: &'a str,
    plan: Arc<Plan>,
}

/// The kernels on which a policy runs, those on which it does not, and all reasons for that.
fn on_kernels<'a>(checked: &Checked, kernels: &'a Kernels) -> (Vec<Run<'a>>, Vec<&'a str>, Vec<Diagnostic>) {
    let selection = Selection::of(&[Program::Gatewatch]);
    let all: Vec<Kernel<'a>> = kernels.iter().collect();
    let against = Against { selection: &selection, schemas: None, kernels: &all, fleet: Fleet::Requested };
    let (mut found, plans) = checked.assess(&against);
    found.retain(Diagnostic::is_error);
    let (mut runs, mut fails) = (Vec::new(), Vec::new());
    for (kernel, plan) in all.iter().zip(plans) {
        match plan {
            Some(plan) => runs.push(Run { kernel: kernel.name, plan }),
            None => fails.push(kernel.name),
        }
    }
    (runs, fails, found)
}

fn counted(number: usize, hook: &Hook, target: &str, function: Option<&Function>) -> String {
    let mut text = format!("  {number}. {target}");
    if let Some(message) = &hook.message {
        let _ = write!(text, ": \"{message}\"");
    }
    text.push('\n');
    let subject = Subject { hook, function };
    if hook.selectors.is_empty() {
        text.push_str("     every time\n");
    }
    for (i, selector) in hook.selectors.iter().enumerate() {
        let conditions = words::conditions(selector, &subject);
        let lead = match (i, conditions.is_empty()) {
            (0, true) => "every time",
            (0, false) => "if ",
            (_, true) => "otherwise, every time",
            (_, false) => "otherwise, if ",
        };
        let _ = writeln!(text, "     {lead}{}", conditions.join("\n       and "));
        for note in words::actions(selector) {
            let _ = writeln!(text, "       ({note})");
        }
    }
    text
}

fn target(hook: &Hook, function: Option<&Function>) -> String {
    let when = if hook.on_return { "returns from " } else { "calls to " };
    match &hook.target {
        HookTarget::Function { call, .. } => match function.and_then(|f| Some((f, f.params.as_ref()?))) {
            // The only parameter of a system call's symbol points to the registers with its arguments.
            Some((function, params)) if !call.starts_with(SYSCALL_PREFIX) => {
                let params: Vec<String> =
                    params.iter().map(|p| format!("{} {}", p.ty, p.name).replace("* ", "*")).collect();
                format!("{when}{}({})", function.name, params.join(", "))
            }
            Some((function, _)) => format!("{when}{call} ({})", function.name),
            None => format!("{when}{call}"),
        },
        HookTarget::Tracepoint { subsystem, event, .. } => format!("the tracepoint {subsystem}/{event}"),
        HookTarget::Lsm { hook } => format!("the LSM hook {hook}"),
        HookTarget::Uprobe { path, symbols, offsets, addrs, .. } => {
            let numbers = |what, all: &[u64]| {
                all.iter().map(|number| format!("the {what} {number:#x}")).collect::<Vec<_>>()
            };
            let places = [symbols.clone(), numbers("offset", offsets), numbers("address", addrs)].concat();
            format!("{when}{} in {path}", places.join(", "))
        }
        HookTarget::Usdt { path, provider, name } => format!("the USDT probe {provider}:{name} of {path}"),
    }
}

/// The functions of a list, as many as the oldest kernel has.
fn of_list(hook: &Hook, list: &str, plans: &[&HookPlan]) -> String {
    const NAMED: usize = 5;
    let when = if hook.on_return { "returns from" } else { "calls to" };
    let names: Vec<&str> = plans.iter().filter_map(|plan| plan.point.symbol()).collect();
    // The policy runs on no kernel, so the functions are unknown.
    if names.is_empty() {
        return format!("{when} the functions in list `{list}`");
    }
    let shown = match names.len() {
        0..=NAMED => names.join(", "),
        _ => format!("{}, …", names[..NAMED].join(", ")),
    };
    format!("{when} the {} in list `{list}` ({shown})", counted_word(names.len(), "function", "functions"))
}

fn scope_summary(scope: &Scope) -> String {
    let Some(pods) = &scope.pods else {
        return "host processes, but no pods".to_owned();
    };
    let mut who = match &pods.pods {
        Some(selector) => format!("pods with {}", words::labels(selector)),
        None => "all pods".to_owned(),
    };
    match &pods.namespace {
        Some(namespace) => who = format!("{who} in namespace `{namespace}`"),
        None => who.push_str(" in every namespace"),
    }
    if let Some(selector) = &pods.containers {
        who = format!("{who}, only containers with {}", words::labels(selector));
    }
    let host = if scope.host { "and host processes" } else { "but not host processes" };
    format!("{who}, {host}")
}
