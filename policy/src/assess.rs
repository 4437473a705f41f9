//! The one way from a document to everything that is to be reported of it: form, rules, versions of Tetragon, schema and
//! kernels, in one list in the order of the text. The command line, the webhook and the agent all call [`assess`].
//!
//! A finding that follows from another one is left out here and nowhere else:
//!
//! * what a rule or a kernel has against a place with an error of form at, around or inside of it;
//! * what the schema has against a place that an error is about;
//! * what a kernel has against a place that the same code is about already. The severer of the two is kept.

mod fleet;
mod merge;
mod objects;
mod placeholders;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use self::{
    merge::{KernelFindings, merge},
    placeholders::Placeholders,
};
use crate::{
    check::check,
    compile::{Answers, Environment, compile, compile_without_hints},
    diagnostic::{Diagnostic, FieldPath},
    empty_selector,
    expand::{Expanded, Moved},
    form_errors::FormErrors,
    history::{self, Use},
    model::Policy,
    older::{Modern, Written, soften},
    plan::Plan,
    read::read_node,
    schema::Schemas,
    selection::Selection,
    source::{Located, Node},
};

pub use fleet::Fleet;
pub use merge::listed;
pub use objects::{Object, Objects, rebase};

/// What an object is assessed against.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The programs that findings are to be about.
    pub selection: &'a Selection,
    /// The schemas of the API server; `None` where the API server has checked the object, or never sees it.
    pub schemas: Option<&'a Schemas>,
    /// The kernels that the policy is compiled for.
    pub kernels: &'a [Kernel<'a>],
    /// What these kernels are to one another.
    pub fleet: Fleet,
}

impl<'a> Against<'a> {
    /// Against no schema and no kernel.
    pub const fn new(selection: &'a Selection) -> Self {
        Self { selection, schemas: None, kernels: &[], fleet: Fleet::Requested }
    }
}

/// A kernel that a policy is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// As the user knows it.
    pub name: &'a str,
    /// The kernel itself.
    pub environment: Environment<'a>,
    /// The labels of the nodes that run it. A policy is not compiled for a kernel whose nodes its `nodeSelector` leaves
    /// out. `None` for a kernel that no node is known to run.
    pub nodes: Option<&'a [BTreeMap<String, String>]>,
}

/// All that is to be reported of one object, and what comes of it.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// The policy, if the object is one, with its macros expanded. It may have errors.
    pub policy: Option<Policy>,
    /// Every finding, in the order of the text; without text, in the order of the steps.
    pub findings: Vec<Located>,
    /// What Gatewatch's agent runs on each kernel, in the order of the kernels. `None` where an error keeps it from
    /// running, or no node of that kernel is to run it.
    pub plans: Vec<Option<Arc<Plan>>>,
}

impl Assessment {
    /// The first finding that is an error.
    pub fn first_error(&self) -> Option<&Diagnostic> {
        self.findings.iter().map(|found| &found.diagnostic).find(|diagnostic| diagnostic.is_error())
    }
}

/// Assesses an object: a whole document, or an item of a `List`.
pub fn assess<'a>(object: impl Into<Object<'a>>, against: &Against<'_>) -> Assessment {
    let object = object.into();
    let none = || vec![None; against.kernels.len()];
    let (policy, found, mut plans) = match Checked::of(object.clone()) {
        Ok(checked) => {
            let (found, plans) = checked.judge(Some(object.node()), against);
            (Some(checked.policy), found, plans)
        }
        Err(found) => (None, found.into_iter().filter_map(|d| against.selection.apply(d)).collect(), none()),
    };
    // What is wrong with the text is wrong with all that is in it.
    if object.document().findings.iter().any(|finding| finding.diagnostic.stops_gatewatch()) {
        plans.fill(None);
    }
    let mut findings = if object.is_whole() { object.document().findings.clone() } else { Vec::new() };
    findings.extend(found.into_iter().map(|diagnostic| object.locate(diagnostic)));
    findings.sort_by_key(|finding| finding.span.map_or(u32::MAX, |span| span.start));
    Assessment { policy, findings, plans }
}

/// The first half of [`assess`]: what depends on the object alone. It is kept where the same object is assessed again
/// with other kernels or other targets.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The policy, with its macros expanded. It may have errors.
    pub policy: Policy,
    /// Where the fields of its selectors are, if not in the selectors.
    moved: Moved,
    /// Where the fields are that have an older name.
    written: Written,
    /// What is wrong with its form and what the rules have against it, whatever it is about.
    found: Vec<Diagnostic>,
    /// Where its form is wrong.
    form_errors: FormErrors,
    /// The values that a template engine should have replaced.
    placeholders: Placeholders,
    /// What some versions of Tetragon don't have.
    uses: Vec<Use>,
}

impl Checked {
    /// Reads an object and checks it by the rules; or else what is to be reported of what is no policy.
    pub fn of<'a>(object: impl Into<Object<'a>>) -> Result<Self, Vec<Diagnostic>> {
        let object = object.into();
        if !object.document().complete {
            return Err(Vec::new());
        }
        let uses = history::uses(object.node());
        let Modern { node, written, found: older } = Modern::of(object.node(), &uses);
        let (policy, found) = read_node(&node, &FieldPath::root());
        // Of two fields of one name, one was read.
        let doubled = object.document().findings.iter().filter_map(|located| object.own(&located.diagnostic));
        let guesses = FormErrors::new(found.iter().chain(&doubled.collect::<Vec<_>>()));
        let mut found = written.restore(found);
        let Some(policy) = policy else { return Err(found) };
        found.extend(older);
        let form_errors = FormErrors::new(&found);
        let expanded = Expanded::of(&policy);
        let mut judged = written.restore(check(&policy, &expanded, &guesses));
        judged.extend(empty_selector::check(object.node()));
        found.extend(judged.into_iter().filter(|diagnostic| !form_errors.explains(diagnostic)));
        let placeholders = Placeholders::of(object.node());
        for diagnostic in &mut found {
            placeholders.explain(diagnostic);
        }
        let Expanded { policy: expanded, moved, .. } = expanded;
        let policy = match expanded {
            Cow::Owned(expanded) => expanded,
            Cow::Borrowed(_) => policy,
        };
        Ok(Self { policy, moved, written, found, form_errors, placeholders, uses })
    }

    /// The second half: everything that is to be reported, without places in the text. The schema is not applied, as the
    /// object is not at hand.
    pub fn assess(&self, against: &Against<'_>) -> (Vec<Diagnostic>, Vec<Option<Arc<Plan>>>) {
        self.judge(None, against)
    }

    fn judge(
        &self,
        object: Option<&Node>,
        against: &Against<'_>,
    ) -> (Vec<Diagnostic>, Vec<Option<Arc<Plan>>>) {
        let selection = against.selection;
        let mut found: Vec<Diagnostic> =
            self.found.iter().filter(|d| selection.reports(d.targets)).cloned().collect();
        found.extend(self.versions(selection));
        let mut found: Vec<Diagnostic> = found.into_iter().filter_map(|d| selection.apply(d)).collect();
        let mut stopped = self.found.iter().any(Diagnostic::stops_gatewatch);
        if let (Some(schemas), Some(object)) = (against.schemas, object) {
            let mut refused = schemas.check(&object.to_json());
            if schemas.are_shipped() {
                refused =
                    refused.into_iter().filter_map(|diagnostic| soften(diagnostic, &self.uses)).collect();
            }
            let new = |diagnostic: &Diagnostic| {
                !found.iter().any(|ours| ours.is_error() && related(&ours.path, &diagnostic.path))
            };
            let refused: Vec<Diagnostic> = refused.into_iter().filter(new).collect();
            stopped |= refused.iter().any(Diagnostic::stops_gatewatch);
            found.extend(refused.into_iter().filter_map(|diagnostic| selection.apply(diagnostic)));
        }
        let (on_kernels, mut plans) = self.compile_for(against, compile);
        if stopped {
            plans.fill(None);
        }
        let known: BTreeMap<_, _> = found.iter().map(|d| ((d.code.id, d.path.clone()), d.severity)).collect();
        let on_kernels: Vec<Diagnostic> = on_kernels
            .into_iter()
            .filter(|diagnostic| {
                let same = known.get(&(diagnostic.code.id, diagnostic.path.clone()));
                same.is_none_or(|severity| *severity < diagnostic.severity)
                    && !self.form_errors.explains(diagnostic)
            })
            .collect();
        found.retain(|known| {
            !on_kernels.iter().any(|other| other.code == known.code && other.path == known.path)
        });
        found.extend(on_kernels);
        (found, plans)
    }

    /// The policy's plan on each kernel, without the search for what an unknown name may have meant.
    pub fn plans(&self, against: &Against<'_>) -> Vec<Option<Arc<Plan>>> {
        if self.found.iter().any(Diagnostic::stops_gatewatch) {
            return vec![None; against.kernels.len()];
        }
        self.compile_for(against, compile_without_hints).1
    }

    /// Compiles the policy for all kernels that it is for, once for those that answer it alike.
    fn compile_for(
        &self,
        against: &Against<'_>,
        compile: Compile,
    ) -> (Vec<Diagnostic>, Vec<Option<Arc<Plan>>>) {
        let policy = &self.policy;
        let mut plans: Vec<Option<Arc<Plan>>> = Vec::with_capacity(against.kernels.len());
        let mut findings: Vec<KernelFindings<'_>> = Vec::with_capacity(against.kernels.len());
        // Most policies hook what all kernels have alike, and compiling is most of what an assessment costs.
        let mut answered: Vec<(Answers<'_>, usize, usize)> = Vec::new();
        for kernel in against.kernels {
            let nodes = kernel.nodes.map(|nodes| match &policy.spec.node_selector {
                Some(selector) => nodes.iter().filter(|labels| selector.matches(labels)).count(),
                None => nodes.len(),
            });
            if nodes == Some(0) {
                plans.push(None);
                continue;
            }
            let environment = kernel.environment;
            let answers = (against.kernels.len() > 1).then(|| Answers::of(policy, environment));
            let before = answers
                .as_ref()
                .and_then(|answers| answered.iter().find(|(others, ..)| answers.agree(others)))
                .and_then(|(_, i, plan)| {
                    Some((findings.get(*i)?.diagnostics.clone(), plans.get(*plan)?.clone()))
                });
            let (diagnostics, plan) = before.unwrap_or_else(|| {
                answered.extend(answers.map(|answers| (answers, findings.len(), plans.len())));
                let (plan, found) = compile(policy, environment);
                let found = self.written.restore(self.moved.restore(found));
                let mut found: Vec<Diagnostic> =
                    found.into_iter().filter_map(|d| against.selection.apply(d)).collect();
                for diagnostic in &mut found {
                    self.placeholders.explain(diagnostic);
                }
                (found, plan.map(Arc::new))
            });
            plans.push(plan);
            let release = &environment.kernel.release;
            findings.push(KernelFindings {
                name: kernel.name,
                release,
                nodes: nodes.unwrap_or_default(),
                diagnostics,
            });
        }
        (merge(findings, against.fleet), plans)
    }

    /// What the chosen versions of Tetragon don't have. Of what is inside of such a part nothing more is reported.
    fn versions(&self, selection: &Selection) -> Vec<Diagnostic> {
        let mut outer: Option<&Use> = None;
        let mut found = Vec::new();
        for used in self.uses.iter().filter(|used| selection.reports(used.targets())) {
            if outer.is_some_and(|outer| used.is_inside(outer)) {
                continue;
            }
            found.push(used.diagnostic());
            outer = Some(used);
        }
        found
    }
}

/// [`compile`], with hints or without.
type Compile = fn(&Policy, Environment<'_>) -> (Option<Plan>, Vec<Diagnostic>);

/// Whether one place is the other, or is inside of it.
fn related(a: &FieldPath, b: &FieldPath) -> bool {
    a.0.starts_with(&b.0) || b.0.starts_with(&a.0)
}
