//! Where the checks of `tidy` hold. Add a folder here as soon as it follows the rule.

/// The most lines that a file of source may have.
pub(super) const MOST_LINES: usize = 400;

/// Longer files, with the number of lines that each may have until it is split.
pub(super) const LONGER_FILES: &[(&str, usize)] = &[];

/// Where a module `a` with modules of its own is `a.rs` and `a/`, not `a/mod.rs`.
pub(super) const MODULE_STYLE: &[&str] =
    &["cli/", "coverage/", "crds/", "ebpf", "node-agent/", "policy/", "tests/", "webhook/", "xtask/"];

/// Where imports are in three groups (std, other crates, this crate), with one `use` for each crate.
pub(super) const IMPORT_STYLE: &[&str] = &["ebpf", "kernel/", "node-agent/", "policy/", "tests/", "xtask/"];

/// Where Markdown is wrapped.
pub(super) const WRAPPED: &[&str] =
    &["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "charts/", "docs/"];

/// Where Markdown, comments for documentation and messages have the words of `words.rs` no more.
pub(super) const WORDS: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "charts/",
    "docs/",
    "ebpf/",
    "ebpf-abi/",
    "node-agent/",
    "policies/",
    "policy/",
    "tests/",
    "xtask/",
];

/// The list of the words, which has them all.
pub(super) const LIST_OF_WORDS: &str = "xtask/src/test/tidy/words.rs";

/// Whether a path is one of these, or in one of these folders.
pub(super) fn holds(paths: &[&str], path: &str) -> bool {
    paths.iter().any(|of| path.starts_with(of))
}
