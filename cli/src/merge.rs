//! What compiling for several kernels says, put together: what holds on all of them is said once, what holds on some
//! names them.

use gatewatch_policy::diagnostic::Diagnostic;

/// What was said for one kernel.
pub(crate) struct Said<'a> {
    /// The kernel, as a person calls it.
    pub(crate) kernel: &'a str,
    /// Its `uname -r`, which stands in some messages.
    pub(crate) release: &'a str,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// One thing that is said for some kernels.
struct Group<'a> {
    diagnostic: Diagnostic,
    /// Whether the message named its kernel.
    named: bool,
    /// The kernels, and what each would have one do.
    help: Vec<(&'a str, Option<String>)>,
}

/// Puts together what was said for all kernels, in the order of the first.
pub(crate) fn merge(said: Vec<Said<'_>>) -> Vec<Diagnostic> {
    // Of a single kernel nothing has to be told apart.
    if let [_] = said.as_slice() {
        return said.into_iter().flat_map(|said| said.diagnostics).collect();
    }
    let total = said.len();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for Said { kernel, release, diagnostics } in said {
        for mut diagnostic in diagnostics {
            let message = diagnostic.message.replace(&format!("the kernel {release}"), "the kernel");
            let named = message != diagnostic.message;
            diagnostic.message = message;
            let help = (kernel, diagnostic.help.take());
            match groups.iter_mut().find(|group| same(&group.diagnostic, &diagnostic)) {
                Some(group) if group.help.iter().any(|(other, _)| *other == kernel) => {}
                Some(group) => {
                    group.help.push(help);
                    // An edit that is right for one kernel and wrong for another is none.
                    if group.diagnostic.fix != diagnostic.fix {
                        group.diagnostic.fix = None;
                    }
                }
                None => groups.push(Group { diagnostic, named, help: vec![help] }),
            }
        }
    }
    groups.into_iter().map(|group| group.finish(total)).collect()
}

/// Whether two diagnostics say the same, apart from what to do about it.
fn same(a: &Diagnostic, b: &Diagnostic) -> bool {
    (a.code, a.severity, &a.path, &a.message, &a.label) == (b.code, b.severity, &b.path, &b.message, &b.label)
}

impl Group<'_> {
    fn finish(self, total: usize) -> Diagnostic {
        let mut diagnostic = self.diagnostic;
        if self.named || self.help.len() < total {
            let kernels: Vec<&str> = self.help.iter().map(|(kernel, _)| *kernel).collect();
            diagnostic.message = format!("on {}: {}", listed(&kernels), diagnostic.message);
        }
        diagnostic.help = help(self.help);
        diagnostic
    }
}

/// The help of all kernels: once where they agree, else with the kernels that each holds on.
fn help(of: Vec<(&str, Option<String>)>) -> Option<String> {
    let mut distinct: Vec<(Vec<&str>, String)> = Vec::new();
    let total = of.len();
    for (kernel, help) in of {
        let Some(help) = help else { continue };
        match distinct.iter_mut().find(|(_, other)| *other == help) {
            Some((kernels, _)) => kernels.push(kernel),
            None => distinct.push((vec![kernel], help)),
        }
    }
    if let [(kernels, help)] = distinct.as_slice()
        && kernels.len() == total
    {
        return Some(help.clone());
    }
    let parts: Vec<String> =
        distinct.iter().map(|(kernels, help)| format!("on {}: {help}", listed(kernels))).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// `5.10, 6.1 and 7.3`.
pub(crate) fn listed(names: &[&str]) -> String {
    match names {
        [first @ .., second_last, last] if !first.is_empty() => {
            format!("{}, {second_last} and {last}", first.join(", "))
        }
        _ => names.join(" and "),
    }
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::codes::{ARG_TYPE, UNKNOWN_FUNCTION};
    use gatewatch_policy::diagnostic::{Edit, FieldPath, Fix};

    use super::*;

    fn about(message: &str, help: &str) -> Diagnostic {
        Diagnostic::new(&UNKNOWN_FUNCTION, FieldPath::root(), message).help(help)
    }

    fn shown(said: &[(&'static str, &'static str, Vec<Diagnostic>)]) -> Vec<(String, String)> {
        let said = said.iter().map(|(kernel, release, diagnostics)| Said {
            kernel,
            release,
            diagnostics: diagnostics.clone(),
        });
        let merged = merge(said.collect());
        merged.into_iter().map(|d| (d.message, d.help.unwrap_or_default())).collect()
    }

    #[test]
    fn what_holds_everywhere_is_said_once() {
        let both = about("it is wrong", "mend it");
        let said = [("a", "1", vec![both.clone()]), ("b", "2", vec![both])];
        assert_eq!(shown(&said), [("it is wrong".to_owned(), "mend it".to_owned())]);
    }

    #[test]
    fn what_holds_on_some_names_them() {
        let some = about("it is wrong", "mend it");
        let said = [("a", "1", vec![some.clone()]), ("b", "2", vec![]), ("c", "3", vec![some])];
        assert_eq!(shown(&said), [("on a and c: it is wrong".to_owned(), "mend it".to_owned())]);
    }

    #[test]
    fn a_release_in_the_message_keeps_nothing_apart() {
        let said = [
            ("a", "1.2+x", vec![about("the kernel 1.2+x has none", "write p")]),
            ("b", "2.3", vec![about("the kernel 2.3 has none", "write q")]),
        ];
        let expected =
            ("on a and b: the kernel has none".to_owned(), "on a: write p; on b: write q".to_owned());
        assert_eq!(shown(&said), [expected]);
        assert_eq!(shown(&said[..1]), [("the kernel 1.2+x has none".to_owned(), "write p".to_owned())]);
    }

    #[test]
    fn an_edit_has_to_hold_everywhere() {
        let with = |yaml: &str| {
            let edit = Edit::Replace(yaml.to_owned());
            let fix = Fix { title: "write it".to_owned(), path: FieldPath::root(), edit, safe: true };
            Diagnostic::new(&ARG_TYPE, FieldPath::root(), "wrong").fix(fix)
        };
        let fix = |other: &str| {
            let said = |kernel, yaml| Said { kernel, release: kernel, diagnostics: vec![with(yaml)] };
            merge(vec![said("a", "int"), said("b", other)]).remove(0).fix
        };
        assert!(fix("int").is_some());
        assert!(fix("file").is_none());
    }

    #[test]
    fn lists() {
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b"]), "a and b");
        assert_eq!(listed(&["a", "b", "c", "d"]), "a, b, c and d");
    }
}
