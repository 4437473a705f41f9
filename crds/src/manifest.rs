//! The definitions of the kinds, and the files that contain them.

use std::path::Path;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use kube::CustomResourceExt;

use crate::{NodeTracing, PolicyCoverage, TracingPolicy, TracingPolicyNamespaced, cel};

/// How to write the manifests anew.
pub const COMMAND: &str = "cargo run -p gatewatch-crds --bin crdgen";

const HEADER: &str = "# Generated from the types in crds/src; regenerate with\n#   ";

/// The folder of the manifests in the source tree this was built from.
pub fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/manifests"))
}

/// The definitions of all kinds, as they are given to an API server.
pub fn definitions() -> [CustomResourceDefinition; 4] {
    let mut namespaced = TracingPolicyNamespaced::crd();
    for schema in root_schemas(&mut namespaced) {
        schema.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
            rule: cel::NO_HOST_SELECTOR.rule.into(),
            message: Some(cel::NO_HOST_SELECTOR.message.into()),
            ..ValidationRule::default()
        });
    }
    let mut definitions = [TracingPolicy::crd(), namespaced, NodeTracing::crd(), PolicyCoverage::crd()];
    for definition in &mut definitions {
        for schema in root_schemas(definition) {
            conform(schema);
            require_metadata(schema);
        }
    }
    definitions
}

/// The name of the file of a definition: `GROUP_PLURAL.yaml`.
pub fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural)
}

/// The text of a definition's manifest.
pub fn yaml(definition: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    Ok(format!("{HEADER}{COMMAND}\n{}", serde_saphyr::to_string(definition)?))
}

fn root_schemas(definition: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let versions = definition.spec.versions.iter_mut();
    versions.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
}

/// An object without metadata has no name.
fn require_metadata(schema: &mut JSONSchemaProps) {
    let required = schema.required.get_or_insert_default();
    required.push("metadata".into());
    required.sort();
    required.dedup();
}

/// A doc comment as plain text: no marks for code, and lines broken only between paragraphs.
fn plain(description: &str) -> String {
    let paragraphs = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n").replace('`', "")
}

/// Turns schemars' schemas of Rust types into the schemas of Kubernetes kinds.
///
/// An optional field may be absent; schemars takes it that it may be null too, which the API server would then store.
/// And Kubernetes knows integers of 32 and 64 bits, both signed: 32 unsigned bits are `int32` with a minimum of 0.
fn conform(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    schema.description = schema.description.as_deref().map(plain);
    match schema.format.as_deref() {
        Some("uint32") => schema.format = Some("int32".into()),
        Some("uint64") => schema.format = Some("int64".into()),
        _ => {}
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        conform(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => conform(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(conform),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        conform(values);
    }
}
