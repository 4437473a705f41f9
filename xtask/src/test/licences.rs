//! Whether we may ship what we are made of, and whether we know where it is from.

use std::path::Path;

use anyhow::Result;
use spdx::{Expression, LicenseReq, ParseMode};

use crate::{
    dependencies::{Dependencies, Package},
    paths,
};

/// Licences that ask for no more than to be named. (SPDX identifiers.)
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The one place that packages may come from: crates.io, as lock files name it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A sentence for each package of either workspace that we may not use.
pub(super) fn faults() -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (manifest, target) in
        [("Cargo.toml", "x86_64-unknown-linux-gnu"), ("ebpf/Cargo.toml", "bpfel-unknown-none")]
    {
        let dependencies = Dependencies::of(&paths::root().join(Path::new(manifest)), target)?;
        faults.extend(dependencies.all().filter_map(fault));
    }
    Ok(faults)
}

fn fault(package: &Package) -> Option<String> {
    let Package { name, version, license, source, .. } = package;
    let why = match source.as_deref() {
        Some(source) if source != REGISTRY => format!("comes from {source}, not from crates.io"),
        _ => licence_fault(license.as_deref())?,
    };
    Some(format!("{name} {version} {why}"))
}

/// Why this licence won't do.
fn licence_fault(text: Option<&str>) -> Option<String> {
    let Some(text) = text else { return Some("names no licence".to_owned()) };
    // Old manifests have a slash for OR.
    let expression = match Expression::parse_mode(text, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("has a licence that can't be read, `{text}`: {}", error.reason)),
    };
    let allowed = |license: &LicenseReq| license.license.id().is_some_and(|id| ALLOWED.contains(&id.name));
    (!expression.evaluate(allowed))
        .then(|| format!("has the licence `{text}`, which isn't among those allowed"))
}

#[cfg(test)]
mod tests {
    use super::licence_fault;

    #[test]
    fn one_of_several_is_enough_and_each_of_several_is_needed() {
        for good in
            ["MIT", "MIT/Apache-2.0", "GPL-3.0-only OR MIT", "Apache-2.0 WITH LLVM-exception", "MIT AND ISC"]
        {
            assert_eq!(licence_fault(Some(good)), None, "{good}");
        }
        for bad in ["GPL-2.0-only", "MIT AND LGPL-2.1-only", "MPL-2.0", "Fancy", ""] {
            assert!(licence_fault(Some(bad)).is_some(), "{bad}");
        }
        assert!(licence_fault(None).is_some());
    }
}
