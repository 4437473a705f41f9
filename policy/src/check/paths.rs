//! Paths that are links on most systems.

use super::{links::is_link, located::LocatedPolicy};
use crate::{
    codes::PATH_ALIAS,
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    model::{ArgFilter, ArgType, Operator, Section, Selector},
    values::programs::is_target,
};

/// Directories that are links on most systems, and where they lead: those that the distributions merged into `/usr`,
/// and what the Filesystem Hierarchy Standard moved to `/run`.
const LINKS: [(&str, &str); 8] = [
    ("/bin", "/usr/bin"),
    ("/sbin", "/usr/sbin"),
    ("/lib", "/usr/lib"),
    ("/lib32", "/usr/lib32"),
    ("/lib64", "/usr/lib64"),
    ("/libx32", "/usr/libx32"),
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
];

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        // A path in a program's memory is as the program wrote it.
        let resolved = |filter: &ArgFilter| {
            place.section != Section::Uprobes
                && place.hook.args.iter().any(|arg| {
                    arg.index == filter.index
                        && matches!(
                            arg.ty,
                            ArgType::File | ArgType::Path | ArgType::LinuxBinprm | ArgType::Fd
                        )
                })
        };
        for (selector, path) in place.selectors() {
            programs(selector, path, found);
            for (i, filter) in selector.match_args.iter().enumerate().filter(|(_, filter)| resolved(filter)) {
                values(filter.operator, &filter.values, || path.field("matchArgs").index(i), found);
            }
        }
    }
    for (selector, path) in &places.macros {
        programs(selector, path, found);
    }
}

fn programs(selector: &Selector, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    for (name, filters) in [
        ("matchBinaries", &selector.match_binaries),
        ("matchParentBinaries", &selector.match_parent_binaries),
    ] {
        for (i, filter) in filters.iter().enumerate() {
            values(filter.operator, &filter.values, || path.field(name).index(i), found);
        }
    }
}

/// The kernel gives a file's own path, without links: where `/bin` is a link, no file has a path that begins so.
fn values(operator: Operator, values: &[String], path: impl Fn() -> FieldPath, found: &mut Vec<Diagnostic>) {
    let from_start = matches!(
        operator,
        Operator::In
            | Operator::NotIn
            | Operator::Equal
            | Operator::NotEqual
            | Operator::Prefix
            | Operator::NotPrefix
    );
    if !from_start {
        return;
    }
    for (i, value) in values.iter().enumerate() {
        let linked = LINKS.iter().find_map(|(link, to)| {
            let rest = value.strip_prefix(link).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            Some((link, format!("{to}{rest}")))
        });
        let Some((link, real)) = linked else { continue };
        let covered = |other: &String| match operator {
            Operator::Prefix | Operator::NotPrefix => real.starts_with(other.as_str()) && !other.is_empty(),
            _ => *other == real,
        };
        let whole = !matches!(operator, Operator::Prefix | Operator::NotPrefix);
        if values.iter().take(1000).any(covered) || (whole && (is_link(value) || is_target(value))) {
            continue;
        }
        let list = path().field("values");
        found.push(
            Diagnostic::new(
                &PATH_ALIAS,
                list.index(i),
                format!(
                    "`{link}` is a link on most systems: the kernel reports `{real}` instead of `{value}`, so the \
                     filter never matches there"
                ),
            )
            .fix(Fix {
                title: format!("add `{real}`"),
                path: list,
                edit: Edit::Append(serde_json::Value::from(real).to_string()),
                safe: false,
            }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reported;

    #[test]
    fn links() {
        let binaries = |operator: &str, values: &str| {
            reported(&format!(
                "kprobes: [{{call: sys_dup, selectors: [{{matchBinaries: [{{operator: {operator}, values: [{values}]}}]}}]}}]"
            ))
        };
        let place = |i: usize| format!("GW311 spec.kprobes[0].selectors[0].matchBinaries[0].values[{i}]");
        assert_eq!(binaries("In", "/usr/bin/a, /opt/b"), [""; 0]);
        assert_eq!(binaries("In", "/usr/bin/a, /bin/b"), [place(1)]);
        assert_eq!(binaries("NotIn", "/bin/b, /usr/bin/b"), [""; 0]);
        assert_eq!(binaries("Prefix", "/lib64, /usr/lib"), [""; 0]);
        assert_eq!(binaries("Prefix", "/sbin, /binary"), [place(0)]);
        assert_eq!(binaries("Postfix", "/bin/sh"), [""; 0]);
        let files = |ty: &str| {
            reported(&format!(
                "kprobes: [{{call: sys_x, args: [{{index: 0, type: {ty}}}], selectors: [{{matchArgs: \
                 [{{index: 0, operator: Prefix, values: [/bin/]}}]}}]}}]"
            ))
        };
        assert_eq!(files("file"), ["GW311 spec.kprobes[0].selectors[0].matchArgs[0].values[0]"]);
        assert_eq!(files("string"), [""; 0]);
        assert_eq!(binaries("In", "/var/run/x"), [place(0)]);
        assert_eq!(binaries("In", "/var/run/x, /run/x"), [""; 0]);
    }
}
