//! Pods and objects with a template of pods, when they are created or changed in a way that policies match. The webhook
//! does not register for their deletion, because it deselects no remaining pod.

use gatewatch_coverage::{Workload, templates::KINDS};
use serde_json::value::RawValue;

use super::{CheckResult, Gate};
use crate::{
    caches::objects::ReviewedObject,
    cluster::AdmittedChange,
    review::{Operation, Request},
};

impl Gate {
    pub(super) fn workload(&self, request: &Request, result: &mut CheckResult) {
        let kind = request.kind.kind.as_str();
        if (kind, request.kind.group.as_str()) == ("Namespace", "") {
            return self.namespace(request, result);
        }
        // Deleting a workload deselects no pod that still exists.
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return;
        }
        let namespace = request.namespace.as_deref().unwrap_or("default");
        let template = self.templates.path(kind, &request.kind.group);
        let read = |object: &Option<Box<RawValue>>| {
            let object = object.as_ref()?;
            Some(match template {
                Some(path) => ReviewedObject::with_template(object.get(), path),
                None => serde_json::from_str(object.get()),
            })
        };
        let new = match read(&request.object) {
            Some(Ok(new)) => new,
            Some(Err(error)) => {
                result
                    .notices
                    .push(format!("gatewatch cannot read this {kind}, so nothing was checked: {error}"));
                return;
            }
            None => return,
        };
        // The finalizers of an object that is being deleted must always be removable.
        if new.metadata.deletion_timestamp.is_some() {
            return;
        }
        let new = new.workload(kind, namespace);
        // Objects of any API group with a template of pods are workloads.
        let known = KINDS.contains(&(kind, request.kind.group.as_str()));
        if !known && new.shape.containers.as_ref().is_none_or(Vec::is_empty) {
            result
                .notices
                .push(format!("gatewatch received a {kind}, which has no pods; nothing was checked"));
            return;
        }
        let old = read(&request.old_object).and_then(Result::ok).map(|old| old.workload(kind, namespace));
        if old.as_ref().is_some_and(|old| has_same_shape(old, &new)) {
            return;
        }
        if self.can_check_coverage(&mut result.notices) {
            let required = self.cluster.with_index(|index| {
                result.diagnostics = index.on_workload_within(&new, &result.limits);
                if let Some(old) = &old {
                    result.diagnostics.extend(index.on_relabel(&old.shape, &new));
                }
                index.requires_coverage(namespace)
            });
            result.change = required.then(|| AdmittedChange::Workload(Box::new(new)));
        }
    }
}

/// Whether policies match both in the same way.
fn has_same_shape(old: &Workload, new: &Workload) -> bool {
    old.shape == new.shape && old.selector == new.selector && old.own_labels == new.own_labels
}
