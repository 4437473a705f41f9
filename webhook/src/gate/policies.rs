//! Policies: created, changed, deleted.

use gatewatch_coverage::IndexedPolicy;
use gatewatch_policy::{
    codes::EMPTY_SELECTOR,
    diagnostic::Severity,
    dropped::{self, LAST_APPLIED},
    model::Kind,
    read::GROUP,
    source::{Document, Node},
};
use serde_json::value::RawValue;

use super::{CheckResult, Gate};
use crate::{
    cluster::AdmittedChange,
    review::{Operation, Request},
    stored_policy::StoredPolicy,
};

impl Gate {
    pub(super) fn policy(&self, request: &Request, result: &mut CheckResult) {
        if request.kind.group != GROUP || Kind::from_name(&request.kind.kind).is_none() {
            result.notices.push(format!(
                "gatewatch received a {}, which is not a policy; nothing was checked",
                request.kind.kind
            ));
            return;
        }
        let (object, old) = (read(request.object.as_deref()), read(request.old_object.as_deref()));
        match (request.operation, object, old) {
            (Operation::Delete, _, Some(old)) => self.deleted(&old, result),
            (Operation::Create, Some(new), _) => self.applied(&new, None, result),
            (Operation::Update, Some(new), old) => self.applied(&new, old.as_ref(), result),
            _ => {}
        }
    }

    fn deleted(&self, old: &Document, result: &mut CheckResult) {
        if !self.can_check_coverage(&mut result.notices) {
            return;
        }
        if let Ok(was) = StoredPolicy::check(old) {
            let policy = IndexedPolicy::new(was.policy(), "default");
            result.diagnostics.extend(self.cluster.with_index(|index| index.on_policy_change(&policy, None)));
            result.change = changes(policy, None);
        }
    }

    fn applied(&self, new: &Document, old: Option<&Document>, result: &mut CheckResult) {
        // The finalizers of an object that is being deleted must always be removable.
        let metadata = |name| new.root.get("metadata")?.get(name);
        if metadata("deletionTimestamp").is_some_and(|time| !time.is_null()) {
            return;
        }
        let stored = StoredPolicy::check(new);
        match &stored {
            Ok(stored) => self.on_kernels(stored, result),
            Err(found) => {
                let modes = self.cluster.modes();
                let found = found.iter().cloned().filter_map(|d| modes.selection().apply(d));
                result.diagnostics.extend(found);
            }
        }
        // The API server drops unknown fields before it calls the webhook.
        let annotations = metadata("annotations");
        if let Some(written) = annotations.and_then(|all| all.get(LAST_APPLIED)).and_then(Node::as_str) {
            result.diagnostics.extend(dropped::check(written, &new.root.to_json()));
        }
        if let Ok(stored) = &stored
            && self.can_check_coverage(&mut result.notices)
        {
            self.coverage(stored, old, result);
        }
        if old.is_some_and(|old| spec(old) == spec(new)) {
            // Labels and annotations of a stored policy can always change.
            for diagnostic in &mut result.diagnostics {
                diagnostic.severity = diagnostic.severity.min(Severity::Warning);
            }
        }
    }

    /// Compiles a policy for the cluster's kernels, and checks that it fits beside the stored ones.
    fn on_kernels(&self, stored: &StoredPolicy, result: &mut CheckResult) {
        let modes = self.cluster.modes();
        let selection = modes.selection();
        let kernels = self.cluster.kernels();
        if kernels.can_compile(stored.policy()) {
            let (found, plans) = kernels.compile(&stored.checked, selection);
            result.diagnostics.extend(found);
            let beside = self.cluster.plans().fits_beside(stored, &kernels, &plans);
            result.diagnostics.extend(beside.and_then(|found| selection.apply(found)));
        } else {
            result.unchecked.push("kernels");
        }
        if kernels.selects_no_node(&stored.checked) {
            result.notices.push(
                "spec.nodeSelector selects no node of the cluster, so no node runs this policy".to_owned(),
            );
        }
    }

    /// Checks which pods a policy selects, and which ones it selected before.
    fn coverage(&self, stored: &StoredPolicy, old: Option<&Document>, result: &mut CheckResult) {
        let policy = IndexedPolicy::new(stored.policy(), "default");
        let was = old
            .and_then(|old| StoredPolicy::check(old).ok())
            .map(|was| IndexedPolicy::new(was.policy(), "default"));
        self.cluster.with_index(|index| {
            for empty in result.diagnostics.iter_mut().filter(|found| found.code == &EMPTY_SELECTOR) {
                empty.message = format!("{}: {}", empty.message, index.selected(&policy));
            }
            result.diagnostics.extend(index.on_policy_within(&policy, &result.limits));
            if let Some(was) = &was {
                result.diagnostics.extend(index.on_policy_change(was, Some(&policy)));
            }
        });
        result.change = was.and_then(|was| changes(was, Some(policy)));
    }
}

/// The change of a policy, if it can leave pods without coverage.
fn changes(old: IndexedPolicy, new: Option<IndexedPolicy>) -> Option<AdmittedChange> {
    let same = new.as_ref().is_some_and(|new| new.scope == old.scope);
    (old.scope.pods.is_some() && !same)
        .then(|| AdmittedChange::Policy { old: Box::new(old), new: new.map(Box::new) })
}

/// The `spec` of a document, if it has one.
fn spec(document: &Document) -> Option<&Node> {
    document.root.get("spec").filter(|spec| !spec.is_null())
}

/// The object as a tree. It is valid JSON, because it is a part of a parsed review.
fn read(object: Option<&RawValue>) -> Option<Document> {
    object.and_then(|object| Document::from_json_text(object.get()).ok())
}
