//! `gatewatch lint`: reads, lints, says what was found.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use anyhow::Result;
use gatewatch_policy::diagnostic::Severity;
use gatewatch_policy::render::{File, human, json};

use crate::arguments::{Deny, Format, Lint};
use crate::inputs::{self, Input};
use crate::kernels::Kernels;
use crate::lint::{Linted, lint};
use crate::{FAILED, complain};

/// What was found in all files.
#[derive(Debug, Default)]
struct Total {
    policies: usize,
    errors: usize,
    warnings: usize,
    unreadable: usize,
}

/// Lints, and gives the exit status.
pub(crate) fn run(arguments: &Lint) -> Result<ExitCode> {
    let kernels = Kernels::load(&arguments.kernels)?;
    let (places, unlisted) = inputs::find(&arguments.inputs);
    let mut total = Total::default();
    let color = arguments.format == Format::Human && arguments.color.on_stdout();
    let mut output = BufWriter::new(io::stdout().lock());
    for unreadable in unlisted {
        complain(&format!("error: {unreadable}"));
        total.unreadable += 1;
    }
    for place in places {
        match inputs::read(&place) {
            Ok(input) => {
                let linted = lint(&input, &kernels);
                total.add(&linted);
                write(&mut output, &input, &linted, arguments.format, color)?;
            }
            Err(unreadable) => {
                complain(&format!("error: {unreadable}"));
                total.unreadable += 1;
            }
        }
    }
    output.flush()?;
    if arguments.format == Format::Human {
        complain(&total.sentence(&kernels));
    }
    Ok(total.status(arguments.deny))
}

fn write(to: &mut impl Write, input: &Input, linted: &Linted, format: Format, color: bool) -> io::Result<()> {
    // Of bytes that are no text, what comes before them is.
    let text = input.bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let file = File::new(&input.name, text);
    for finding in &linted.findings {
        match format {
            Format::Human => writeln!(to, "{}\n", human::render(&file, finding, color))?,
            Format::Json => writeln!(to, "{}", json::render(&file, finding))?,
        }
    }
    Ok(())
}

impl Total {
    fn add(&mut self, linted: &Linted) {
        let count = |severity| linted.findings.iter().filter(|f| f.diagnostic.severity == severity).count();
        self.policies += linted.policies;
        self.errors += count(Severity::Error);
        self.warnings += count(Severity::Warning);
    }

    fn status(&self, deny: Option<Deny>) -> ExitCode {
        if self.unreadable > 0 {
            ExitCode::from(FAILED)
        } else if self.errors > 0 || (deny == Some(Deny::Warnings) && self.warnings > 0) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    fn sentence(&self, kernels: &Kernels) -> String {
        let mut sentence = match self.policies {
            0 => "no policy found".to_owned(),
            _ => format!(
                "{} checked for {}",
                counted(self.policies, "policy", "policies"),
                counted(kernels.len(), "kernel", "kernels")
            ),
        };
        for (count, one, many) in [
            (self.errors, "error", "errors"),
            (self.warnings, "warning", "warnings"),
            (self.unreadable, "input that can't be read", "inputs that can't be read"),
        ] {
            if count > 0 {
                sentence = format!("{sentence}, {}", counted(count, one, many));
            }
        }
        sentence
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
