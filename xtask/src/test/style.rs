//! Rules that hold for the text of single files.

/// A file of source up to this many lines reads in one sitting.
const LONG: usize = 500;

/// A longer one says why, in a comment that begins so.
const LONG_BECAUSE: &str = "// Long because";

/// Text that has no place in the repository, in two halves so that this table is not found by itself, and why.
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
    if !text.is_empty() && !text.ends_with('\n') {
        faults.push(format!("{path}: the last line has no end"));
    }
    let lines = text.lines().count();
    let is_source = path.rsplit_once('.').is_some_and(|(_, extension)| extension == "rs");
    if is_source && lines > LONG && !text.contains(LONG_BECAUSE) {
        faults.push(format!(
            "{path}: {lines} lines; split it, or say in a comment that begins \"{LONG_BECAUSE}\" why not"
        ));
    }
    faults
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
            ("x\n".repeat(LONG + 1), "501 lines"),
        ] {
            let faults = faults("a/b.rs", &text);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert!(faults[0].contains(part), "{faults:?}");
        }
        assert!(
            faults("a.rs", &format!("{LONG_BECAUSE} it is one table.\n{}", "x\n".repeat(LONG))).is_empty()
        );
        assert!(faults("a.yaml", &"x\n".repeat(LONG + 1)).is_empty());
        assert_eq!(manifest_faults("Cargo.toml", "[package]\n").len(), 3);
    }
}
