//! Rules that hold for the text of single files.

/// The most lines that a file of source may have.
const MOST_LINES: usize = 400;

/// Text that has no place in the repository, in two halves so that the check does not find this table, and why.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("/wo", "rk/", "a path of one machine"),
    ("/ro", "ot/.cargo", "a path of one machine"),
    ("deb.deb", "ian.org", "a mirror's name: it is read from the machine's apt sources"),
    ("TO", "DO", "work that is left over belongs to an issue"),
    ("FIX", "ME", "work that is left over belongs to an issue"),
    ("XX", "X:", "work that is left over belongs to an issue"),
];

/// What is wrong with a file, a sentence for each fault: where, and what.
pub(super) fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, line) in (1..).zip(text.lines()) {
        for (one, other, why) in FORBIDDEN {
            if line.contains(&format!("{one}{other}")) {
                faults.push(format!("{path}:{at}: \"{one}{other}\" is {why}"));
            }
        }
        if line.ends_with([' ', '\t']) {
            faults.push(format!("{path}:{at}: a space ends the line"));
        }
    }
    if text.is_empty() {
        faults.push(format!("{path}: the file is empty: delete it"));
    }
    if path.contains(char::is_whitespace) {
        faults.push(format!("{path}: a space in the name of a file: rename or delete it"));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        faults.push(format!("{path}: the last line has no end"));
    }
    if is_source(path) {
        faults.extend(length_fault(path, text.lines().count()));
        if path.ends_with("/mod.rs") {
            faults.push(format!("{path}: write the module as {}.rs", path.trim_end_matches("/mod.rs")));
        }
    }
    faults
}

fn length_fault(path: &str, lines: usize) -> Option<String> {
    (lines > MOST_LINES).then(|| {
        format!("{path}: {lines} lines, at most {MOST_LINES} are allowed: split the file by its ideas")
    })
}

/// Whether a file has Rust.
pub(super) fn is_source(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| extension == "rs")
}

/// What is wrong with the manifest of a member of the workspace.
pub(super) fn manifest_faults(path: &str, text: &str) -> Vec<String> {
    const NEEDED: &[(&str, &str)] = &[
        ("license.workspace = true", "the licence is the workspace's"),
        ("edition.workspace = true", "the edition is the workspace's"),
        ("[lints]\nworkspace = true", "the lints are the workspace's"),
    ];
    let missing = NEEDED.iter().filter(|(line, _)| !text.contains(line));
    missing.map(|(line, why)| format!("{path}: no `{}`: {why}", line.replace('\n', " "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_fault() {
        let (one, other, _) = FORBIDDEN[0];
        for (text, part) in [
            (format!("see {one}{other}here\n"), "a path of one machine"),
            ("blank \n".to_owned(), "a space ends the line"),
            ("no end".to_owned(), "the last line has no end"),
            ("x\n".repeat(MOST_LINES + 1), "401 lines"),
        ] {
            let faults = faults("a/b.rs", &text);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].contains(part), "{faults:?}");
        }
        assert_eq!(faults("a b.yaml", "x\n").len(), 1);
        assert_eq!(faults("a.yaml", "").len(), 1);
        let long = "x\n".repeat(MOST_LINES + 1);
        assert!(faults("a.yaml", &long).is_empty());
        assert!(faults("a/b.rs", &"x\n".repeat(MOST_LINES)).is_empty());
        assert_eq!(faults("tests/src/vm/mod.rs", "x\n").len(), 1);
        assert_eq!(manifest_faults("Cargo.toml", "[package]\n").len(), 3);
    }
}
