//! The definitions as an API server and users meet them.

use std::{collections::BTreeSet, fs};

use gatewatch_crds::manifest;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

#[test]
fn there_are_no_other_manifests() {
    let expected: BTreeSet<_> = manifest::definitions().iter().map(manifest::file_name).collect();
    let found: BTreeSet<_> = fs::read_dir(manifest::folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected, "write what is missing with {}", manifest::COMMAND);
}

#[test]
fn a_manifest_reads_back_as_its_definition() {
    for definition in manifest::definitions() {
        let text = manifest::yaml(&definition).unwrap();
        let read: CustomResourceDefinition = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, definition, "{}", manifest::file_name(&definition));
    }
}

/// `kubectl apply` keeps the object in an annotation, and annotations have at most 256 KiB in all (apimachinery
/// `validation.TotalAnnotationSizeLimitB`).
#[test]
fn a_manifest_can_be_applied_by_kubectl() {
    for definition in manifest::definitions() {
        let size = serde_json::to_string(&definition).unwrap().len();
        assert!(size < 256 * 1024, "{} has {size} bytes", manifest::file_name(&definition));
    }
}

#[test]
fn names_are_those_users_type() {
    let names: Vec<_> = manifest::definitions()
        .into_iter()
        .map(|definition| {
            let names = definition.spec.names;
            (names.plural, names.short_names.unwrap_or_default().join(","), definition.spec.scope)
        })
        .collect();
    let expected = [
        ("tracingpolicies", "tgtp", "Cluster"),
        ("tracingpoliciesnamespaced", "tgtpn", "Namespaced"),
        ("nodetracings", "gwnode", "Cluster"),
        ("policycoverages", "gwcov", "Cluster"),
    ]
    .map(|(plural, short, scope)| (plural.to_owned(), short.to_owned(), scope.to_owned()));
    assert_eq!(names, expected);
}
