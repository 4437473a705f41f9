//! The modules of a crate: those that its root reaches through `mod` declarations.
//!
//! A file that nothing declares is never compiled, so its tests never run and no failure shows it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// A module that has a file of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// Its path in its crate, empty for the root.
    pub(super) path: Vec<String>,
    /// Its file.
    pub(super) file: PathBuf,
    /// Whether it is compiled for tests only.
    pub(super) is_test: bool,
}

/// All modules that a crate's root reaches, itself included. A file that is included is one more file of the module that
/// includes it.
pub(super) fn of_crate(root: &Path) -> Result<Vec<Module>> {
    let mut found = vec![Module { path: Vec::new(), file: root.to_owned(), is_test: false }];
    let mut next = 0;
    while let Some(module) = found.get(next).cloned() {
        let file = &module.file;
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        for declared in declarations(&text) {
            let mut path = module.path.clone();
            path.extend(Some(declared.name.clone()).filter(|name| !name.is_empty()));
            let files = places(file, next == 0, &declared).into_iter().filter(|place| place.is_file());
            for file in files {
                if found.iter().all(|module| module.file != file) {
                    let is_test = module.is_test || declared.is_test;
                    found.push(Module { path: path.clone(), file, is_test });
                }
            }
        }
        next += 1;
    }
    Ok(found)
}

/// A `mod name;`, with the file that a `#[path]` before it names.
#[derive(Debug, PartialEq, Eq)]
struct Declaration {
    name: String,
    path: Option<String>,
    is_test: bool,
}

/// The declarations of modules in files of their own. One to a line, as rustfmt writes them.
fn declarations(text: &str) -> Vec<Declaration> {
    let mut found = Vec::new();
    let (mut path, mut is_test) = (None, false);
    for line in text.lines().map(str::trim) {
        if line == "#[cfg(test)]" {
            is_test = true;
            continue;
        }
        if let Some(attribute) = line.strip_prefix("#[path") {
            path = attribute.split('"').nth(1).map(ToOwned::to_owned);
            continue;
        }
        let is_test = std::mem::take(&mut is_test);
        if let Some(name) = declared_name(line) {
            found.push(Declaration { name: name.to_owned(), path: path.take(), is_test });
        } else if let Some(included) =
            line.split_once("include!(\"").and_then(|(_, rest)| rest.split('"').next())
        {
            found.push(Declaration { name: String::new(), path: Some(included.to_owned()), is_test });
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn declarations_are_found_and_inline_modules_are_not() {
        let text = "mod a;\npub mod b;\npub(crate) mod c; // why\n#[path = \"other/d.rs\"]\nmod d;\n\
                    #[cfg(test)]\nmod t;\nmod tests {\n    mod e;\n}\n// mod not;\ninclude!(\"f.rs\");\nmodel;\n";
        let names: Vec<String> = declarations(text).into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["a", "b", "c", "d", "t", "e", ""]);
        let tests: Vec<bool> = declarations(text).into_iter().map(|found| found.is_test).collect();
        assert_eq!(tests, [false, false, false, false, true, false, false]);
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
        let found: BTreeSet<PathBuf> =
            of_crate(&root).unwrap().into_iter().map(|module| module.file).collect();
        assert_eq!(found, expected.into_iter().collect());
    }
}
