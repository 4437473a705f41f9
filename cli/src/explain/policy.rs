//! A policy in plain words.

use std::fmt::Write as _;
use std::sync::Arc;

use gatewatch_coverage::IndexedPolicy;
use gatewatch_kernel::Function;
use gatewatch_policy::assess::{Against, Checked, Fleet, listed};
use gatewatch_policy::diagnostic::{Diagnostic, FieldPath};
use gatewatch_policy::model::{Hook, Kind, Policy, Section, Target};
use gatewatch_policy::plan::Plan;
use gatewatch_policy::scope::Scope;
use gatewatch_policy::target::{Selection, Target as Program};

use super::caveats::caveats;
use super::words::{self, Subject};
use crate::kernels::Kernels;

/// What a policy counts, for whom, on which kernels, and what it doesn't catch.
pub(crate) fn explain(checked: &Checked, watch: &IndexedPolicy, file: &str, kernels: &Kernels) -> String {
    let policy = &checked.policy;
    let (runs, fails) = on_kernels(checked, kernels);
    let mut text = String::new();
    let kind = match (&policy.kind, &watch.id.namespace) {
        (Kind::Namespaced, Some(namespace)) => format!("a policy in namespace `{namespace}`"),
        _ => "a cluster-wide policy".to_owned(),
    };
    let _ = writeln!(text, "{}, {kind} ({file})\n", watch.id.name);
    let _ = writeln!(text, "Events counted in tetragon_policy_events_total{{policy=\"{}\"}}:", watch.id.name);
    for (number, (origin, hook)) in (1..).zip(placed(policy)) {
        let plan = runs.first().and_then(|run| run.plan.hooks.iter().find(|hook| hook.origin == origin));
        let function = plan.and_then(|hook| hook.point.symbol()).and_then(|symbol| {
            let kernel = kernels.iter().last()?.environment.kernel;
            kernel.function(symbol)
        });
        text.push_str(&counted(number, hook, function.as_ref()));
    }
    let _ = writeln!(text, "\nApplies to:\n  {}", whom(&watch.scope));
    text.push_str("\nRuns on kernels:\n");
    if !runs.is_empty() {
        let names: Vec<&str> = runs.iter().map(|run| run.kernel).collect();
        let _ = writeln!(text, "  {}", listed(&names));
    }
    for (kernel, why) in &fails {
        let _ = writeln!(text, "  not on {kernel}: {}", why.message);
    }
    text.push_str("\nWhat it does not catch:\n");
    for caveat in caveats(policy, &watch.scope, !fails.is_empty()) {
        let _ = writeln!(text, "  - {caveat}");
    }
    text
}

struct Run<'a> {
    kernel: &'a str,
    plan: Arc<Plan>,
}

/// The kernels on which a policy runs, and those on which it doesn't with the first reason.
fn on_kernels<'a>(checked: &Checked, kernels: &'a Kernels) -> (Vec<Run<'a>>, Vec<(&'a str, Diagnostic)>) {
    let selection = Selection::of(&[Program::Gatewatch]);
    let (mut runs, mut fails) = (Vec::new(), Vec::new());
    for kernel in kernels.iter() {
        let against = Against {
            selection: &selection,
            schemas: None,
            kernels: std::slice::from_ref(&kernel),
            fleet: Fleet::Requested,
        };
        let (found, plans) = checked.assess(&against);
        match (plans.into_iter().next().flatten(), found.into_iter().find(Diagnostic::is_error)) {
            (Some(plan), None) => runs.push(Run { kernel: kernel.name, plan }),
            (_, Some(why)) => fails.push((kernel.name, why)),
            (None, None) => {}
        }
    }
    (runs, fails)
}

/// All hooks, in the order of the sections.
pub(super) fn hooks(policy: &Policy) -> impl Iterator<Item = &Hook> {
    placed(policy).map(|(_, hook)| hook)
}

/// All hooks, and where each is in the policy.
fn placed(policy: &Policy) -> impl Iterator<Item = (FieldPath, &Hook)> {
    Section::ALL.iter().flat_map(|section| {
        let list = FieldPath::root().field("spec").field(section.name());
        section.hooks(&policy.spec).iter().enumerate().map(move |(i, hook)| (list.index(i), hook))
    })
}

fn counted(number: usize, hook: &Hook, function: Option<&Function>) -> String {
    let mut text = format!("  {number}. {}", target(hook, function));
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
        Target::Function { call, .. } => match function.and_then(|f| Some((f, f.params.as_ref()?))) {
            // A system call's own parameters are in the registers that its one parameter points to.
            Some((function, params)) if !call.starts_with("sys_") => {
                let params: Vec<String> =
                    params.iter().map(|p| format!("{} {}", p.ty, p.name).replace("* ", "*")).collect();
                format!("{when}{}({})", function.name, params.join(", "))
            }
            Some((function, _)) => format!("{when}{call} ({})", function.name),
            None => format!("{when}{call}"),
        },
        Target::Tracepoint { subsystem, event, .. } => format!("the tracepoint {subsystem}/{event}"),
        Target::Lsm { hook } => format!("the LSM hook {hook}"),
        Target::Uprobe { path, symbols, .. } => format!("{when}{} in {path}", symbols.join(", ")),
        Target::Usdt { path, provider, name } => format!("the USDT probe {provider}:{name} of {path}"),
    }
}

fn whom(scope: &Scope) -> String {
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
