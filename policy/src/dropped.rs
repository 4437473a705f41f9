//! Fields of a manifest that are missing from the stored object.
//!
//! The API server drops fields that its schema does not know before it calls any webhook. Without `matchArgz`, a
//! policy matches more than intended. `kubectl apply` keeps the manifest in an annotation, which shows the
//! difference.

use serde_json::Value;

use crate::{
    codes::DROPPED_FIELD,
    diagnostic::{Diagnostic, FieldPath, Severity, Step},
    read,
    source::Document,
};

/// The annotation in which `kubectl apply` leaves what was written.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields of `last_applied` (JSON, as in the annotation) that aren't in `object`.
///
/// The annotation outlives later changes by other means (`kubectl edit`, a patch), which may have removed a field on
/// purpose. So where a value differs as well, only those fields are given that the policy language doesn't have. An
/// annotation that isn't JSON has no effect.
pub fn dropped_fields(last_applied: &str, object: &Value) -> Vec<FieldPath> {
    let Ok(written) = serde_json::from_str::<Value>(last_applied) else { return Vec::new() };
    let mut missing = Vec::new();
    let mut same = true;
    let spec = FieldPath::root().field("spec");
    if let (Some(written), Some(stored)) = (written.get("spec"), object.get("spec")) {
        compare(written, stored, &spec, &mut missing, &mut same);
    }
    for (name, value) in written.as_object().into_iter().flatten() {
        // The server makes these itself.
        let own = ["apiVersion", "kind", "metadata", "spec", "status"].contains(&name.as_str());
        if !own && !value.is_null() && object.get(name).is_none() {
            missing.push(FieldPath::root().field(name));
        }
    }
    if !same {
        let unknown = unknown_fields(&written);
        missing.retain(|path| unknown.contains(path));
    }
    missing
}

/// The labels of `last_applied` in selectors that were written without a value and aren't in `object`: the API server drops
/// a null, and without the label the selector selects more, or everything.
fn dropped_labels(last_applied: &str, object: &Value) -> Vec<FieldPath> {
    let Ok(written) = serde_json::from_str::<Value>(last_applied) else { return Vec::new() };
    let mut found = Vec::new();
    for selector in ["podSelector", "containerSelector", "nodeSelector"] {
        let labels = |of: &Value| of.get("spec")?.get(selector)?.get("matchLabels")?.as_object().cloned();
        let kept = labels(object).unwrap_or_default();
        let path = FieldPath::root().field("spec").field(selector).field("matchLabels");
        let nulls = labels(&written).unwrap_or_default().into_iter().filter(|(_, value)| value.is_null());
        found.extend(nulls.filter(|(key, _)| !kept.contains_key(key)).map(|(key, _)| path.field(&key)));
    }
    found
}

/// The same as diagnostics.
pub fn check(last_applied: &str, object: &Value) -> Vec<Diagnostic> {
    let fields = dropped_fields(last_applied, object).into_iter();
    let labels = dropped_labels(last_applied, object).into_iter().map(|path| {
        let name = path.0.last().map(|step| FieldPath(vec![step.clone()]).to_string()).unwrap_or_default();
        let message = format!(
            "the label `{name}` was written without a value, so the API server dropped it, and the selector selects pods \
             with and without it"
        );
        Diagnostic::new(&DROPPED_FIELD, path, message)
            .at_key()
            .severity(Severity::Error)
            .help("write the label's value; `\"\"` is the empty one")
    });
    let fields = fields
        .map(|path| {
            let name = match path.0.last() {
                Some(Step::Field(name)) => name.as_str(),
                _ => "it",
            };
            let message = format!(
                "`{name}` is missing from the stored object: the API server does not know the field and dropped it, \
                 which changes what the policy means"
            );
            Diagnostic::new(&DROPPED_FIELD, path.clone(), message)
                .at_key()
                .help("correct the name, or install a CustomResourceDefinition that has the field")
        });
    fields.chain(labels).collect()
}

fn compare(written: &Value, stored: &Value, path: &FieldPath, missing: &mut Vec<FieldPath>, same: &mut bool) {
    match (written, stored) {
        (Value::Object(written), Value::Object(stored)) => {
            for (name, value) in written {
                match stored.get(name) {
                    Some(other) => compare(value, other, &path.field(name), missing, same),
                    // A null is the same as nothing.
                    None if value.is_null() => {}
                    None => missing.push(path.field(name)),
                }
            }
        }
        (Value::Array(written), Value::Array(stored)) if written.len() == stored.len() => {
            for (i, (value, other)) in written.iter().zip(stored).enumerate() {
                compare(value, other, &path.index(i), missing, same);
            }
        }
        _ => *same &= written == stored,
    }
}

/// The places of the fields that the language doesn't have.
fn unknown_fields(written: &Value) -> Vec<FieldPath> {
    let (_, found) = read::read(&Document::from_json(written));
    let unknown = found.into_iter().filter(|d| d.code == &crate::codes::UNKNOWN_FIELD);
    unknown.map(|diagnostic| diagnostic.path).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dropped(written: &Value, stored: &Value) -> Vec<String> {
        let object = |spec: &Value| json!({"apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "p"}, "spec": spec});
        let paths = dropped_fields(&object(written).to_string(), &object(stored));
        paths.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_server_dropped() {
        let written =
            json!({"kprobes": [{"call": "sys_dup", "selectors": [{"matchArgz": [], "matchPIDs": []}]}]});
        let stored =
            json!({"kprobes": [{"call": "sys_dup", "syscall": true, "selectors": [{"matchPIDs": []}]}]});
        assert_eq!(dropped(&written, &stored), ["spec.kprobes[0].selectors[0].matchArgz"]);
        assert_eq!(dropped(&stored, &stored), [""; 0]);
    }

    #[test]
    fn a_definition_may_be_older_than_the_language() {
        let written = json!({"kprobes": [{"call": "sys_dup"}], "nodeSelector": {}});
        assert_eq!(dropped(&written, &json!({"kprobes": [{"call": "sys_dup"}]})), ["spec.nodeSelector"]);
    }

    #[test]
    fn what_was_changed_afterwards_was_changed_on_purpose() {
        let written = json!({"kprobes": [{"call": "sys_dup", "message": "m", "mesage": "m"}]});
        let edited = json!({"kprobes": [{"call": "sys_dup2"}]});
        assert_eq!(dropped(&written, &edited), ["spec.kprobes[0].mesage"]);
        let longer = json!({"kprobes": [{"call": "sys_dup"}, {"call": "sys_dup2"}]});
        assert_eq!(dropped(&written, &longer), [""; 0]);
    }

    #[test]
    fn nothing_is_concluded_from_what_is_no_json() {
        assert_eq!(dropped_fields("{", &json!({})), []);
        assert_eq!(dropped_fields("[1]", &json!([])), []);
    }

    #[test]
    fn labels_without_a_value_are_errors() {
        let written = json!({"spec": {"podSelector": {"matchLabels": {"org": null, "app": "shop"}}}});
        let stored = json!({"spec": {"podSelector": {"matchLabels": {"app": "shop"}}}});
        let found = check(&written.to_string(), &stored);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].is_error());
        assert_eq!(found[0].path.to_string(), "spec.podSelector.matchLabels.org");
        let mended = json!({"spec": {"podSelector": {"matchLabels": {"app": "shop", "org": "a"}}}});
        assert_eq!(check(&written.to_string(), &mended), []);
        let other = json!({"spec": {"podSelector": {"matchLabels": {"app": "shop"}}, "options": null}});
        assert_eq!(check(&other.to_string(), &stored), []);
    }

    #[test]
    fn the_diagnostic_names_the_field() {
        let written = json!({"spec": {"kprobez": []}}).to_string();
        let found = check(&written, &json!({"spec": {}}));
        assert_eq!(found.len(), 1);
        assert!(found[0].message.starts_with("`kprobez` is missing from the stored object"), "{}", found[0]);
    }
}
