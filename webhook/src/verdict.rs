//! From what was found to what is answered: all that denies at once, what warns in one short line each, everything in
//! full in the audit log.

use std::fmt::Write as _;

use gatewatch_policy::diagnostic::Diagnostic;
use gatewatch_policy::render::brief::{self, plain};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;

use crate::modes::{Mode, Modes};
use crate::review::{About, Answer};

/// Lines of warnings in one answer; the last one says how many more there are.
const WARNINGS: usize = 10;
/// Diagnostics that one refusal spells out.
const CAUSES: usize = 50;
/// Bytes of an audit annotation's value.
const ANNOTATION_BYTES: usize = 8 << 10;

/// What the answer is made from.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The request's.
    pub uid: &'a str,
    /// What it is about.
    pub about: About<'a>,
    /// The object's namespace; `None` for one of the cluster.
    pub namespace: Option<&'a str>,
    /// The table in force.
    pub modes: &'a Modes,
    /// Folder of the pages about diagnostics; a refusal ends with it.
    pub docs: &'a str,
}

/// An answer, and what was said in it.
#[derive(Debug)]
pub struct Verdict {
    /// The answer.
    pub answer: Answer,
    /// Every code that was found, and what was done about it.
    pub said: Vec<(&'static str, Mode)>,
}

/// Judges what was found.
pub fn judge(case: Case<'_>, found: Vec<Diagnostic>) -> Verdict {
    let mut said: Vec<(Mode, Diagnostic)> = found
        .into_iter()
        .map(|diagnostic| (case.modes.of(&diagnostic, case.namespace), diagnostic))
        .filter(|(mode, _)| *mode != Mode::Off)
        .collect();
    // The worst first; of equals in the order of the document.
    said.sort_by_key(|(mode, diagnostic)| std::cmp::Reverse((*mode, diagnostic.severity)));
    let codes = said.iter().map(|(mode, diagnostic)| (diagnostic.code.id, *mode)).collect();
    let of = |wanted: Mode| said.iter().filter(move |(mode, _)| *mode == wanted).map(|(_, d)| d);
    let mut answer = Answer::allow(case.uid);
    let denied: Vec<&Diagnostic> = of(Mode::Deny).collect();
    answer.warnings = warnings(of(Mode::Warn));
    if !said.is_empty() {
        answer.audit_annotations.insert("diagnostics".to_owned(), annotation(&said));
    }
    if !denied.is_empty() {
        answer = answer.refused(
            refusal(&denied, case.docs),
            case.about,
            denied.iter().map(|d| cause(d)).collect(),
        );
    }
    Verdict { answer, said: codes }
}

/// `2 errors` and a line for each.
fn refusal(denied: &[&Diagnostic], docs: &str) -> String {
    let what = if denied.iter().all(|d| d.is_error()) { "error" } else { "finding" };
    let mut text = format!("{} {what}{}", denied.len(), if denied.len() == 1 { "" } else { "s" });
    for diagnostic in denied.iter().take(CAUSES) {
        text.push_str("\n  ");
        text.push_str(&plain(&diagnostic.to_string()));
    }
    if denied.len() > CAUSES {
        // Writing to a String can't fail, here and below.
        let _ = write!(text, "\n  and {} more", denied.len() - CAUSES);
    }
    let page = match denied {
        [first, rest @ ..] if rest.iter().all(|d| d.code == first.code) => format!("{}.md", first.code.id),
        _ => String::new(),
    };
    let _ = write!(text, "\n  see {docs}/{page}");
    text
}

fn cause(diagnostic: &Diagnostic) -> StatusCause {
    let message = match &diagnostic.help {
        Some(help) => format!("{} {}; {help}", diagnostic.code.id, diagnostic.message),
        None => format!("{} {}", diagnostic.code.id, diagnostic.message),
    };
    StatusCause {
        field: Some(diagnostic.path.to_string()),
        message: Some(plain(&message).into_owned()),
        reason: Some("FieldValueInvalid".to_owned()),
    }
}

/// A line for each.
fn warnings<'a>(warned: impl Iterator<Item = &'a Diagnostic>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for diagnostic in warned {
        let line = brief::render(diagnostic);
        // Two of one text would be one to kubectl, and two to who counts.
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    if lines.len() > WARNINGS {
        let more = lines.len() + 1 - WARNINGS;
        lines.truncate(WARNINGS - 1);
        lines.push(format!("and {more} more"));
    }
    lines
}

/// Everything, in full, for the audit log.
fn annotation(said: &[(Mode, Diagnostic)]) -> String {
    let mut text = String::new();
    for (i, (mode, diagnostic)) in said.iter().enumerate() {
        let line = plain(&format!("{mode} {diagnostic}")).into_owned();
        if text.len() + line.len() + 1 > ANNOTATION_BYTES {
            let _ = writeln!(text, "and {} more", said.len() - i);
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::codes::{EXEC_CALLER, HOT_HOOK, NAMESPACE_IGNORED, NO_HOOK, UNDECLARED_ARG};
    use gatewatch_policy::diagnostic::FieldPath;

    use super::*;
    use crate::review::Kind;

    fn verdict(found: Vec<Diagnostic>) -> Verdict {
        let kind =
            Kind { group: "cilium.io".into(), version: "v1alpha1".into(), kind: "TracingPolicy".into() };
        let modes = Modes::default();
        let about = About { kind: &kind, name: "p" };
        judge(Case { uid: "u", about, namespace: None, modes: &modes, docs: "https://docs" }, found)
    }

    fn found(code: &'static gatewatch_policy::codes::Code, message: &str) -> Diagnostic {
        Diagnostic::new(code, FieldPath::root().field("spec"), message)
    }

    #[test]
    fn all_errors_are_said_at_once() {
        let answer = verdict(vec![
            found(&HOT_HOOK, "hot"),
            found(&NO_HOOK, "watches nothing").help("write one"),
            found(&UNDECLARED_ARG, "not\ndeclared"),
            found(&EXEC_CALLER, "note"),
        ])
        .answer;
        assert!(!answer.allowed);
        let status = answer.status.unwrap();
        assert_eq!((status.code, status.reason.as_deref()), (Some(422), Some("Invalid")));
        assert_eq!(
            status.message.as_deref(),
            Some(
                "2 errors\n  GW008 spec: watches nothing; write one\n  GW303 spec: not declared\n  see https://docs/"
            )
        );
        let causes = status.details.unwrap().causes.unwrap();
        assert_eq!(causes[0].message.as_deref(), Some("GW008 watches nothing; write one"));
        assert_eq!(causes[1].field.as_deref(), Some("spec"));
        assert_eq!(answer.warnings, ["GW208 spec: hot"]);
        let audit = &answer.audit_annotations["diagnostics"];
        assert_eq!(audit.lines().count(), 4, "{audit}");
        assert!(audit.ends_with("audit GW209 spec: note\n"), "{audit}");
    }

    #[test]
    fn nothing_found_nothing_said() {
        assert_eq!(verdict(Vec::new()).answer, Answer::allow("u"));
    }

    #[test]
    fn warnings_are_short_and_few() {
        let many = (0..25).map(|i| found(&NAMESPACE_IGNORED, &format!("{i} {}", "ä".repeat(200)))).collect();
        let answer = verdict(many).answer;
        assert!(answer.allowed);
        assert_eq!(answer.warnings.len(), WARNINGS);
        assert_eq!(answer.warnings.last().map(String::as_str), Some("and 16 more"));
        assert!(answer.warnings.iter().all(|w| w.chars().count() <= brief::CHARACTERS));
        assert!(answer.warnings[0].ends_with('…'));
        let audit = &answer.audit_annotations["diagnostics"];
        assert!(audit.len() <= ANNOTATION_BYTES + 20, "{}", audit.len());
        assert!(audit.contains(" more\n"));
        let few = (0..10).map(|i| found(&NAMESPACE_IGNORED, &format!("{i}"))).collect();
        assert_eq!(verdict(few).answer.warnings.len(), 10);
    }

    #[test]
    fn what_a_warning_cuts_is_in_the_audit_log_and_in_a_refusal() {
        let long = || found(&NAMESPACE_IGNORED, &"many words ".repeat(18)).help("do this, and not that");
        let answer = verdict(vec![long()]).answer;
        let [line] = answer.warnings.as_slice() else { panic!("{answer:?}") };
        assert!(line.chars().count() <= brief::CHARACTERS && line.ends_with('…'), "{line}");
        assert!(answer.audit_annotations["diagnostics"].contains("do this, and not that"));
        let refused = verdict(vec![long().severity(gatewatch_policy::diagnostic::Severity::Error)]).answer;
        assert!(refused.status.unwrap().message.unwrap().contains("do this, and not that"));
    }
}
