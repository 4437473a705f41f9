//! `gatewatch fix`: applies the safe fixes.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use gatewatch_coverage::templates::Templates;
use gatewatch_policy::{
    assess::{Objects, rebase},
    diagnostic::Diagnostic,
    read::{self, Identity},
    source,
};
use similar::{ChangeTag, TextDiff};

use crate::{
    FAILED,
    arguments::{Color, Fix},
    chunks::chunks,
    edits::{self, Change},
    inputs::{self, InputFile},
    lint::{Prepared, Rules},
    print_message,
    report::counted,
};

/// Maximum rounds, because one fix can make another one possible.
const ROUNDS: usize = 10;

/// Applies the safe fixes to all inputs.
pub(crate) fn run(arguments: &Fix, color: Color) -> Result<ExitCode> {
    let rules = Rules::load(&arguments.targets.targets, &arguments.kernels.kernels, None)?;
    let rules = rules.prepare();
    let templates = arguments.templates.get();
    let (places, mut unreadable) = inputs::find(&arguments.inputs);
    let (mut made, mut files) = (0, 0);
    for place in places {
        let input = match inputs::read(&place) {
            Ok(input) => input,
            Err(error) => {
                unreadable.push(error);
                continue;
            }
        };
        let Ok(text) = std::str::from_utf8(&input.bytes) else {
            print_message(&format!("error: {} is not UTF-8 text; it is left unchanged", input.name));
            return Ok(ExitCode::from(FAILED));
        };
        let (new, count) = apply_safe_fixes(text, &rules, &templates);
        made += count;
        files += usize::from(count > 0);
        write(&place, text, &new, arguments.diff, &input.name, color)?;
    }
    for error in &unreadable {
        print_message(&format!("error: {error}"));
    }
    let verb = if arguments.diff { "to make" } else { "made" };
    print_message(&match made {
        0 => "no safe fixes to apply".to_owned(),
        _ => format!("{} {verb} in {}", counted(made, "change", "changes"), counted(files, "file", "files")),
    });
    Ok(if !unreadable.is_empty() {
        ExitCode::from(FAILED)
    } else if arguments.diff && made > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn write(place: &InputFile, old: &str, new: &str, diff: bool, name: &str, color: Color) -> Result<()> {
    if diff {
        io::stdout().write_all(difference(old, new, name, color.on_stdout()).as_bytes())?;
    } else if place.path() == Path::new("-") {
        io::stdout().write_all(new.as_bytes())?;
    } else if old != new {
        fs::write(place.path(), new).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// Applies all safe fixes to a text. Returns the new text and the number of changes.
fn apply_safe_fixes(text: &str, rules: &Prepared<'_>, templates: &Templates) -> (String, usize) {
    let mut text = text.to_owned();
    let mut made = 0;
    for _ in 0..ROUNDS {
        let (new, count) = edits::apply(&text, changes(&text, rules, templates));
        // A round that makes a document unreadable is discarded.
        if count == 0 || !keeps_documents(&text, &new) {
            break;
        }
        (text, made) = (new, made + count);
    }
    (text, made)
}

/// Whether a changed text has as many readable documents as before.
fn keeps_documents(old: &str, new: &str) -> bool {
    let whole = |text: &str| {
        let parts = chunks(text).into_iter();
        parts.flat_map(|part| source::parse(&text[part])).filter(|document| document.complete).count()
    };
    whole(old) == whole(new)
}

/// The changes of the safe fixes of all policies and workloads in a text.
fn changes(text: &str, rules: &Prepared<'_>, templates: &Templates) -> Vec<Change> {
    let mut changes = Vec::new();
    for part in chunks(text) {
        let start = part.start;
        let text = &text[part];
        for document in source::parse(text).iter().filter(|document| document.complete) {
            for object in Objects::of(document).objects {
                let node = object.node();
                let diagnostics: Vec<Diagnostic> = if let Identity::Policy(_) = read::identify(node) {
                    rules.assess(&object).findings.into_iter().map(|found| found.diagnostic).collect()
                } else {
                    let workload = gatewatch_coverage::read::workload(node, "", templates)
                        .map(|(_, diagnostics)| diagnostics);
                    workload.into_iter().flatten().map(|found| rebase(found, object.base())).collect()
                };
                let fixes = diagnostics.into_iter().filter_map(|diagnostic| diagnostic.fix);
                for fix in fixes.filter(|fix| fix.safe) {
                    let change = edits::change(document, text, &fix);
                    changes.extend(change.map(|Change { range: (from, to), text }| Change {
                        range: (from + start, to + start),
                        text,
                    }));
                }
            }
        }
    }
    changes
}

/// The difference as `diff -u` writes it.
fn difference(old: &str, new: &str, name: &str, color: bool) -> String {
    let diff = TextDiff::from_lines(old, new);
    let plain = diff.unified_diff().header(name, name).to_string();
    if !color {
        return plain;
    }
    let mut shown = String::new();
    for hunk in diff.unified_diff().iter_hunks() {
        let _ = writeln!(shown, "{}", hunk.header());
        for change in hunk.iter_changes() {
            let (sign, paint) = match change.tag() {
                ChangeTag::Delete => ("-", "\u{1b}[31m"),
                ChangeTag::Insert => ("+", "\u{1b}[32m"),
                ChangeTag::Equal => (" ", ""),
            };
            let end = if paint.is_empty() { "" } else { "\u{1b}[0m" };
            let line = change.value().trim_end_matches('\n');
            let _ = writeln!(shown, "{paint}{sign}{line}{end}");
        }
    }
    if shown.is_empty() { shown } else { format!("--- {name}\n+++ {name}\n{shown}") }
}
