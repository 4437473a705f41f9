//! Limits on the number of filter entries, values and selectors.

use super::located::LocatedPolicy;
use crate::{
    codes::{NAMESPACE_INODE, OVER_LIMIT, TETRAGON_NUMBER, UNREAD_ENTRIES, WIDE_RANGE},
    diagnostic::{Diagnostic, Edit, FieldPath, Fix, Severity},
    model::{ArgFilter, Operator, Selector},
    target::Targets,
    values,
};

/// Selectors of one hook.
const SELECTORS_MAX: usize = 5;
/// Entries of `matchArgs` and `matchData` of one selector.
const FILTERS_MAX: usize = 5;
/// Values of an integer filter, of a process id filter, of a namespace filter.
const VALUES_MAX: usize = 4;
const NAMESPACES_MAX: usize = 10;
/// The number of values of a range in `InMap` from which on their cost is reported.
const RANGE_MAX: i128 = 65_536;

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        let count = place.hook.selectors.len();
        if count > SELECTORS_MAX {
            found.push(
                Diagnostic::new(
                    &OVER_LIMIT,
                    place.path.field("selectors"),
                    format!("{count} selectors; Tetragon accepts at most {SELECTORS_MAX} per hook and rejects the \
                             policy"),
                )
                .at_key()
                .severity(Severity::Warning),
            );
        }
    }
    for (selector, path) in places.selectors() {
        counts(selector, path, found);
        process(selector, path, found);
        for (name, filters) in [
            ("matchArgs", &selector.match_args),
            ("matchData", &selector.match_data),
            ("matchReturnArgs", &selector.match_return_args),
        ] {
            for (i, filter) in filters.iter().enumerate() {
                numbers(filter, || path.field(name).index(i).field("values"), found);
            }
        }
    }
}

fn counts(selector: &Selector, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    for (name, filters) in [
        ("matchBinaries", &selector.match_binaries),
        ("matchParentBinaries", &selector.match_parent_binaries),
    ] {
        if filters.len() > 1 {
            found.push(
                Diagnostic::new(
                    &OVER_LIMIT,
                    path.field(name).index(1),
                    format!("second entry in `{name}`; the API server accepts one and rejects the policy"),
                )
                .targets(Targets::BOTH)
                .help("list all programs as values of one entry"),
            );
        }
    }
    let filters = selector.match_args.len() + selector.match_data.len();
    if filters > FILTERS_MAX {
        found.push(
            Diagnostic::new(
                &OVER_LIMIT,
                path.field(if selector.match_args.len() > FILTERS_MAX { "matchArgs" } else { "matchData" }),
                format!("{filters} filters in one selector; Tetragon accepts at most {FILTERS_MAX} and rejects the \
                         policy"),
            )
            .at_key()
            .severity(Severity::Warning),
        );
    }
}

/// Filters on the process of which Tetragon evaluates the first entry or a few values only, and misreads the rest: it
/// takes what comes after them for other filters, and long lists panic its compiler. The agent evaluates all of them.
fn process(selector: &Selector, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let mut report = |at: FieldPath, message: String, help: &str| {
        let diagnostic = Diagnostic::new(&UNREAD_ENTRIES, at, message);
        found.push(diagnostic.help(help));
    };
    for (name, count) in [
        ("matchPIDs", selector.match_pids.len()),
        ("matchCapabilities", selector.match_capabilities.len()),
        ("matchCapabilityChanges", selector.match_capability_changes.len()),
        ("matchNamespaceChanges", selector.match_namespace_changes.len()),
    ] {
        if count > 1 {
            report(
                path.field(name).index(1),
                format!(
                    "`{name}` has {count} entries; Tetragon reads the first and misinterprets the others"
                ),
                "all entries must hold together; for Tetragon, write one entry",
            );
        }
    }
    for (i, filter) in selector.match_pids.iter().enumerate().filter(|(_, f)| f.values.len() > VALUES_MAX) {
        report(
            path.field("matchPIDs").index(i).field("values").index(VALUES_MAX),
            format!(
                "{} process IDs; Tetragon reads {VALUES_MAX} and misinterprets the others",
                filter.values.len()
            ),
            "for Tetragon, write at most four values in each selector",
        );
    }
    if selector.match_namespaces.len() > NAMESPACES_MAX {
        report(
            path.field("matchNamespaces").index(NAMESPACES_MAX),
            format!(
                "{} entries in `matchNamespaces`; Tetragon accepts at most {NAMESPACES_MAX}",
                selector.match_namespaces.len()
            ),
            "for Tetragon, write at most ten entries",
        );
    }
    for (i, filter) in selector.match_namespaces.iter().enumerate() {
        if filter.values.len() > VALUES_MAX {
            report(
                path.field("matchNamespaces").index(i).field("values").index(VALUES_MAX),
                format!("{} namespaces; Tetragon accepts at most {VALUES_MAX}", filter.values.len()),
                "for Tetragon, write at most four values in each selector",
            );
        }
    }
    for (i, filter) in selector.match_namespaces.iter().enumerate() {
        let numbers = filter.values.iter().take(VALUES_MAX).enumerate();
        for (k, value) in
            numbers.filter(|(_, v)| matches!(values::namespace(v), Ok(values::NamespaceValue::Inode(_))))
        {
            found.push(
                Diagnostic::new(
                    &NAMESPACE_INODE,
                    path.field("matchNamespaces").index(i).field("values").index(k),
                    format!("{value} identifies a namespace on one node until the next reboot; on other nodes it is \
                             another namespace or none"),
                )
                .help("use `host_ns` for the node's own namespace, or select pods instead"),
            );
        }
    }
}

/// The same number or range, as Tetragon reads it.
fn in_decimal(value: &str, path: FieldPath) -> Fix {
    let decimal = match values::integer_or_range(value) {
        Ok((min, max)) if value.contains(':') => format!("{min}:{max}"),
        Ok((number, _)) => number.to_string(),
        // Another rule reports its form.
        Err(_) => value.to_owned(),
    };
    Fix {
        title: format!("write `{decimal}`"),
        path,
        edit: Edit::Replace(format!("\"{decimal}\"")),
        safe: true,
    }
}

/// Numbers as Tetragon reads them.
fn numbers(filter: &ArgFilter, list: impl Fn() -> FieldPath, found: &mut Vec<Diagnostic>) {
    match filter.operator {
        Operator::InMap | Operator::NotInMap => {
            for (i, value) in filter.values.iter().enumerate() {
                let prefixed = value.split(':').any(|part| {
                    let digits = part.trim_start_matches(['-', '+']);
                    digits.len() > 1 && digits.starts_with('0') && values::integer(part).is_ok()
                });
                let read = values::integer_or_range(value);
                if prefixed && read.is_ok() {
                    found.push(
                        Diagnostic::new(
                            &TETRAGON_NUMBER,
                            list().index(i),
                            format!(
                                "Tetragon accepts only decimal numbers for `{}`; it rejects `{value}` and \
                                 therefore the policy",
                                filter.operator
                            ),
                        )
                        .fix(in_decimal(value, list().index(i))),
                    );
                }
                if let Ok((min, max)) = read
                    && max - min >= RANGE_MAX
                {
                    found.push(
                        Diagnostic::new(
                            &WIDE_RANGE,
                            list().index(i),
                            format!(
                                "Tetragon creates a map entry for each of the {} numbers in this range",
                                max - min + 1
                            ),
                        )
                        .help("use `InRange` or `NotInRange`"),
                    );
                }
            }
        }
        Operator::Gt | Operator::Lt if filter.values.len() > 1 => found.push(
            Diagnostic::new(
                &OVER_LIMIT,
                list().index(1),
                format!(
                    "the values of `{}` are alternatives, so only the widest one has an effect",
                    filter.operator
                ),
            )
            .severity(Severity::Warning)
            .targets(Targets::BOTH)
            .help("keep one value"),
        ),
        Operator::Equal | Operator::NotEqual | Operator::Mask | Operator::InRange | Operator::NotInRange => {
            let number = |v: &String| values::integer(v).is_ok() || values::range(v).is_ok();
            if filter.values.len() > VALUES_MAX && filter.values.iter().all(number) {
                found.push(
                    Diagnostic::new(
                        &OVER_LIMIT,
                        list().index(VALUES_MAX),
                        format!(
                            "{} numbers; Tetragon accepts at most {VALUES_MAX} and rejects the policy",
                            filter.values.len()
                        ),
                    )
                    .severity(Severity::Warning)
                    .help("use `InMap` or `NotInMap`, which accept any number of values"),
                );
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::reported;

    const PLACE: &str = "spec.kprobes[0].selectors[0]";

    fn with(selector: &str) -> Vec<String> {
        reported(&format!(
            "kprobes: [{{call: sys_dup, args: [{{index: 0, type: int}}], selectors: [{{{selector}}}]}}]"
        ))
    }

    #[test]
    fn entries() {
        let pid = "{operator: In, values: [1]}";
        let cap = "{operator: In, values: [CAP_BPF]}";
        assert_eq!(with(&format!("matchPIDs: [{pid}]")), [""; 0]);
        assert_eq!(with(&format!("matchPIDs: [{pid}, {pid}]")), [format!("GW312 {PLACE}.matchPIDs[1]")]);
        assert_eq!(
            with("matchPIDs: [{operator: In, values: [1, 2, 3, 4, 5]}]"),
            [format!("GW312 {PLACE}.matchPIDs[0].values[4]")]
        );
        assert_eq!(
            with(&format!("matchCapabilities: [{cap}, {cap}]")),
            [format!("GW312 {PLACE}.matchCapabilities[1]")]
        );
        let bin = "{operator: In, values: [/usr/bin/a]}";
        assert_eq!(
            with(&format!("matchBinaries: [{bin}, {bin}]")),
            [format!("GW404 {PLACE}.matchBinaries[1]")]
        );
    }

    #[test]
    fn namespaces() {
        let ns = |values: &str| {
            with(&format!("matchNamespaces: [{{namespace: Mnt, operator: In, values: [{values}]}}]"))
        };
        assert_eq!(ns("host_ns"), [""; 0]);
        assert_eq!(ns("'4026531840'"), [format!("GW310 {PLACE}.matchNamespaces[0].values[0]")]);
        assert_eq!(
            ns("host_ns, host_ns, host_ns, host_ns, host_ns"),
            [format!("GW312 {PLACE}.matchNamespaces[0].values[4]")]
        );
    }

    #[test]
    fn numbers() {
        let arg = |operator: &str, values: &str| {
            with(&format!("matchArgs: [{{index: 0, operator: {operator}, values: [{values}]}}]"))
        };
        let at = |i: usize| format!("{PLACE}.matchArgs[0].values[{i}]");
        assert_eq!(arg("Equal", "'1', '2', '3', '0x4'"), [""; 0]);
        assert_eq!(arg("Equal", "'1', '2', '3', '4', '5'"), [format!("GW404 {}", at(4))]);
        assert_eq!(arg("Prefix", "a, b, c, d, e"), [""; 0]);
        assert_eq!(arg("InMap", "'1', '10:20'"), [""; 0]);
        assert_eq!(arg("InMap", "'0x1'"), [format!("GW314 {}", at(0))]);
        assert_eq!(arg("InMap", "'0:1000000'"), [format!("GW409 {}", at(0))]);
        assert_eq!(arg("GT", "'1', '2'"), [format!("GW404 {}", at(1))]);
    }

    #[test]
    fn selectors() {
        let list = (0..6)
            .map(|i| format!("{{matchPIDs: [{{operator: In, values: [{i}]}}]}}"))
            .collect::<Vec<_>>()
            .join(", ");
        assert_eq!(
            reported(&format!("kprobes: [{{call: sys_dup, selectors: [{list}]}}]")),
            ["GW404 spec.kprobes[0].selectors"]
        );
    }
}
