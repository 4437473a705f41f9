//! `gatewatch lint`: reads and checks the inputs and reports the findings.

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use anyhow::Result;
use gatewatch_policy::{
    codes::Code,
    diagnostic::Severity,
    render::{File, github, human, json, sarif},
};

use crate::{
    FAILED,
    arguments::{Color, Deny, Format, Lint},
    kernels::Kernels,
    lint::Rules,
    print_message,
    survey::{Defaults, Purpose, Survey, survey},
};

/// Lints the inputs and returns the exit status.
pub(crate) fn run(arguments: &Lint, color: Color) -> Result<ExitCode> {
    let rules =
        Rules::load(&arguments.targets.targets, &arguments.kernels.kernels, arguments.crd.as_deref())?;
    let inputs = &arguments.inputs;
    let survey = survey(&inputs.files, &Defaults::of(inputs), Purpose::Lint(&rules.prepare()));
    let color = arguments.format == Format::Human && color.on_stdout();
    let mut output = BufWriter::new(io::stdout().lock());
    write(&mut output, &survey, arguments.format, color)?;
    if arguments.explain && arguments.format == Format::Human {
        explanations(&mut output, &survey)?;
    }
    output.flush()?;
    let total = Total::of(&survey);
    if arguments.format == Format::Human {
        print_message(&total.sentence(&rules.kernels));
    }
    Ok(total.status(arguments.deny))
}

fn write(to: &mut impl Write, survey: &Survey, format: Format, color: bool) -> io::Result<()> {
    let mut report = sarif::Report::new();
    for source in &survey.sources {
        // Line starts are computed only for files with findings.
        if source.findings.is_empty() {
            continue;
        }
        let file = File::new(&source.input.name, source.text());
        for finding in &source.findings {
            match format {
                Format::Human => writeln!(to, "{}\n", human::render(&file, finding, color))?,
                Format::Json => writeln!(to, "{}", json::render(&file, finding))?,
                Format::Github => writeln!(to, "{}", github::render(&file, finding))?,
                Format::Sarif => report.add(&file, finding),
            }
        }
    }
    if format == Format::Sarif {
        writeln!(to, "{}", report.render(env!("CARGO_PKG_VERSION")))?;
    }
    Ok(())
}

/// Prints the page of each reported code.
fn explanations(to: &mut impl Write, survey: &Survey) -> io::Result<()> {
    let findings = survey.sources.iter().flat_map(|source| &source.findings);
    let codes: BTreeSet<&str> = findings.map(|finding| finding.diagnostic.code.id).collect();
    let said = |code: &&&'static Code| codes.contains(code.id);
    for code in gatewatch_policy::codes::ALL.iter().filter(said) {
        writeln!(to, "{}", code.page)?;
    }
    Ok(())
}

/// The totals of all inputs.
#[derive(Debug, Default)]
struct Total {
    policies: usize,
    workloads: usize,
    errors: usize,
    warnings: usize,
    unreadable: usize,
}

impl Total {
    fn of(survey: &Survey) -> Self {
        let findings = || survey.sources.iter().flat_map(|source| &source.findings);
        let count = |severity| findings().filter(|f| f.diagnostic.severity == severity).count();
        Self {
            policies: survey.policies,
            workloads: survey.workloads,
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            unreadable: survey.unreadable,
        }
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
        if self.policies > 0 && self.workloads > 0 {
            let workloads = counted(self.workloads, "workload", "workloads");
            sentence = format!("{sentence} and against {workloads}");
        }
        for (count, one, many) in [
            (self.errors, "error", "errors"),
            (self.warnings, "warning", "warnings"),
            (self.unreadable, "unreadable input", "unreadable inputs"),
        ] {
            if count > 0 {
                sentence = format!("{sentence}, {}", counted(count, one, many));
            }
        }
        sentence
    }
}

pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
