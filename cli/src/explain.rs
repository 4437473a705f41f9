//! `gatewatch explain`: what a code means.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::{Result, bail};
use gatewatch_policy::codes::{self, Code};
use gatewatch_policy::nearest::nearest;

/// Pages by code: `docs/diagnostics/`.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Prints a code's page, or the list of all codes.
pub(crate) fn run(code: Option<&str>) -> Result<()> {
    let text = match code {
        Some(code) => page(find(code)?),
        None => list(),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn find(wanted: &str) -> Result<&'static Code> {
    let id = wanted.to_ascii_uppercase();
    match codes::ALL.iter().find(|code| code.id == id) {
        Some(code) => Ok(code),
        None => match nearest(&id, codes::ALL.iter().map(|code| code.id)) {
            Some(near) => {
                bail!("there is no diagnostic {wanted}; did you mean {near}? `gatewatch explain` lists all")
            }
            None => bail!("there is no diagnostic {wanted}; `gatewatch explain` lists all"),
        },
    }
}

fn page(code: &Code) -> String {
    match PAGES.iter().find(|(id, _)| *id == code.id) {
        Some((_, page)) => (*page).to_owned(),
        None => format!("{} ({}): {}\n", code.id, code.severity, code.title),
    }
}

fn list() -> String {
    codes::ALL.iter().fold(String::new(), |mut text, code| {
        let _ = writeln!(text, "{}  {:<7}  {}", code.id, code.severity.to_string(), code.title);
        text
    })
}
