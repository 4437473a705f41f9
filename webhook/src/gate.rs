//! Checks a request: every rule of policies and workloads, against the known state of the cluster.

mod namespaces;
pub mod policies;
mod workloads;

use std::sync::Arc;

use gatewatch_coverage::templates::Templates;
use gatewatch_policy::{diagnostic::Diagnostic, render::brief};

use crate::{
    cluster::Cluster,
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

/// Decides about admission requests.
#[derive(Debug)]
pub struct Gate {
    cluster: Arc<Cluster>,
    docs: String,
    templates: Templates,
}

/// The result of checking a request.
#[derive(Debug, Default)]
struct CheckResult {
    diagnostics: Vec<Diagnostic>,
    /// Warnings that are not diagnostics of the object.
    notices: Vec<String>,
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
            return Verdict { answer, codes: Vec::new() };
        }
        let result = match endpoint {
            Endpoint::Policies => self.policy(request),
            Endpoint::Workloads => self.workload(request),
        };
        let object = ObjectReference { kind: &request.kind, name: &request.name };
        let subject = Subject { uid: &request.uid, object, namespace, modes: &modes, docs: &self.docs };
        let mut verdict = judge(subject, result.diagnostics);
        verdict.answer.warnings.extend(result.notices.iter().map(|notice| brief::cut(notice)));
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
