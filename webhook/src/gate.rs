//! Checks a request: every rule of policies and workloads, against the known state of the cluster.

mod namespaces;
pub mod policies;
mod workloads;

use std::sync::Arc;

use gatewatch_coverage::{Hints, Limits, templates::Templates};
use gatewatch_policy::{diagnostic::Diagnostic, render::brief};

use crate::{
    cluster::{AdmittedChange, Cluster},
    review::{Answer, ObjectReference, Request},
    verdict::{Subject, Verdict, judge},
};

/// The two endpoints for admission reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/validate/policies`.
    Policies,
    /// `/validate/workloads`.
    Workloads,
}

impl Endpoint {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Policies, Self::Workloads];
    /// The beginning of both paths.
    pub const ROOT: &str = "/validate/";

    /// The path, without the secret that requests have after it.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Policies => "/validate/policies",
            Self::Workloads => "/validate/workloads",
        }
    }

    /// The name of the webhook that is registered for it.
    pub const fn webhook(self) -> &'static str {
        match self {
            Self::Policies => "policies.gatewatch.dev",
            Self::Workloads => "workloads.gatewatch.dev",
        }
    }
}

/// Decides about admission requests.
#[derive(Debug)]
pub struct Gate {
    cluster: Arc<Cluster>,
    docs: String,
    templates: Templates,
}

/// Comparisons of words that one request may cost: less than a second of one processor. Checks that decide about
/// required coverage are never left out.
pub const WORK: u64 = 400_000;

/// The result of checking a request.
#[derive(Debug)]
struct CheckResult {
    diagnostics: Vec<Diagnostic>,
    /// Warnings that are not diagnostics of the object.
    notices: Vec<String>,
    limits: Limits,
    /// Checks that were left out, apart from those that the limits name.
    unchecked: Vec<&'static str>,
    /// The change that other requests must know about until the caches have it.
    change: Option<AdmittedChange>,
}

impl CheckResult {
    /// Users who may write an object of a namespace may have no access to others.
    fn new(namespace: Option<&str>) -> Self {
        let hints = if namespace.is_some() { Hints::OwnNamespace } else { Hints::AllNamespaces };
        Self {
            diagnostics: Vec::new(),
            notices: Vec::new(),
            limits: Limits::new(WORK, hints),
            unchecked: Vec::new(),
            change: None,
        }
    }

    fn unchecked(&self) -> Vec<&'static str> {
        let hints = self.limits.skipped().into_iter().map(gatewatch_coverage::Hint::name);
        self.unchecked.iter().copied().chain(hints).collect()
    }
}

impl Gate {
    /// A gate for this cluster. `docs` is the base URL of the pages about diagnostics.
    pub fn new(cluster: Arc<Cluster>, docs: impl Into<String>) -> Self {
        Self { cluster, docs: docs.into(), templates: Templates::default() }
    }

    /// The same with these paths to pod templates of other kinds.
    #[must_use]
    pub fn with_templates(self, templates: Templates) -> Self {
        Self { templates, ..self }
    }

    /// Checks a request and applies the modes.
    pub fn decide(&self, endpoint: Endpoint, request: &Request) -> Verdict {
        let modes = self.cluster.modes();
        let namespace = request.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        if let Some(why) = modes.exemption(&request.user_info, namespace) {
            let mut answer = Answer::allow(&request.uid);
            answer.audit_annotations.insert("exempt".to_owned(), why);
            return Verdict { answer, codes: Vec::new(), unchecked: Vec::new() };
        }
        self.cluster.forget_failed_admissions();
        let mut result = CheckResult::new(namespace);
        match endpoint {
            Endpoint::Policies => self.policy(request, &mut result),
            Endpoint::Workloads => self.workload(request, &mut result),
        }
        let object = ObjectReference { kind: &request.kind, name: &request.name };
        let subject = Subject { uid: &request.uid, object, namespace, modes: &modes, docs: &self.docs };
        let change = result.change.take().filter(|_| !request.dry_run);
        let mut diagnostics = if change.is_some() { result.diagnostics.clone() } else { Vec::new() };
        let mut verdict = judge(subject, std::mem::take(&mut result.diagnostics));
        let accepts = |found: &[Diagnostic]| judge(subject, found.to_vec()).answer.allowed;
        if let Some(change) = change.filter(|_| verdict.answer.allowed)
            && let Err(found) = self.cluster.admit(&change, &result.limits, accepts)
        {
            // Another change was admitted since this one was checked.
            diagnostics.retain(|old| !found.iter().any(|new| new.code == old.code));
            diagnostics.extend(found);
            verdict = judge(subject, diagnostics);
        }
        let unchecked = result.unchecked();
        if !unchecked.is_empty() {
            let listed = unchecked.join(", ");
            result
                .notices
                .insert(0, format!("this object is too large to check all of it; not checked: {listed}"));
        }
        verdict.answer.warnings.extend(result.notices.iter().map(|notice| brief::cut(notice)));
        verdict.unchecked = unchecked;
        verdict
    }

    /// Whether all caches that coverage depends on are filled. If not, adds a notice.
    fn can_check_coverage(&self, notices: &mut Vec<String>) -> bool {
        let unsynced = self.cluster.unsynced();
        if unsynced.is_empty() {
            return true;
        }
        notices.push(format!(
            "gatewatch has just started ({} of its caches are still loading): coverage was not checked",
            unsynced.len()
        ));
        false
    }
}
