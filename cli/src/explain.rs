//! `gatewatch explain`: the meaning of a code, or a policy in plain words.

mod caveats;
mod enforcement;
mod hooks;
mod policy;
mod words;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Result, bail};
use gatewatch_policy::{
    codes::{self, Code},
    nearest::nearest,
};

use crate::{
    arguments::Explain,
    kernels::Kernels,
    survey::{Defaults, ObjectKind, Purpose, survey},
};

/// Prints the pages of codes, explanations of policies, or the list of all codes.
pub(crate) fn run(arguments: &Explain) -> Result<()> {
    let mut texts = Vec::new();
    let (codes, files): (Vec<_>, Vec<_>) =
        arguments.subjects.iter().cloned().partition(|subject| is_code(subject));
    for code in &codes {
        texts.push(find(&code.to_string_lossy())?.page.to_owned());
    }
    if arguments.subjects.is_empty() {
        texts.push(list());
    }
    let mut unreadable = 0;
    if !files.is_empty() {
        let kernels = Kernels::load(&arguments.kernels.kernels)?;
        let survey = survey(&files, &Defaults::default(), Purpose::Explain);
        unreadable = survey.unreadable;
        for entry in &survey.entries {
            let ObjectKind::Policy(found) = &entry.object else { continue };
            if let Some(checked) = &found.checked {
                let source = &survey.sources[entry.source].input.name;
                texts.push(policy::explain(checked, &found.indexed, source, &kernels));
            }
        }
        if texts.is_empty() && unreadable == 0 {
            bail!("no policy to explain; run `gatewatch lint` to see why");
        }
    }
    io::stdout().write_all(texts.join("\n").as_bytes())?;
    if unreadable > 0 {
        bail!("some files could not be read");
    }
    Ok(())
}

/// Whether an argument is a code: it looks like one, and no such file exists.
fn is_code(subject: &Path) -> bool {
    let text = subject.to_string_lossy();
    let like = text.len() > 2 && text.is_char_boundary(2) && text[..2].eq_ignore_ascii_case("gw");
    like && text[2..].bytes().all(|byte| byte.is_ascii_digit()) && !subject.exists()
}

fn find(wanted: &str) -> Result<&'static Code> {
    let id = wanted.to_ascii_uppercase();
    match codes::ALL.iter().find(|code| code.id == id) {
        Some(code) => Ok(code),
        None => match nearest(&id, codes::ALL.iter().map(|code| code.id)) {
            Some(near) => {
                bail!(
                    "unknown diagnostic code {wanted}; did you mean {near}? `gatewatch explain` lists all codes"
                )
            }
            None => bail!("unknown diagnostic code {wanted}; `gatewatch explain` lists all codes"),
        },
    }
}

fn list() -> String {
    codes::ALL.iter().fold(String::new(), |mut text, code| {
        let _ = writeln!(text, "{}  {:<7}  {}", code.id, code.severity.to_string(), code.title);
        text
    })
}
