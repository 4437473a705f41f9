//! Pages are true: those in docs/ show the program's real output, and ARCHITECTURE.md names files and functions that
//! exist. The text between two marks is a snapshot of `transcripts.rs`; `GATEWATCH_WRITE_DOCS=1 cargo test -p gatewatch
//! --test pages` writes it again.
#![allow(clippy::expect_used, reason = "helpers of tests are not tests to clippy")]

use std::{env, fs, path::Path};

/// A mark names the snapshot that follows it.
const BEGIN: &str = "<!-- transcript: ";
const BEGIN_END: &str = " -->\n";
const END: &str = "<!-- end of transcript -->\n";

/// The console block of a snapshot: the command, its output, and the exit status that a shell shows.
fn block(snapshot: &str) -> String {
    let (header, body) =
        snapshot.trim_start_matches("---\n").split_once("\n---\n").expect("a header and a body");
    let arguments = header.split_once("&[").and_then(|(_, rest)| rest.split_once(']')).expect("arguments").0;
    let arguments = arguments.replace(['"', '\\', ','], "");
    let (output, status) = body.trim_end().rsplit_once("exit status ").expect("an exit status");
    format!("```console\n$ gatewatch {arguments}\n{output}$ echo $?\n{status}\n```\n")
}

/// The page with every transcript replaced by the snapshot that its mark names, and how many there are.
fn current(page: &str, snapshot: impl Fn(&str) -> String) -> (String, usize) {
    let mut parts = page.split(BEGIN);
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut transcripts = 0;
    for part in parts {
        let (name, rest) = part.split_once(BEGIN_END).expect("the mark has an end");
        let (_, rest) = rest.split_once(END).expect("the transcript has an end");
        text.push_str(&[BEGIN, name, BEGIN_END, "\n", &block(&snapshot(name)), "\n", END, rest].concat());
        transcripts += 1;
    }
    (text, transcripts)
}

#[test]
fn pages_show_what_the_program_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let snapshot = |name: &str| {
        let file = root.join(format!("tests/snapshots/transcripts__{name}.snap"));
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let mut transcripts = 0;
    for entry in fs::read_dir(root.join("../docs")).expect("docs").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let page = fs::read_to_string(&path).expect("a page");
        let (current, found) = current(&page, snapshot);
        transcripts += found;
        if env::var_os("GATEWATCH_WRITE_DOCS").is_some() {
            fs::write(&path, &current).expect("written");
            continue;
        }
        assert!(
            current == page,
            "{} differs from the snapshots; GATEWATCH_WRITE_DOCS=1 with this test writes it",
            path.display()
        );
    }
    assert!(transcripts >= 5, "{transcripts} transcripts");
}

#[test]
fn a_transcript_is_replaced_by_its_snapshot() {
    let snapshot = "---\nsource: s\nexpression: \"run(&f, &[\\\"lint\\\", \\\"a.yaml\\\"])\"\n---\n\
                    fine\nexit status 0\n";
    let page = "before\n<!-- transcript: x -->\nold\n<!-- end of transcript -->\nafter\n";
    let (text, transcripts) = current(page, |name| {
        assert_eq!(name, "x");
        snapshot.to_owned()
    });
    assert_eq!(transcripts, 1);
    assert_eq!(
        text,
        "before\n<!-- transcript: x -->\n\n```console\n$ gatewatch lint a.yaml\nfine\n$ echo $?\n0\n```\n\n\
         <!-- end of transcript -->\nafter\n"
    );
}

/// Names in a page that the tree at `root` does not have: files and folders such as `a/b.rs` or `a/`, and functions such
/// as `name()`, which belong to the last file before them.
fn dead_names(page: &str, root: &Path) -> Vec<String> {
    // What begins with a slash is a path of a URL.
    let is_path = |name: &str| {
        name.contains('/')
            && !name.starts_with('/')
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter))
    };
    let mut dead = Vec::new();
    let mut file = ("", String::new());
    // Every other part is code. Blocks of code have an even number of back-ticks.
    for name in page.split('`').skip(1).step_by(2) {
        if is_path(name) {
            let path = root.join(name);
            if !path.exists() {
                dead.push(format!("there is no {name}"));
            } else if path.is_file() {
                file = (name, fs::read_to_string(path).unwrap_or_default());
            }
        } else if let Some(function) = name.strip_suffix("()") {
            let (named, text) = &file;
            if !text.contains(&format!("fn {function}(")) && !text.contains(&format!("fn {function}<")) {
                dead.push(format!("{named} has no function {function}"));
            }
        }
    }
    dead
}

#[test]
fn the_architecture_names_files_and_functions_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("a page");
    assert_eq!(dead_names(&page, &root), Vec::<String>::new());
    // The walks name their functions one by one.
    assert!(page.matches("()`").count() >= 50, "{}", page.matches("()`").count());
}

#[test]
fn dead_names_are_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = "`src/main.rs`: `main()` calls `vanished()`, and `src/vanished.rs` is `not/a path`";
    assert_eq!(
        dead_names(page, root),
        ["src/main.rs has no function vanished", "there is no src/vanished.rs"]
    );
}
