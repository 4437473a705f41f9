//! The suite `events`: Tetragon's own reader reads our records.
//!
//! Its module is on no Go module proxy that every machine reaches, so the program comes from outside:
//! `GATEWATCH_TETRA` names it. What it printed is stored beside the records, and tests of `gatewatch-events` compare
//! these files on every machine.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{Context, counts::Counts};
use crate::paths;

const VARIABLE: &str = "GATEWATCH_TETRA";
/// The records: the last line is a notice, which ends `tetra` in its compact form.
const RECORDS: &str = "events/tests/records.jsonl";

pub(super) fn run(_: &Context) -> Result<Counts> {
    let Some(tetra) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        bail!(
            "set {VARIABLE} to Tetragon's command line: in a checkout of github.com/cilium/tetragon, run \
             `go build -mod=vendor ./cmd/tetra`"
        );
    };
    let records = paths::root().join(RECORDS);
    let text = fs::read_to_string(&records).with_context(|| format!("cannot read {}", records.display()))?;
    let read = text.trim_end().rsplit_once('\n').map_or("", |(read, _)| read);
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let input = folder.path().join("records.jsonl");
    fs::write(&input, format!("{read}\n"))?;
    let json = compare(&tetra, &input, "json", "events/tests/records.tetra.jsonl")?;
    let compact = compare(&tetra, &input, "compact", "events/tests/records.tetra.txt")?;
    Ok(Counts::one("tetra getevents -o json", json).and(Counts::one("tetra getevents -o compact", compact)))
}

/// Runs the reader, and compares what it prints with the stored text.
fn compare(tetra: &Path, input: &Path, format: &str, stored: &str) -> Result<bool> {
    let input = File::open(input).context("cannot read the records")?;
    let output = Command::new(tetra)
        .args(["getevents", "--color", "never", "-o", format])
        .stdin(input)
        .output()
        .with_context(|| format!("cannot run {}", tetra.display()))?;
    if !output.status.success() {
        println!("tetra failed: {}", String::from_utf8_lossy(&output.stderr));
        return Ok(false);
    }
    let printed = without_varying_blanks(&String::from_utf8_lossy(&output.stdout), format);
    let path = paths::root().join(stored);
    if std::env::var_os("GATEWATCH_WRITE_DOCS").is_some() {
        fs::write(&path, &printed)?;
    }
    let expected = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if printed != expected {
        println!("{stored} differs from what tetra prints; GATEWATCH_WRITE_DOCS=1 accepts the change");
    }
    Ok(printed == expected)
}

/// Protojson puts blanks after some commas and colons or not, by the build. JSON is compared as such. Some compact lines
/// end with a blank.
fn without_varying_blanks(text: &str, format: &str) -> String {
    if format != "json" {
        return text.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    }
    let line = |line: &str| match serde_json::from_str::<serde_json::Value>(line) {
        Ok(value) => format!("{value}\n"),
        Err(_) => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
