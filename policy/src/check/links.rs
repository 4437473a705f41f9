//! Programs that are named by a link, which the kernel never sees as a program's path.

use super::located::LocatedPolicy;
use crate::{
    codes::PATH_ALIAS,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    model::{ArgType, Operator, Section},
    values::programs::resolved,
};

/// Values of one filter that are checked.
const COMPARED: usize = 1000;

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for (selector, path) in places.selectors() {
        for (name, filters) in [
            ("matchBinaries", &selector.match_binaries),
            ("matchParentBinaries", &selector.match_parent_binaries),
        ] {
            for (i, filter) in filters.iter().enumerate() {
                if matches!(filter.operator, Operator::In | Operator::NotIn) {
                    values(&filter.values, || path.field(name).index(i).field("values"), found);
                }
            }
        }
    }
    for place in &places.hooks {
        for (selector, path) in place.selectors() {
            for (i, filter) in selector.match_args.iter().enumerate() {
                let whole = matches!(filter.operator, Operator::Equal | Operator::NotEqual);
                // A path in a program's memory is as the program wrote it.
                let resolved = || {
                    let by_kernel =
                        |ty| matches!(ty, ArgType::File | ArgType::Path | ArgType::LinuxBinprm | ArgType::Fd);
                    place.hook.filtered_arg(filter).is_some_and(|arg| by_kernel(arg.ty))
                };
                if whole && place.section != Section::Uprobes && resolved() {
                    values(&filter.values, || path.field("matchArgs").index(i).field("values"), found);
                }
            }
        }
    }
}

/// Whether this is reported of a value compared as a whole, so that its folder needs no finding.
pub(super) fn is_link(value: &str) -> bool {
    !resolved(value).is_empty()
}

fn values(values: &[String], path: impl Fn() -> FieldPath, found: &mut Vec<Diagnostic>) {
    for (i, value) in values.iter().enumerate().take(COMPARED) {
        let mut missing = resolved(value);
        for (_, targets) in &mut missing {
            targets.retain(|target| !values.iter().take(COMPARED).any(|other| other == target));
        }
        missing.retain(|(_, targets)| !targets.is_empty());
        if missing.is_empty() {
            continue;
        }
        let on = |(on, targets): &(&str, Vec<String>)| format!("on {on} `{}`", targets.join("` or `"));
        let listed: Vec<String> = missing.iter().map(on).collect();
        let mut add: Vec<String> = Vec::new();
        for target in missing.into_iter().flat_map(|(_, targets)| targets) {
            if !add.contains(&target) {
                add.push(target);
            }
        }
        let list = path();
        let titles = add.join("`, `");
        let busybox = add.iter().any(|target| target.ends_with("/busybox"));
        let note = if busybox { " (busybox is every applet of it)" } else { "" };
        found.push(
            Diagnostic::new(
                &PATH_ALIAS,
                list.index(i),
                format!(
                    "`{value}` is a link on common distributions, and the kernel knows the program by its file: {}",
                    listed.join(", ")
                ),
            )
            .help(format!("add those that your images have{note}"))
            .fix(Fix {
                title: format!("add `{titles}`"),
                path: list,
                edit: Edit::Extend(add.into_iter().map(|target| serde_json::Value::from(target).to_string()).collect()),
                safe: false,
            }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_spec, reported};
    use crate::diagnostic::Edit;

    fn spec(operator: &str, values: &str) -> String {
        format!(
            "kprobes: [{{call: sys_dup, selectors: [{{matchBinaries: [{{operator: {operator}, values: [{values}]}}]}}]}}]"
        )
    }

    fn at(i: usize) -> String {
        format!("GW311 spec.kprobes[0].selectors[0].matchBinaries[0].values[{i}]")
    }

    #[test]
    fn links_are_reported_once_each() {
        assert_eq!(reported(&spec("In", "/usr/bin/sh")), [at(0)]);
        assert_eq!(reported(&spec("In", "/bin/sh")), [at(0)]);
        assert_eq!(reported(&spec("NotIn", "/usr/bin/curl, /usr/bin/nc")), [at(1)]);
        assert_eq!(reported(&spec("In", "/usr/bin/wget")), [at(0)]);
        assert_eq!(reported(&spec("In", "/bin/mount")), [at(0)]);
        for own in ["/usr/bin/curl", "/usr/bin/sudo", "/opt/app/bin/sh"] {
            assert_eq!(reported(&spec("In", own)), [""; 0], "{own}");
        }
        assert_eq!(reported(&spec("Postfix", "/sh")), [""; 0]);
    }

    #[test]
    fn what_the_fix_adds_is_enough() {
        let found = check_spec(&spec("In", "/usr/bin/sh"));
        let fix = found.iter().find(|d| d.code.id == "GW311").and_then(|d| d.fix.clone()).unwrap();
        let Edit::Extend(added) = fix.edit else { panic!("{fix:?}") };
        assert!(added.contains(&"\"/usr/bin/dash\"".to_owned()), "{added:?}");
        assert_eq!(reported(&spec("In", &format!("/usr/bin/sh, {}", added.join(", ")))), [""; 0]);
    }

    #[test]
    fn the_program_that_is_executed() {
        let hook = |ty: &str| {
            reported(&format!(
                "kprobes: [{{call: security_bprm_check, syscall: false, args: [{{index: 0, type: {ty}}}], selectors: \
                 [{{matchArgs: [{{index: 0, operator: Equal, values: [/usr/bin/python3]}}]}}]}}]"
            ))
        };
        assert_eq!(hook("linux_binprm"), ["GW311 spec.kprobes[0].selectors[0].matchArgs[0].values[0]"]);
        assert_eq!(hook("file"), hook("linux_binprm"));
        assert_eq!(hook("string"), [""; 0]);
    }
}
