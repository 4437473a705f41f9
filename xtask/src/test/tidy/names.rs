//! Names of the policy language that are written out where the tables of the model have them.
//!
//! A name that is compared as text stays behind when the language changes, and the compiler does not notice.

use super::style;

/// The tables: `names!` in these files.
const TABLES: &[&str] =
    &["policy/src/model/section.rs", "policy/src/model/action.rs", "policy/src/model/filter.rs"];

/// The sources that work with policies. The agent has plans, which have no names.
const SOURCES: &[&str] = &["policy/src/", "coverage/src/", "cli/src/", "webhook/src/", "events/src/"];

/// The beginnings of labels of hook points. A label that is put together elsewhere differs from the one that the agent
/// counts under as soon as one of the two changes.
const LABELS: &[&str] = &["\"kprobe:{", "\"tracepoint:{", "\"lsm:{", "\"uprobe:{", "\"usdt:{"];

/// The tables themselves, and the labels of hook points, some of which are written like a section.
const ALLOWED: &[&str] = &["policy/src/model", "policy/src/hook_point.rs"];

/// Names that are ordinary words elsewhere, such as operators of Kubernetes' label selectors.
const ORDINARY: &[&str] = &["In", "NotIn", "Set", "State", "User", "Time", "Pid", "Net"];

/// The names that a file's tables define.
fn defined(text: &str) -> impl Iterator<Item = &str> {
    let entries = text.lines().take_while(|line| !line.starts_with("impl")).map(str::trim);
    let entries = entries.filter(|line| line.ends_with("\",") && !line.starts_with("//"));
    entries.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(|name| !ORDINARY.contains(name))
}

/// All names that only tables may write out, from the files of the tree.
pub(super) fn names<'a>(text_of: impl Fn(&str) -> Option<&'a str>) -> Vec<&'a str> {
    TABLES.iter().filter_map(|table| text_of(table)).flat_map(defined).collect()
}

/// The names that a source writes out, tests aside.
pub(super) fn faults(file: &str, text: &str, names: &[&str]) -> Vec<String> {
    let is_source = SOURCES.iter().any(|folder| file.starts_with(folder)) && style::is_source(file);
    let is_test = file.ends_with("tests.rs") || file.contains("/tests/") || file.ends_with("testing.rs");
    if !is_source || is_test || ALLOWED.iter().any(|allowed| file.starts_with(allowed)) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let code = (1..).zip(text.lines()).take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    for (number, line) in code.filter(|(_, line)| !line.trim_start().starts_with("//")) {
        for name in names.iter().filter(|name| line.contains(&format!("\"{name}\""))) {
            faults.push(format!("{file}:{number}: \"{name}\": use the name of the model's table"));
        }
        if LABELS.iter().any(|label| line.contains(label)) {
            faults.push(format!("{file}:{number}: a label of a hook: use `HookPoint::label`"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "names! {\n    /// The \"sections\",\n    pub enum Section {\n        Kprobes = \"kprobes\",\n        \
                         Gt = \"GT\" | \"GreaterThan\",\n        In = \"In\",\n    }\n}\nimpl Section {\n    \"no\",\n}\n";

    #[test]
    fn names_are_those_of_the_tables() {
        let text_of = |file: &str| (file == TABLES[0]).then_some(TABLE);
        assert_eq!(names(text_of), ["kprobes", "GT", "GreaterThan"]);
    }

    #[test]
    fn a_label_is_found_outside_of_hook_points() {
        let text = "format!(\"lsm:{hook}\");\nformat!(\"lsm: {hook}\");\n";
        assert_eq!(
            faults("events/src/event.rs", text, &[]),
            ["events/src/event.rs:1: a label of a hook: use `HookPoint::label`"]
        );
        assert!(faults("policy/src/hook_point.rs", text, &[]).is_empty());
    }

    #[test]
    fn a_name_is_found_outside_of_tables_and_tests() {
        let text =
            "// as \"kprobes\"\nif name == \"kprobes\" {\n    \"kprobes of\"\n}\n#[cfg(test)]\n\"kprobes\"\n";
        let found = |file: &str| faults(file, text, &["kprobes"]);
        assert_eq!(
            found("policy/src/history.rs"),
            ["policy/src/history.rs:2: \"kprobes\": use the name of the model's table"]
        );
        for file in ["policy/src/model/section.rs", "policy/src/read/tests.rs", "xtask/src/main.rs"] {
            assert!(found(file).is_empty(), "{file}");
        }
    }
}
