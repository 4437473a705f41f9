//! The bill of materials of an image: SPDX 2.3, as JSON (<https://spdx.github.io/spdx-spec/v2.3/>). The same sources give
//! the same bytes, so it has the date of none of its builds.

use anyhow::Result;
use serde_json::{Value, json};

use super::digest;
use crate::{
    dependencies::{Dependencies, Package},
    paths,
};

/// What Rust programs for this are linked for, and what BPF ones are.
const TARGETS: [(&str, &str, &str); 2] = [
    (paths::MANIFESTS[0], "x86_64-unknown-linux-gnu", ""),
    (paths::MANIFESTS[1], "bpfel-unknown-none", "gatewatch-ebpf"),
];

/// The document for a program of ours, with the kernel half where it holds that.
pub(crate) fn bill(program: &str, kernel_half: bool) -> Result<String> {
    let (mut packages, mut relationships) = (Vec::new(), Vec::new());
    let mut top = Vec::new();
    for (manifest, target, own) in TARGETS {
        if !own.is_empty() && !kernel_half {
            continue;
        }
        let dependencies = Dependencies::of(&paths::root().join(manifest), target)?;
        let linked = dependencies.linked_into(if own.is_empty() { program } else { own })?;
        top.push(identity(linked[0]));
        for package in linked {
            packages.push(entry(package));
            relationships.extend(dependencies.needs(package).map(|needed| {
                json!({
                    "spdxElementId": identity(package),
                    "relationshipType": "DEPENDS_ON",
                    "relatedSpdxElement": identity(needed),
                })
            }));
        }
    }
    packages.sort_by_key(|package| package["SPDXID"].to_string());
    packages.dedup_by_key(|package| package["SPDXID"].to_string());
    if let [first, second] = &top[..] {
        relationships.push(json!({
            "spdxElementId": first, "relationshipType": "CONTAINS", "relatedSpdxElement": second,
        }));
    }
    relationships.push(json!({
        "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": top[0],
    }));
    let contents = json!({ "packages": packages, "relationships": relationships });
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": program,
        // Unique to its contents, as the specification asks.
        "documentNamespace":
            format!("https://github.com/gatewatch/gatewatch/sbom/{program}/{}", digest(contents.to_string().as_bytes())),
        "creationInfo": { "created": "1970-01-01T00:00:00Z", "creators": ["Tool: gatewatch-xtask"] },
        "packages": contents["packages"],
        "relationships": contents["relationships"],
    });
    Ok(format!("{document:#}\n"))
}

/// Letters, digits, dots and hyphens.
fn identity(package: &Package) -> String {
    let version = package.version.replace('+', "-");
    format!("SPDXRef-{}-{version}", package.name.replace('_', "."))
}

fn entry(package: &Package) -> Value {
    let licence =
        package.license.as_deref().map_or("NOASSERTION".to_owned(), |text| text.replace('/', " OR "));
    let mut entry = json!({
        "SPDXID": identity(package),
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": package.repository.as_deref().unwrap_or("NOASSERTION"),
        "filesAnalyzed": false,
        "licenseDeclared": licence,
        "licenseConcluded": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    });
    if package.source.is_some() {
        entry["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": format!("pkg:cargo/{}@{}", package.name, package.version),
        }]);
    }
    entry
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_bill_names_what_is_linked_and_nothing_else() {
        let text = bill("gatewatch-agent", true).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let packages = document["packages"].as_array().unwrap();
        let names: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
        for name in ["gatewatch-agent", "gatewatch-ebpf", "aya", "aya-ebpf", "tokio"] {
            assert!(names.contains(name), "{name} is missing");
        }
        for name in ["proptest", "xtask", "gatewatch-webhook"] {
            assert!(!names.contains(name), "{name} is in it");
        }
        let ids: BTreeSet<&str> = packages.iter().filter_map(|package| package["SPDXID"].as_str()).collect();
        assert_eq!(ids.len(), packages.len());
        for relationship in document["relationships"].as_array().unwrap() {
            let related = relationship["relatedSpdxElement"].as_str().unwrap();
            assert!(ids.contains(related), "{related} is not in it");
        }
        assert_eq!(text, bill("gatewatch-agent", true).unwrap());
    }
}
