//! Pods and objects with a template of pods: created, and changed where policies see it. Their deletion is not asked
//! about: with them goes what would have to be watched.

use gatewatch_coverage::{Workload, read::KINDS};
use serde_json::value::RawValue;

use super::{Findings, Gate};
use crate::caches::slim::Reviewed;
use crate::review::{Operation, Request};

impl Gate {
    pub(super) fn workload(&self, request: &Request) -> Findings {
        let mut found = Findings::default();
        let kind = request.kind.kind.as_str();
        if (kind, request.kind.group.as_str()) == ("Namespace", "") {
            self.namespace(request, &mut found);
            return found;
        }
        // With a workload that is deleted nothing goes out of sight that is still there.
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return found;
        }
        let namespace = request.namespace.as_deref().unwrap_or("default");
        let read = |object: &Option<Box<RawValue>>| {
            let object = object.as_ref()?;
            Some(serde_json::from_str::<Reviewed>(object.get()))
        };
        let new = match read(&request.object) {
            Some(Ok(new)) => new,
            Some(Err(error)) => {
                found
                    .remarks
                    .push(format!("gatewatch cannot read this {kind}, so nothing was checked: {error}"));
                return found;
            }
            None => return found,
        };
        // Nothing may keep the finalizers of what is being deleted from being taken off.
        if new.metadata.deletion_timestamp.is_some() {
            return found;
        }
        let new = new.workload(kind, namespace);
        // Whatever has a template of pods is one, whatever its group.
        let known = KINDS.contains(&(kind, request.kind.group.as_str()));
        if !known && new.shape.containers.as_ref().is_none_or(Vec::is_empty) {
            found
                .remarks
                .push(format!("gatewatch received a {kind}, which has no pods; nothing was checked"));
            return found;
        }
        let old = read(&request.old_object).and_then(Result::ok).map(|old| old.workload(kind, namespace));
        if old.as_ref().is_some_and(|old| looks_the_same(old, &new)) {
            return found;
        }
        if self.knows_coverage(&mut found.remarks) {
            found.diagnostics = self.cluster.ask(|index| {
                let mut said = index.on_workload(&new);
                if let Some(old) = &old {
                    said.extend(index.on_relabel(&old.shape, &new));
                }
                said
            });
        }
        found
    }
}

/// Whether policies see no difference.
fn looks_the_same(old: &Workload, new: &Workload) -> bool {
    old.shape == new.shape && old.selector == new.selector && old.own_labels == new.own_labels
}
