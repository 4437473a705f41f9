//! Running other programs: with their output shown only when they fail, or taken as text.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader},
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::progress::Step;

/// How many of its last lines a failed program is quoted with.
const TAIL: usize = 40;

/// Runs `command` to its end as a part of `step`. Fails, with the end of its output, unless it succeeds.
pub(crate) fn run(command: &mut Command, step: &Step) -> Result<()> {
    let (reader, writer) = io::pipe().context("cannot create a pipe")?;
    let other = writer.try_clone().context("cannot create a pipe")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(other)
        .spawn()
        .with_context(|| format!("cannot run {}", shown(command)))?;
    // `command` keeps its ends of the pipe until it gets others; the reader would wait for them.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut tail = VecDeque::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line.context("cannot read a program's output")?).into_owned();
        step.note(&line);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    let status = child.wait().with_context(|| format!("cannot wait for {}", shown(command)))?;
    if !status.success() {
        let tail: Vec<String> = tail.into();
        bail!("{} {}:\n{}", shown(command), ending(status), tail.join("\n"));
    }
    Ok(())
}

/// Runs `command` and takes what it writes to standard output. Fails, with its standard error, unless it succeeds.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} {}: {}", shown(command), ending(output.status), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether `command` can be run and succeeds. Its output is thrown away.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// How a program ended, as the verb of a sentence.
pub(crate) fn ending(status: ExitStatus) -> String {
    status
        .code()
        .map_or_else(|| "was terminated by a signal".to_owned(), |code| format!("exited with code {code}"))
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    // apt's own settings come first and are many; what it was asked for says enough.
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .filter(|word| !word.starts_with("-o"))
            .take(8),
    );
    format!("`{}`", words.join(" "))
}
