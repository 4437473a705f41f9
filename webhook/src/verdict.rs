//! Turns diagnostics into an answer: all errors at once, one short line for each warning, and everything in full in the
//! audit log.

use std::fmt::Write as _;

use gatewatch_policy::{
    diagnostic::Diagnostic,
    render::brief::{self, plain},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;

use crate::{
    modes::{Mode, Modes},
    review::{Answer, ObjectReference},
};

/// Maximum warnings in one answer. The last one is the number of others.
const WARNINGS: usize = 10;
/// Maximum diagnostics that a rejection lists.
const CAUSES: usize = 50;
/// Maximum bytes of the value of an audit annotation.
const ANNOTATION_BYTES: usize = 8 << 10;

/// The request that is judged, and the settings for it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The `uid` of the request.
    pub uid: &'a str,
    /// The object of the request.
    pub object: ObjectReference<'a>,
    /// The object's namespace; `None` for a cluster-scoped object.
    pub namespace: Option<&'a str>,
    /// The modes in force.
    pub modes: &'a Modes,
    /// Folder of the pages about diagnostics; a rejection ends with it.
    pub docs: &'a str,
}

/// An answer, and the diagnostics in it.
#[derive(Debug)]
pub struct Verdict {
    /// The status.
    pub answer: Answer,
    /// The code and mode of each diagnostic.
    pub codes: Vec<(&'static str, Mode)>,
    /// The checks that were left out because the work of the request was spent.
    pub unchecked: Vec<&'static str>,
}

/// Applies the modes to the diagnostics of a request.
pub fn judge(subject: Subject<'_>, diagnostics: Vec<Diagnostic>) -> Verdict {
    let mut judged: Vec<(Mode, Diagnostic)> = diagnostics
        .into_iter()
        .map(|diagnostic| (subject.modes.of(&diagnostic, subject.namespace), diagnostic))
        .filter(|(mode, _)| *mode != Mode::Off)
        .collect();
    // The strictest mode first, then the order of the document.
    judged.sort_by_key(|(mode, diagnostic)| std::cmp::Reverse((*mode, diagnostic.severity)));
    let codes = judged.iter().map(|(mode, diagnostic)| (diagnostic.code.id, *mode)).collect();
    let of = |wanted: Mode| judged.iter().filter(move |(mode, _)| *mode == wanted).map(|(_, d)| d);
    let mut answer = Answer::allow(subject.uid);
    let denied: Vec<&Diagnostic> = of(Mode::Deny).collect();
    answer.warnings = warnings(of(Mode::Warn));
    if !judged.is_empty() {
        answer.audit_annotations.insert("diagnostics".to_owned(), annotation(&judged));
    }
    if !denied.is_empty() {
        answer = answer.rejected(
            rejection(&denied, subject.docs),
            subject.object,
            denied.iter().map(|d| cause(d)).collect(),
        );
    }
    Verdict { answer, codes, unchecked: Vec::new() }
}

/// `2 errors` and a line for each.
fn rejection(denied: &[&Diagnostic], docs: &str) -> String {
    let what = if denied.iter().all(|d| d.is_error()) { "error" } else { "finding" };
    let mut text = format!("{} {what}{}", denied.len(), if denied.len() == 1 { "" } else { "s" });
    for diagnostic in denied.iter().take(CAUSES) {
        text.push_str("\n  ");
        text.push_str(&plain(&diagnostic.to_string()));
    }
    if denied.len() > CAUSES {
        // Writing to a String cannot fail, here and below.
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

/// One line for each diagnostic.
fn warnings<'a>(warned: impl Iterator<Item = &'a Diagnostic>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for diagnostic in warned {
        let line = brief::render(diagnostic);
        // kubectl prints equal warnings once, so they must not count twice.
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

/// All diagnostics in full, for the audit log.
fn annotation(judged: &[(Mode, Diagnostic)]) -> String {
    let mut text = String::new();
    for (i, (mode, diagnostic)) in judged.iter().enumerate() {
        let line = plain(&format!("{mode} {diagnostic}")).into_owned();
        if text.len() + line.len() + 1 > ANNOTATION_BYTES {
            let _ = writeln!(text, "and {} more", judged.len() - i);
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::{
        codes::{EXEC_CALLER, HOT_HOOK, NAMESPACE_IGNORED, NO_HOOK, UNDECLARED_ARG},
        diagnostic::FieldPath,
    };

    use super::*;
    use crate::review::Kind;

    fn verdict(found: Vec<Diagnostic>) -> Verdict {
        let kind =
            Kind { group: "cilium.io".into(), version: "v1alpha1".into(), kind: "TracingPolicy".into() };
        let modes = Modes::default();
        let object = ObjectReference { kind: &kind, name: "p" };
        judge(Subject { uid: "u", object, namespace: None, modes: &modes, docs: "https://docs" }, found)
    }

    fn found(code: &'static gatewatch_policy::codes::Code, message: &str) -> Diagnostic {
        Diagnostic::new(code, FieldPath::root().field("spec"), message)
    }

    #[test]
    fn all_errors_are_reported_at_once() {
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
    fn no_findings_give_no_output() {
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
    fn the_audit_log_and_a_rejection_have_the_full_text() {
        let long = || found(&NAMESPACE_IGNORED, &"many words ".repeat(18)).help("do this, and not that");
        let answer = verdict(vec![long()]).answer;
        let [line] = answer.warnings.as_slice() else { panic!("{answer:?}") };
        assert!(line.chars().count() <= brief::CHARACTERS && line.ends_with('…'), "{line}");
        assert!(answer.audit_annotations["diagnostics"].contains("do this, and not that"));
        let refused = verdict(vec![long().severity(gatewatch_policy::diagnostic::Severity::Error)]).answer;
        assert!(refused.status.unwrap().message.unwrap().contains("do this, and not that"));
    }
}
