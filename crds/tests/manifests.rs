//! The committed manifests are those of the types.

use std::fs;

use gatewatch_crds::manifest;

#[test]
fn the_committed_manifests_are_those_of_the_types() {
    for definition in manifest::definitions() {
        let file = manifest::folder().join(manifest::file_name(&definition));
        let committed = fs::read_to_string(&file).unwrap_or_default();
        let current = manifest::yaml(&definition).unwrap();
        assert!(committed == current, "{} is out of date: {}", file.display(), manifest::COMMAND);
    }
}
