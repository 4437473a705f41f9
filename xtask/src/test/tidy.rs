//! The suite `tidy`: what holds for the sources and no other tool checks.
//!
//! `cargo xtask test tidy -- words docs/agent.md` runs the part `words` on one file.

mod circles;
mod features;
mod imports;
mod markdown;
mod modules;
mod names;
mod prose;
mod style;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{Context, counts::Counts};
use crate::{paths, process};

/// Folders with nothing of ours in them.
const SKIPPED: &[&str] = &[".git", "target"];

/// The list of the words that the part `words` finds, which has them all.
const LIST_OF_WORDS: &str = "xtask/src/test/tidy/words.rs";

/// What a part of the suite checks.
struct Part {
    name: &'static str,
    /// The test's name: what holds if it passes.
    about: &'static str,
    /// The faults that it finds.
    find: fn(&Tree) -> Result<Vec<String>>,
}

const PARTS: &[Part] = &[
    Part {
        name: "files",
        about: "files are short, plain and whole",
        find: |tree| Ok(tree.each(style::faults)),
    },
    Part { name: "modules", about: "every source file is a part of a crate", find: unreached },
    Part {
        name: "manifests",
        about: "manifests inherit from the workspace",
        find: |tree| Ok(manifests(tree)),
    },
    Part {
        name: "features",
        about: "every selection of packages selects the same features",
        find: |_| features::differences(),
    },
    Part {
        name: "imports",
        about: "imports are grouped, one for each crate",
        find: |tree| Ok(imports(tree)),
    },
    Part { name: "circles", about: "modules need each other in one direction", find: circles },
    Part {
        name: "links",
        about: "links in Markdown have a file and a heading as their target",
        find: |tree| Ok(links(tree)),
    },
    Part { name: "columns", about: "Markdown is wrapped", find: |tree| Ok(columns(tree)) },
    Part {
        name: "names",
        about: "names of the policy language are written out in its tables alone",
        find: |tree| Ok(names(tree)),
    },
    Part { name: "words", about: "texts use the terms of the field", find: |tree| Ok(words(tree)) },
];

/// The files that are checked.
struct Tree {
    /// All text files of the repository, by their path in it.
    texts: BTreeMap<String, String>,
    /// All files.
    files: BTreeSet<String>,
    /// The files and folders that the arguments give; empty for all.
    chosen: Vec<String>,
}

impl Tree {
    fn read() -> Result<Self> {
        let root = paths::root();
        let mut found = Vec::new();
        collect(root, &mut found)?;
        let (mut texts, mut files) = (BTreeMap::new(), BTreeSet::new());
        for file in found {
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            let bytes = fs::read(&file).with_context(|| format!("cannot read {name}"))?;
            // Other files, such as stored BTF, have no lines.
            if let Ok(text) = String::from_utf8(bytes) {
                texts.insert(name.clone(), text);
            }
            files.insert(name);
        }
        Ok(Self { texts, files, chosen: Vec::new() })
    }

    /// The files that the arguments choose.
    fn chosen(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let is_chosen = |name: &str| self.chosen.iter().any(|path| name.starts_with(path.as_str()));
        texts.filter(move |(name, _)| self.chosen.is_empty() || is_chosen(name))
    }

    /// The faults of all files that were written by hand.
    fn each(&self, find: fn(&str, &str) -> Vec<String>) -> Vec<String> {
        let texts = self.chosen().filter(|(name, _)| !name.ends_with("Cargo.lock") && *name != "LICENSE");
        texts.flat_map(|(name, text)| find(name, text)).collect()
    }

    fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        let after = self.files.range(folder.clone()..).next();
        path.is_empty() || self.files.contains(path) || after.is_some_and(|file| file.starts_with(&folder))
    }
}

pub(super) fn run(context: &Context) -> Result<Counts> {
    let is_part = |word: &&String| PARTS.iter().any(|part| part.name == **word);
    let (parts, chosen): (Vec<&String>, Vec<&String>) = context.passed_on.iter().partition(is_part);
    let mut tree = Tree::read()?;
    if let Some(unknown) = chosen.iter().find(|path| !tree.has(path.trim_end_matches('/'))) {
        let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        bail!("{unknown} is neither a file nor a part of this suite; expected one of {}", known.join(", "));
    }
    tree.chosen = chosen.into_iter().cloned().collect();
    let mut counts = Counts::default();
    for part in PARTS.iter().filter(|part| parts.is_empty() || parts.iter().any(|name| *name == part.name)) {
        let faults = (part.find)(&tree)?;
        for fault in &faults {
            println!("{fault}");
        }
        println!("test {} ... {}", part.about, if faults.is_empty() { "ok" } else { "FAILED" });
        counts = counts.and(Counts::one(part.about, faults.is_empty()));
    }
    Ok(counts)
}

/// The workspace itself, and ebpf/, which cannot be a member of it, have no one to inherit from.
fn manifests(tree: &Tree) -> Vec<String> {
    let manifests =
        tree.texts.iter().filter(|(name, _)| name.ends_with("/Cargo.toml") && !name.starts_with("ebpf/"));
    manifests.flat_map(|(name, text)| style::manifest_faults(name, text)).collect()
}

fn imports(tree: &Tree) -> Vec<String> {
    let sources = tree.chosen().filter(|(name, _)| style::is_source(name));
    sources.flat_map(|(name, text)| imports::faults(name, text)).collect()
}

fn links(tree: &Tree) -> Vec<String> {
    let texts = tree.texts.iter().filter(|(name, _)| is_markdown(name));
    let files = texts.map(|(name, text)| (name.as_str(), text.as_str())).collect();
    markdown::dead_links(&files, &|path| tree.has(path))
}

fn columns(tree: &Tree) -> Vec<String> {
    let files = tree.chosen().filter(|(name, _)| is_markdown(name));
    files.flat_map(|(name, text)| markdown::unwrapped(name, text)).collect()
}

fn names(tree: &Tree) -> Vec<String> {
    let names = names::names(|file| tree.texts.get(file).map(String::as_str));
    tree.chosen().flat_map(|(file, text)| names::faults(file, text, &names)).collect()
}

fn words(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, text) in tree.chosen() {
        if name == LIST_OF_WORDS {
            continue;
        }
        let blocks = if is_markdown(name) {
            prose::of_markdown(text)
        } else if style::is_source(name) {
            prose::of_source(text)
        } else {
            continue;
        };
        for block in &blocks {
            faults.extend(words::faults(name, block));
            // In comments of sources, such a clause is mostly a label, not a sentence.
            if is_markdown(name) {
                faults.extend(words::late_subjects(name, block));
            }
        }
    }
    faults
}

fn is_markdown(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| extension == "md")
}

/// The source files that no crate compiles.
fn unreached(tree: &Tree) -> Result<Vec<String>> {
    let root = paths::root();
    let reached: BTreeSet<PathBuf> = crates()?.into_iter().flatten().map(|module| module.file).collect();
    let sources = tree.files.iter().filter(|name| style::is_source(name));
    Ok(sources
        .filter(|name| !reached.contains(&root.join(name)))
        .map(|name| format!("{name}: no crate compiles this file"))
        .collect())
}

/// Circles of modules in any crate.
fn circles(tree: &Tree) -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for modules in crates()? {
        let mut sources = Vec::new();
        for module in modules.into_iter().filter(|module| !module.is_test) {
            let file = module.file.strip_prefix(paths::root()).unwrap_or(&module.file).display().to_string();
            let text = tree.texts.get(&file).map_or("", String::as_str);
            sources.push(circles::Source::parse(module.path, file, text)?);
        }
        // Two crates can share a file.
        found.extend(circles::faults(&sources));
    }
    Ok(found.into_iter().collect())
}

/// The modules of every crate.
fn crates() -> Result<Vec<Vec<modules::Module>>> {
    let mut found = Vec::new();
    for manifest in paths::MANIFESTS {
        for root in crate_roots(&paths::root().join(manifest))? {
            found.push(modules::of_crate(&root)?);
        }
    }
    Ok(found)
}

/// The root files of all targets (libraries, programs, tests, benches, build scripts) of a manifest's packages.
fn crate_roots(manifest: &Path) -> Result<Vec<PathBuf>> {
    let mut cargo = Command::new(paths::cargo());
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let metadata: serde_json::Value =
        serde_json::from_str(&process::text(&mut cargo)?).context("cargo metadata wrote what is not JSON")?;
    let list = |value: &serde_json::Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    Ok(list(&metadata, "packages")
        .iter()
        .flat_map(|package| list(package, "targets"))
        .filter_map(|target| target["src_path"].as_str().map(PathBuf::from))
        .collect())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let about = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(about)? {
        let entry = entry.with_context(about)?;
        let kind = entry.file_type().with_context(about)?;
        // In a second work tree of git, `.git` is a file.
        if SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}
