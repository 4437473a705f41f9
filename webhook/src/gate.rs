//! What is found in a request: every rule of policies and workloads, against what is known of the cluster.

mod namespaces;
pub mod policies;
mod workloads;

use std::sync::Arc;

use gatewatch_policy::diagnostic::Diagnostic;
use gatewatch_policy::render::brief;

use crate::cluster::Cluster;
use crate::review::{About, Answer, Request};
use crate::verdict::{Case, Verdict, judge};

/// Which of the two webhooks is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `/validate/policies`.
    Policies,
    /// `/validate/workloads`.
    Workloads,
}

/// Judges requests.
#[derive(Debug)]
pub struct Gate {
    cluster: Arc<Cluster>,
    docs: String,
}

/// What was found, and what else is to be said.
#[derive(Debug, Default)]
struct Findings {
    diagnostics: Vec<Diagnostic>,
    /// Sentences that are no diagnostics of the object.
    remarks: Vec<String>,
}

impl Gate {
    /// A gate to this cluster. `docs` is the folder of the pages about diagnostics.
    pub fn new(cluster: Arc<Cluster>, docs: impl Into<String>) -> Self {
        Self { cluster, docs: docs.into() }
    }

    /// Judges a request.
    pub fn decide(&self, door: Door, request: &Request) -> Verdict {
        let modes = self.cluster.modes();
        let namespace = request.namespace.as_deref().filter(|namespace| !namespace.is_empty());
        if let Some(why) = modes.exemption(&request.user_info, namespace) {
            let mut answer = Answer::allow(&request.uid);
            answer.audit_annotations.insert("exempt".to_owned(), why);
            return Verdict { answer, said: Vec::new() };
        }
        let found = match door {
            Door::Policies => self.policy(request),
            Door::Workloads => self.workload(request),
        };
        let about = About { kind: &request.kind, name: &request.name };
        let case = Case { uid: &request.uid, about, namespace, modes: &modes, docs: &self.docs };
        let mut verdict = judge(case, found.diagnostics);
        verdict.answer.warnings.extend(found.remarks.iter().map(|remark| brief::cut(remark)));
        verdict
    }

    /// Whether everything is known that coverage depends on; else what is missing is said.
    fn knows_coverage(&self, remarks: &mut Vec<String>) -> bool {
        let unsynced = self.cluster.unsynced();
        if unsynced.is_empty() {
            return true;
        }
        remarks.push(format!(
            "gatewatch has just started ({} of its caches are still loading): coverage was not checked",
            unsynced.len()
        ));
        false
    }
}
