//! Values of filters on paths that don't mean what they look like: relative ones, and ends of names.

use super::located::LocatedPolicy;
use crate::{
    codes::{LOOSE_POSTFIX, RELATIVE_PATH},
    diagnostic::{Diagnostic, Edit, FieldPath, Fix},
    model::{ArgType, BinaryFilter, Operator, Section},
    placeholder,
};

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        for (selector, path) in place.selectors() {
            for (i, filter) in selector.match_args.iter().enumerate() {
                let path = path.field("matchArgs").index(i).field("values");
                match place.hook.filtered_arg(filter).map(|arg| arg.ty) {
                    // A path in a program's memory may be relative.
                    Some(
                        ArgType::File | ArgType::Path | ArgType::Dentry | ArgType::LinuxBinprm | ArgType::Fd,
                    ) if place.section != Section::Uprobes => {
                        relative(filter.operator, &filter.values, &path, found);
                        loose(filter.operator, &filter.values, &path, found);
                    }
                    _ => {}
                }
            }
        }
    }
    for (selector, path) in places.selectors() {
        for (name, filters) in [
            ("matchBinaries", &selector.match_binaries),
            ("matchParentBinaries", &selector.match_parent_binaries),
        ] {
            for (i, BinaryFilter { operator, values, .. }) in filters.iter().enumerate() {
                loose(*operator, values, &path.field(name).index(i).field("values"), found);
            }
        }
    }
}

/// The kernel gives paths from the root, so nothing begins with or is a relative one.
fn relative(operator: Operator, values: &[String], path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let (effect, postfix) = match operator {
        Operator::Equal | Operator::Prefix => ("never matches", Operator::Postfix),
        Operator::NotEqual | Operator::NotPrefix => ("always holds", Operator::NotPostfix),
        _ => return,
    };
    for (i, value) in values.iter().enumerate() {
        if value.is_empty() || value.starts_with('/') {
            continue;
        }
        let diagnostic = Diagnostic::new(
            &RELATIVE_PATH,
            path.index(i),
            format!(
                "`{value}` is a relative path, and the kernel's paths begin with `/`: `{operator}` of it {effect}"
            ),
        );
        found.push(match placeholder::find(value) {
            Some(found) => diagnostic.help(placeholder::help(found)),
            None => diagnostic.help(format!(
                "write the path from the root, or use `{postfix}` with `/{}`",
                value.trim_start_matches("./")
            )),
        });
    }
}

/// An end of a path that begins in the middle of a name ends other names, too.
fn loose(operator: Operator, values: &[String], path: &FieldPath, found: &mut Vec<Diagnostic>) {
    if !matches!(operator, Operator::Postfix | Operator::NotPostfix) {
        return;
    }
    for (i, value) in values.iter().enumerate() {
        // `.so` and `_history` are ends of names by intention.
        if !value.starts_with(char::is_alphanumeric) || value.contains('/') {
            continue;
        }
        let at = path.index(i);
        let other = other_name(value);
        found.push(
            Diagnostic::new(
                &LOOSE_POSTFIX,
                at.clone(),
                format!("`{operator}` of `{value}` matches every path that ends so, such as {other}"),
            )
            .help(format!("write `/{value}` for the name alone"))
            .fix(Fix {
                title: format!("write `/{value}`"),
                path: at,
                edit: Edit::Replace(serde_json::Value::from(format!("/{value}")).to_string()),
                safe: false,
            }),
        );
    }
}

/// Another name that ends with this one, a real one where one is well known.
fn other_name(value: &str) -> String {
    const KNOWN: [(&str, &str); 9] = [
        ("nc", "/usr/bin/rsync"),
        ("sh", "/usr/bin/bash"),
        ("ash", "/usr/bin/bash"),
        ("at", "/usr/bin/cat"),
        ("cat", "/usr/bin/zcat"),
        ("id", "/usr/bin/setsid"),
        ("vi", "/usr/bin/nvi"),
        ("python", "/usr/bin/ipython"),
        ("passwd", "/usr/bin/vncpasswd"),
    ];
    let known = KNOWN.iter().find(|(name, _)| *name == value);
    known.map_or_else(|| format!("`/tmp/not-{value}`"), |(_, path)| format!("`{path}`"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_spec, reported};

    fn spec(ty: &str, operator: &str, values: &str) -> String {
        format!(
            "kprobes: [{{call: security_x, syscall: false, args: [{{index: 0, type: {ty}}}], selectors: \
             [{{matchArgs: [{{index: 0, operator: {operator}, values: [{values}]}}]}}]}}]"
        )
    }

    fn with(ty: &str, operator: &str, values: &str) -> Vec<String> {
        reported(&spec(ty, operator, values))
    }

    fn at(code: &str, i: usize) -> [String; 1] {
        [format!("{code} spec.kprobes[0].selectors[0].matchArgs[0].values[{i}]")]
    }

    #[test]
    fn relative_paths() {
        assert_eq!(with("file", "Prefix", "/root/.ssh, .bashrc"), at("GW322", 1));
        assert_eq!(with("path", "Equal", "etc/shadow"), at("GW322", 0));
        assert_eq!(with("linux_binprm", "NotEqual", "bash"), at("GW322", 0));
        assert_eq!(with("file", "NotPrefix", "tmp/"), at("GW322", 0));
        assert_eq!(with("file", "Postfix", "/shadow"), [""; 0]);
        assert_eq!(with("string", "Equal", "etc/shadow"), [""; 0]);
        let found = check_spec(&spec("file", "Prefix", ".bashrc"));
        let help = found.iter().find(|d| d.code.id == "GW322").and_then(|d| d.help.clone());
        assert_eq!(help.as_deref(), Some("write the path from the root, or use `Postfix` with `/.bashrc`"));
    }

    #[test]
    fn ends_of_other_names() {
        assert_eq!(with("file", "Postfix", "/kubectl, nc"), at("GW323", 1));
        assert_eq!(with("file", "NotPostfix", "sh"), at("GW323", 0));
        for good in [".so", "_history", "/nc", "bin/nc"] {
            assert_eq!(with("file", "Postfix", good), [""; 0], "{good}");
        }
        assert_eq!(with("string", "Postfix", "nc"), [""; 0]);
        let binaries =
            "kprobes: [{call: sys_dup, selectors: [{matchBinaries: [{operator: Postfix, values: [sh]}]}]}]";
        assert_eq!(reported(binaries), ["GW323 spec.kprobes[0].selectors[0].matchBinaries[0].values[0]"]);
    }
}
