//! The schema of the policy kinds, as the API server checks it: no object exists that it rejects.
//!
//! [`read`](crate::read) and [`check`](crate::check) report most errors better, because they know the intended
//! meaning. So the findings of the schema count only if those report nothing (see [`assess`](crate::assess)). A schema comes from a
//! `CustomResourceDefinition`: a shipped one, or that of a cluster. `x-kubernetes-validations` (rules in CEL) are
//! not evaluated: the rules of the shipped definitions are rules here too.

mod dialect;
mod explain;

use std::{collections::BTreeMap, sync::LazyLock};

use jsonschema::{ValidationError, Validator};
use serde_json::Value;
use thiserror::Error;

use self::explain::{Explanation, explain};
use crate::{
    codes::SCHEMA,
    diagnostic::{Diagnostic, FieldPath, Step},
    read::{GROUP, VERSION},
    source,
};

/// The definitions that come with Gatewatch.
const SHIPPED: [&str; 2] = [
    include_str!("../../crds/manifests/cilium.io_tracingpolicies.yaml"),
    include_str!("../../crds/manifests/cilium.io_tracingpoliciesnamespaced.yaml"),
];

static SHIPPED_SCHEMAS: LazyLock<Schemas> = LazyLock::new(|| {
    let mut all = Schemas { shipped: true, ..Schemas::default() };
    for text in SHIPPED {
        if let Ok(schemas) = Schemas::from_definitions(text) {
            all.by_kind.extend(schemas.by_kind);
        }
    }
    all
});

/// Why a definition can't be used.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// It can't be read as YAML or JSON.
    #[error("{0}")]
    Unreadable(String),
    /// There is none in the input.
    #[error("no CustomResourceDefinition of a policy with a schema for version v1alpha1 found")]
    NoDefinition,
    /// Its schema isn't one.
    #[error("the schema of {kind} cannot be used: {reason}")]
    Unusable {
        /// The kind.
        kind: String,
        /// What is wrong.
        reason: String,
    },
}

/// Schemas by kind.
#[derive(Debug, Default)]
pub struct Schemas {
    by_kind: BTreeMap<String, Validator>,
    /// Whether they are those that come with Gatewatch.
    shipped: bool,
}

impl Schemas {
    /// Those that come with Gatewatch.
    pub fn shipped() -> &'static Self {
        &SHIPPED_SCHEMAS
    }

    /// Whether they come with Gatewatch: those of the newest Tetragon, which a cluster may have or not.
    pub(crate) const fn are_shipped(&self) -> bool {
        self.shipped
    }

    /// Those of the definitions in a text: what `kubectl get crd -o yaml NAME…` prints.
    pub fn from_definitions(text: &str) -> Result<Self, SchemaError> {
        let mut all = Self::default();
        for document in source::parse(text) {
            if let Some(unread) = document.findings.first().filter(|_| !document.complete) {
                return Err(SchemaError::Unreadable(unread.diagnostic.message.clone()));
            }
            let value = document.root.to_json();
            match value.get("items").and_then(Value::as_array) {
                Some(items) => items.iter().try_for_each(|item| all.add(item))?,
                None => all.add(&value)?,
            }
        }
        if all.by_kind.is_empty() { Err(SchemaError::NoDefinition) } else { Ok(all) }
    }

    /// Takes a definition in, if it is one of a kind of policies.
    fn add(&mut self, definition: &Value) -> Result<(), SchemaError> {
        let spec = &definition["spec"];
        let Some(kind) = spec["names"]["kind"].as_str().filter(|_| spec["group"] == GROUP) else {
            return Ok(());
        };
        let versions = spec["versions"].as_array().into_iter().flatten();
        let Some(schema) = versions
            .filter(|version| version["name"] == VERSION)
            .find_map(|version| version["schema"].get("openAPIV3Schema"))
        else {
            return Ok(());
        };
        let unusable = |reason: String| SchemaError::Unusable { kind: kind.to_owned(), reason };
        let schema = dialect::object(schema);
        let validator =
            jsonschema::draft202012::new(&schema).map_err(|error| unusable(about_schema(&error)))?;
        self.by_kind.insert(kind.to_owned(), validator);
        Ok(())
    }

    /// What the API server's schema has against an object. Of an object of another kind nothing.
    ///
    /// Fields that the schema doesn't know aren't among it: the API server drops them, see [`dropped`](crate::dropped).
    pub fn check(&self, object: &Value) -> Vec<Diagnostic> {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let Some(validator) = self.by_kind.get(kind) else { return Vec::new() };
        let object = &without_nulls(object);
        let found =
            validator.iter_errors(object).flat_map(|error| explain(&error)).take(source::MAX_FINDINGS);
        found
            .map(|Explanation { pointer, problem, fix }| {
                let message = format!("{problem}; the API server rejects the policy");
                Diagnostic::new(&SCHEMA, located(&pointer, object), message)
                    .help(format!("{fix}, or install a CustomResourceDefinition that allows this value"))
            })
            .collect()
    }
}

/// The reason why a schema is not valid.
fn about_schema(error: &ValidationError<'_>) -> String {
    let problems: Vec<String> = explain(error)
        .into_iter()
        .map(|Explanation { pointer, problem, .. }| format!("{problem} (at `{pointer}`)"))
        .collect();
    problems.join("; ")
}

/// An object as the API server validates it: a member that is null is the same as none
/// (`PruneNonNullableNullsWithoutDefaults` in `apiextensions-apiserver`).
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// A JSON pointer as a path; whether a number is a position or a name is seen from the object.
fn located(pointer: &str, object: &Value) -> FieldPath {
    let mut path = FieldPath::root();
    let mut value = Some(object);
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        let index = value.and_then(Value::as_array).and_then(|_| name.parse::<usize>().ok());
        value = match index {
            Some(index) => value.and_then(|value| value.get(index)),
            None => value.and_then(|value| value.get(&name)),
        };
        path.0.push(index.map_or(Step::Field(name.into()), Step::Index));
    }
    path
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(spec: &Value) -> Value {
        json!({"apiVersion": "cilium.io/v1alpha1", "kind": "TracingPolicy", "metadata": {"name": "p"}, "spec": spec})
    }

    fn rejected(schemas: &Schemas, spec: &Value) -> Vec<String> {
        schemas.check(&policy(spec)).iter().map(|d| d.path.to_string()).collect()
    }

    #[test]
    fn the_shipped_schemas_are_there() {
        let schemas = Schemas::shipped();
        assert!(schemas.by_kind.keys().eq(["TracingPolicy", "TracingPolicyNamespaced"]));
        assert_eq!(rejected(schemas, &json!({"kprobes": [{"call": "sys_dup"}]})), [""; 0]);
        assert_eq!(rejected(schemas, &json!({"kprobes": [{"call": 1}]})), ["spec.kprobes[0].call"]);
        assert_eq!(
            rejected(schemas, &json!({"podSelector": {"matchLabels": {"a/b": "c d"}}})),
            ["spec.podSelector.matchLabels[a/b]"]
        );
        // Pruned, not rejected.
        assert_eq!(rejected(schemas, &json!({"kprobez": []})), [""; 0]);
    }

    #[test]
    fn a_cluster_may_have_another_one() {
        let definition = |schema: &str| {
            format!(
                "kind: CustomResourceDefinition\nspec: {{group: cilium.io, names: {{kind: TracingPolicy}}, versions: \
                 [{{name: v1alpha1, schema: {{openAPIV3Schema: {schema}}}}}]}}\n"
            )
        };
        let older = "{type: object, properties: {spec: {type: object, properties: {kprobes: {type: array, maxItems: 1, \
                     nullable: true, items: {type: object}}}}}}";
        let schemas = Schemas::from_definitions(&definition(older)).unwrap();
        assert_eq!(rejected(&schemas, &json!({"kprobes": [{}, {}]})), ["spec.kprobes"]);
        assert_eq!(rejected(&schemas, &json!({"kprobes": null})), [""; 0]);
        assert!(matches!(Schemas::from_definitions("a: 1"), Err(SchemaError::NoDefinition)));
        assert!(matches!(Schemas::from_definitions("a: ["), Err(SchemaError::Unreadable(_))));
        let found = &schemas.check(&policy(&json!({"kprobes": [{}, {}]})))[0];
        assert_eq!(found.message, "2 entries, expected at most 1 entry; the API server rejects the policy");
        assert!(
            found.help.as_deref().is_some_and(|help| help.starts_with("keep at most 1 entry, or install "))
        );
        for (schema, reason) in [
            ("{type: 5}", "the value has none of the allowed forms: "),
            ("{maxItems: -1}", "-1 is too small: expected at least 0 (at `/maxItems`)"),
            ("{pattern: '('}", "invalid value \"(\": expected the format `regex` (at `/pattern`)"),
        ] {
            let error = Schemas::from_definitions(&definition(schema)).unwrap_err().to_string();
            let begin = format!("the schema of TracingPolicy cannot be used: {reason}");
            assert!(error.starts_with(&begin), "{error}");
        }
    }
}
