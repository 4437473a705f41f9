//! Which source files are a part of some crate: those that a crate's root reaches through `mod` declarations.
//!
//! A file that nothing declares is never compiled, so its tests never run and no failure shows it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// All files that the crate roots reach, themselves included.
pub(super) fn reachable(roots: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut found: BTreeSet<PathBuf> = roots.iter().cloned().collect();
    let mut waiting: Vec<(PathBuf, bool)> = roots.iter().map(|root| (root.clone(), true)).collect();
    while let Some((file, is_root)) = waiting.pop() {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for declared in declarations(&text) {
            let files = places(&file, is_root, &declared).into_iter().filter(|place| place.is_file());
            for place in files {
                if found.insert(place.clone()) {
                    waiting.push((place, false));
                }
            }
        }
    }
    Ok(found)
}

/// A `mod name;`, with the file that a `#[path]` before it names.
#[derive(Debug, PartialEq, Eq)]
struct Declaration {
    name: String,
    path: Option<String>,
}

/// The declarations of modules in files of their own. One to a line, as rustfmt writes them.
fn declarations(text: &str) -> Vec<Declaration> {
    let mut found = Vec::new();
    let mut path = None;
    for line in text.lines().map(str::trim) {
        if let Some(attribute) = line.strip_prefix("#[path") {
            path = attribute.split('"').nth(1).map(ToOwned::to_owned);
        } else if let Some(name) = declared_name(line) {
            found.push(Declaration { name: name.to_owned(), path: path.take() });
        } else if let Some(included) =
            line.split_once("include!(\"").and_then(|(_, rest)| rest.split('"').next())
        {
            found.push(Declaration { name: String::new(), path: Some(included.to_owned()) });
        }
    }
    found
}

/// `name` of `mod name;`, `pub mod name;` and `pub(crate) mod name;`.
fn declared_name(line: &str) -> Option<&str> {
    let rest = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1,
        Some(rest) => rest,
        None => line,
    };
    let name = rest.trim_start().strip_prefix("mod ")?.split_once(';')?.0.trim();
    Some(name.strip_prefix("r#").unwrap_or(name))
}

/// Where the compiler looks for a module that `file` declares.
fn places(file: &Path, is_root: bool, declared: &Declaration) -> Vec<PathBuf> {
    let folder = file.parent().unwrap_or(Path::new(""));
    if let Some(path) = &declared.path {
        return vec![folder.join(path)];
    }
    let is_mod = file.file_name().is_some_and(|name| name == "mod.rs");
    let inside = if is_root || is_mod { folder.to_owned() } else { file.with_extension("") };
    vec![inside.join(format!("{}.rs", declared.name)), inside.join(&declared.name).join("mod.rs")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_found_and_inline_modules_are_not() {
        let text = "mod a;\npub mod b;\npub(crate) mod c; // why\n#[path = \"other/d.rs\"]\nmod d;\n\
                    mod tests {\n    mod e;\n}\n// mod not;\ninclude!(\"f.rs\");\nmodel;\n";
        let names: Vec<String> = declarations(text).into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e", ""]);
        assert_eq!(declarations(text)[3].path.as_deref(), Some("other/d.rs"));
    }

    #[test]
    fn a_file_that_nothing_declares_is_not_reached() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let root = write("lib.rs", "mod one;\nmod two;\n");
        let expected =
            [root.clone(), write("one.rs", "mod deep;\n"), write("one/deep.rs", ""), write("two/mod.rs", "")];
        write("one/orphan.rs", "");
        assert_eq!(reachable(&[root]).unwrap(), expected.into_iter().collect());
    }
}
