//! `cargo xtask chart`: writes what the helm chart has from elsewhere in the tree, so that nothing is kept twice by hand.

mod values;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    paths, process,
};

pub(crate) use values::{Row, rows};

/// The chart's folder in the repository.
const FOLDER: &str = "charts/gatewatch";

/// Folders whose files the chart holds copies of: from, the file names' beginning, and to.
const COPIES: &[(&str, &str, &str)] = &[
    ("crds/manifests", "cilium.io_", "crds"),
    ("crds/manifests", "gatewatch.dev_", "kinds"),
    ("policies/standard", "", "policies"),
    ("policies/application", "", "policies"),
];

/// The lines before and after the table of values in README.md.
const BEGIN: &str = "<!-- values: written by `cargo xtask chart` -->\n";
const END: &str = "<!-- end of values -->\n";

/// The file of the `ValidatingAdmissionPolicy` and its binding, in the chart's folder.
pub(crate) const ADMISSION: &str = "admission/labels.json";

/// The chart's folder.
pub(crate) fn folder() -> PathBuf {
    paths::root().join(FOLDER)
}

pub(crate) fn command() -> Result<ExitCode> {
    let folder = folder();
    for stale in superfluous(&folder)? {
        fs::remove_file(&stale).with_context(|| format!("cannot remove {}", stale.display()))?;
        println!("removed {}", stale.display());
    }
    let mut files = generated(&folder)?;
    files.insert(folder.join(ADMISSION), admission()?);
    for (path, text) in files {
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{}", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every generated file with what it has to hold.
pub(crate) fn generated(folder: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    for (from, beginning, to) in COPIES {
        for path in files_in(&paths::root().join(from))? {
            let name = file_name(&path);
            if name.starts_with(beginning) {
                files.insert(folder.join(to).join(name), read(&path)?);
            }
        }
    }
    let readme = folder.join("README.md");
    let text = with_values(&read(&readme)?, &rows(&read(&folder.join("values.yaml"))?)?)?;
    files.insert(readme, text);
    Ok(files)
}

/// What [`ADMISSION`] has to hold: what the gate prints, made of the rules that it checks by.
pub(crate) fn admission() -> Result<String> {
    let objects: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(&webhook(&["vap"])?).context("the gate wrote what is not YAML")?;
    Ok(serde_json::to_string_pretty(&objects)? + "\n")
}

/// What the gate's program, built from this tree, prints.
pub(crate) fn webhook(arguments: &[&str]) -> Result<String> {
    let program = build::build_program("gatewatch-webhook", Profile::Dev)?;
    process::text(Command::new(program).args(arguments))
}

/// Files in the folders of copies that are copies of nothing any more.
pub(crate) fn superfluous(folder: &Path) -> Result<Vec<PathBuf>> {
    let wanted = generated(folder)?;
    let mut superfluous = Vec::new();
    for (_, _, to) in COPIES {
        superfluous.extend(files_in(&folder.join(to))?.into_iter().filter(|path| !wanted.contains_key(path)));
    }
    superfluous.dedup();
    Ok(superfluous)
}

/// `readme` with the table of values written anew.
fn with_values(readme: &str, rows: &[Row]) -> Result<String> {
    let missing = || format!("{FOLDER}/README.md has no place for the values: {BEGIN:?} … {END:?}");
    let (before, rest) = readme.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    let mut table = "\n| value | default | meaning |\n|---|---|---|\n".to_owned();
    for Row { path, default, meaning } in rows {
        let _ = writeln!(table, "| `{path}` | `{}` | {meaning} |", default.replace('|', "\\|"));
    }
    Ok(format!("{before}{BEGIN}{table}\n{END}{after}"))
}

pub(crate) fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_replaces_what_was_between_the_marks() {
        let rows = [Row { path: "a.b".into(), default: "\"x|y\"".into(), meaning: "Its meaning".into() }];
        let before = format!("head\n{BEGIN}old\n{END}tail\n");
        let after = with_values(&before, &rows).unwrap();
        assert!(after.contains("| `a.b` | `\"x\\|y\"` | Its meaning |\n"), "{after}");
        assert!(after.starts_with("head\n") && after.ends_with("tail\n") && !after.contains("old"));
        assert_eq!(with_values(&after, &rows).unwrap(), after);
        assert!(with_values("no marks", &rows).is_err());
    }
}
