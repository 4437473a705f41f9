//! `options`: Tetragon ignores unknown names, so a typo turns enforcement on or off.

use super::located::{LocatedPolicy, spec};
use crate::{
    codes::BAD_OPTION,
    diagnostic::{Diagnostic, Edit, Fix},
    model::{ENFORCE, MONITOR, POLICY_MODE},
    nearest::nearest,
};

/// What an option takes.
enum Values {
    Bool,
    Words(&'static [&'static str]),
    Positive,
}

/// The option without which functions are attached to several at a time.
pub(super) const DISABLE_KPROBE_MULTI: &str = "disable-kprobe-multi";

/// The words of Go's `strconv.ParseBool` for true.
pub(super) const TRUE: [&str; 6] = ["1", "t", "T", "true", "TRUE", "True"];
/// And those for false.
const FALSE: [&str; 6] = ["0", "f", "F", "false", "FALSE", "False"];

const OPTIONS: [(&str, Values); 5] = [
    (DISABLE_KPROBE_MULTI, Values::Bool),
    ("disable-uprobe-multi", Values::Bool),
    ("override-method", Values::Words(&["fmod-ret", "override-return"])),
    (POLICY_MODE, Values::Words(&[ENFORCE, MONITOR])),
    ("sleepable-preload-size", Values::Positive),
];

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for (i, (name, value)) in places.policy.spec.options.iter().enumerate() {
        let path = spec().field("options").index(i);
        let Some((_, values)) = OPTIONS.iter().find(|(known, _)| known == name) else {
            let at = path.field("name");
            let diagnostic = Diagnostic::new(
                &BAD_OPTION,
                at.clone(),
                format!("unknown option {name:?}; it is silently ignored"),
            );
            found.push(match nearest(name, OPTIONS.iter().map(|(known, _)| *known)) {
                Some(suggestion) => diagnostic.fix(Fix {
                    title: format!("write `{suggestion}`"),
                    path: at,
                    edit: Edit::Replace(suggestion.to_owned()),
                    safe: false,
                }),
                None => diagnostic,
            });
            continue;
        };
        let (good, wanted) = match values {
            Values::Bool => {
                let known = TRUE.contains(&value.as_str()) || FALSE.contains(&value.as_str());
                (known, "`true` or `false`".to_owned())
            }
            Values::Words(words) => (words.contains(&value.as_str()), format!("`{}`", words.join("` or `"))),
            Values::Positive => {
                (value.parse::<u32>().is_ok_and(|n| n > 0), "a number greater than 0".to_owned())
            }
        };
        if !good {
            found.push(
                Diagnostic::new(
                    &BAD_OPTION,
                    path.field("value"),
                    format!("invalid value {value:?} for option `{name}`; every node rejects the policy"),
                )
                .help(format!("expected {wanted}")),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_spec, reported};

    fn with(name: &str, value: &str) -> String {
        format!("kprobes: [{{call: sys_dup, message: ok}}]\noptions: [{{name: {name}, value: '{value}'}}]")
    }

    #[test]
    fn options() {
        for (name, good, bad) in [
            ("disable-kprobe-multi", "true", "yes"),
            ("policy-mode", "monitor", "audit"),
            ("override-method", "fmod-ret", ""),
            ("sleepable-preload-size", "4", "0"),
        ] {
            assert_eq!(reported(&with(name, good)), [""; 0]);
            assert_eq!(reported(&with(name, bad)), ["GW014 spec.options[0].value"]);
        }
        let found = check_spec(&with("disable-kprobe-multy", "true"));
        assert_eq!(found[0].help.as_deref(), Some("write `disable-kprobe-multi`"));
    }
}
