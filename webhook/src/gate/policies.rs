//! Policies: created, changed, deleted.

use gatewatch_coverage::IndexedPolicy;
use gatewatch_policy::codes::EMPTY_SELECTOR;
use gatewatch_policy::diagnostic::Severity;
use gatewatch_policy::dropped::{self, LAST_APPLIED};
use gatewatch_policy::source::{Document, Node};
use serde_json::value::RawValue;

use super::{Findings, Gate};
use crate::cluster::Stored;
use crate::review::{Operation, Request};

/// Kinds that are asked about here.
const KINDS: [&str; 2] = ["TracingPolicy", "TracingPolicyNamespaced"];

impl Gate {
    pub(super) fn policy(&self, request: &Request) -> Findings {
        let mut found = Findings::default();
        if request.kind.group != "cilium.io" || !KINDS.contains(&request.kind.kind.as_str()) {
            found.remarks.push(format!(
                "gatewatch received a {}, which is not a policy; nothing was checked",
                request.kind.kind
            ));
            return found;
        }
        let (object, old) = (read(request.object.as_deref()), read(request.old_object.as_deref()));
        match (request.operation, object, old) {
            (Operation::Delete, _, Some(old)) => self.deleted(&old, &mut found),
            (Operation::Create, Some(new), _) => self.applied(&new, None, &mut found),
            (Operation::Update, Some(new), old) => self.applied(&new, old.as_ref(), &mut found),
            _ => {}
        }
        found
    }

    fn deleted(&self, old: &Document, found: &mut Findings) {
        if !self.knows_coverage(&mut found.remarks) {
            return;
        }
        if let Ok(was) = Stored::examine(old) {
            let watch = IndexedPolicy::new(was.policy(), "default");
            found.diagnostics.extend(self.cluster.ask(|index| index.on_policy_change(&watch, None)));
        }
    }

    fn applied(&self, new: &Document, old: Option<&Document>, found: &mut Findings) {
        // Nothing may keep the finalizers of what is being deleted from being taken off.
        let metadata = |name| new.root.get("metadata")?.get(name);
        if metadata("deletionTimestamp").is_some_and(|time| !time.is_null()) {
            return;
        }
        let same = old.is_some_and(|old| spec(old) == spec(new));
        let modes = self.cluster.modes();
        let selection = modes.selection();
        let stored = match Stored::examine(new) {
            Ok(stored) => {
                found.diagnostics = self.cluster.kernels().assess(&stored.checked, selection);
                Some(stored)
            }
            Err(why) => {
                found.diagnostics = why.into_iter().filter_map(|d| selection.apply(d)).collect();
                None
            }
        };
        // The API server drops what its schema doesn't know before it asks.
        let annotations = metadata("annotations");
        if let Some(written) = annotations.and_then(|all| all.get(LAST_APPLIED)).and_then(Node::as_str) {
            found.diagnostics.extend(dropped::check(written, &new.root.to_json()));
        }
        if let Some(stored) = stored
            && self.knows_coverage(&mut found.remarks)
        {
            let watch = IndexedPolicy::new(stored.policy(), "default");
            let was = old
                .and_then(|old| Stored::examine(old).ok())
                .map(|was| IndexedPolicy::new(was.policy(), "default"));
            self.cluster.ask(|index| {
                for empty in found.diagnostics.iter_mut().filter(|said| said.code == &EMPTY_SELECTOR) {
                    empty.message.push_str(&format!(": {}", index.selected(&watch)));
                }
                found.diagnostics.extend(index.on_policy(&watch));
                if let Some(was) = &was {
                    found.diagnostics.extend(index.on_policy_change(was, Some(&watch)));
                }
            });
        }
        if same {
            // What was admitted, in whatever way, can still be labelled and annotated.
            for diagnostic in &mut found.diagnostics {
                diagnostic.severity = diagnostic.severity.min(Severity::Warning);
            }
        }
    }
}

/// `spec`, where there is one.
fn spec(document: &Document) -> Option<&Node> {
    document.root.get("spec").filter(|spec| !spec.is_null())
}

/// The object as a tree. That it is JSON is known: it is a part of a review that was read.
fn read(object: Option<&RawValue>) -> Option<Document> {
    object.and_then(|object| Document::from_json_text(object.get()).ok())
}
