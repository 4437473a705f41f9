//! The book in docs/ is whole: its summary lists every page, and its index lists every diagnostic.
//! `GATEWATCH_WRITE_DOCS=1 cargo test -p gatewatch --test book` writes index and summary again.
#![allow(clippy::expect_used, reason = "helpers of tests are not tests to clippy")]

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use gatewatch_policy::codes;

/// The table of diagnostics is between these.
const BEGIN: &str = "<!-- codes: written by a test of gatewatch -->\n";
const END: &str = "<!-- end of codes -->\n";

/// A diagnostic's entry in the summary begins like this.
const ENTRY: &str = "  * [GW";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Compares a page with what it must be; writes it if that is asked for.
fn expect(name: &str, page: &str, current: &str) {
    if env::var_os("GATEWATCH_WRITE_DOCS").is_some() {
        fs::write(docs().join(name), current).expect("written");
    } else {
        assert!(
            page == current,
            "docs/{name} is not current; GATEWATCH_WRITE_DOCS=1 with this test writes it"
        );
    }
}

#[test]
fn the_index_lists_every_diagnostic() {
    let page = fs::read_to_string(docs().join("codes.md")).expect("the index");
    let (before, rest) = page.split_once(BEGIN).expect("a place for the table");
    let (_, after) = rest.split_once(END).expect("an end of the table");
    let mut table = "\n| code | severity | meaning |\n|---|---|---|\n".to_owned();
    for code in codes::ALL {
        let (id, severity, title) = (code.id, code.severity, code.title);
        writeln!(table, "| [{id}](codes/{id}.md) | {severity} | {title} |").expect("a String takes it");
    }
    table.push('\n');
    expect("codes.md", &page, &format!("{before}{BEGIN}{table}{END}{after}"));
}

#[test]
fn the_summary_lists_every_page() {
    let page = fs::read_to_string(docs().join("SUMMARY.md")).expect("the summary");
    let mut current = String::new();
    for line in page.lines().filter(|line| !line.starts_with(ENTRY)) {
        current.push_str(line);
        current.push('\n');
        if line.ends_with("(codes.md)") {
            for code in codes::ALL {
                current.extend([ENTRY, &code.id[2..], "](codes/", code.id, ".md)\n"]);
            }
        }
    }
    expect("SUMMARY.md", &page, &current);
    let listed: BTreeSet<&str> = current
        .split("](")
        .skip(1)
        .map(|link| link.split_once(')').expect("the link has an end").0)
        .collect();
    let mut pages = BTreeSet::new();
    for folder in ["", "codes/", "runbooks/"] {
        for entry in fs::read_dir(docs().join(folder)).expect("a folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().extension().is_some_and(|extension| extension == "md") && name != "SUMMARY.md" {
                pages.insert(format!("{folder}{name}"));
            }
        }
    }
    let pages: BTreeSet<&str> = pages.iter().map(String::as_str).collect();
    assert_eq!(listed.symmetric_difference(&pages).collect::<Vec<_>>(), Vec::<&&str>::new());
}
