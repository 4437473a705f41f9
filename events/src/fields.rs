//! Which fields of a record are exported: `--field-filters`, with the meaning of Tetragon's `FieldFilter`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    event::Kind,
    filter::{FilterError, kinds, snake_case},
};

/// The filters of fields. All of them apply, one after the other.
#[derive(Debug, Default)]
pub struct FieldFilters(Vec<FieldFilter>);

#[derive(Debug)]
struct FieldFilter {
    /// Empty: all kinds.
    kinds: Vec<Kind>,
    /// All kinds but these.
    inverted: bool,
    exclude: bool,
    fields: Tree,
}

/// Field paths as a tree; a leaf names a field with all its parts.
#[derive(Debug, Default)]
struct Tree(BTreeMap<String, Tree>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, alias = "eventSet")]
    event_set: Value,
    #[serde(default)]
    fields: String,
    #[serde(default)]
    action: Action,
    #[serde(default, alias = "invertEventSet")]
    invert_event_set: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "UPPERCASE")]
enum Action {
    #[default]
    Include,
    Exclude,
}

impl FieldFilters {
    /// Reads filters: JSON objects, one after the other.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut filters = Vec::new();
        for written in serde_json::Deserializer::from_str(text).into_iter::<Written>() {
            let fault = |reason| FilterError { number: filters.len() + 1, reason };
            let written = written.map_err(|error| {
                fault(format!(
                    "{error}; expected an object such as {{\"fields\":\"process.binary,parent\",\"action\":\"EXCLUDE\"}}"
                ))
            })?;
            let kinds = if written.event_set.is_null() {
                Vec::new()
            } else {
                kinds(written.event_set).map_err(fault)?
            };
            let mut fields = Tree::default();
            for path in written.fields.split(',').map(str::trim).filter(|path| !path.is_empty()) {
                fields.add(&snake_case(path));
            }
            if fields.0.is_empty() {
                return Err(fault("no `fields`; expected paths separated by commas".to_owned()));
            }
            let exclude = matches!(written.action, Action::Exclude);
            filters.push(FieldFilter { kinds, inverted: written.invert_event_set, exclude, fields });
        }
        Ok(Self(filters))
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves out fields of the body of a record, which is `line`, the record as JSON. What is beside the body (`time`,
    /// `node_name`) stays.
    pub fn apply(&self, kind: Kind, line: &mut Map<String, Value>) {
        let Some(Value::Object(body)) = line.get_mut(&kind.name().to_ascii_lowercase()) else { return };
        for filter in &self.0 {
            if !filter.kinds.is_empty() && filter.kinds.contains(&kind) == filter.inverted {
                continue;
            }
            if filter.exclude {
                filter.fields.remove_from(body);
            } else {
                filter.fields.keep_in(body);
            }
        }
    }
}

impl Tree {
    fn add(&mut self, path: &str) {
        match path.split_once('.') {
            Some((first, rest)) => self.0.entry(first.to_owned()).or_default().add(rest),
            None => {
                self.0.entry(path.to_owned()).or_default();
            }
        }
    }

    fn keep_in(&self, object: &mut Map<String, Value>) {
        object.retain(|key, value| match self.0.get(key) {
            Some(part) if part.0.is_empty() => true,
            Some(part) => {
                part.in_objects(value, &Tree::keep_in);
                true
            }
            None => false,
        });
    }

    fn remove_from(&self, object: &mut Map<String, Value>) {
        object.retain(|key, value| match self.0.get(key) {
            Some(part) if part.0.is_empty() => false,
            Some(part) => {
                part.in_objects(value, &Tree::remove_from);
                true
            }
            None => true,
        });
    }

    /// Applies to an object, or to each object of a list.
    fn in_objects(&self, value: &mut Value, change: &dyn Fn(&Self, &mut Map<String, Value>)) {
        match value {
            Value::Object(object) => change(self, object),
            Value::Array(list) => list.iter_mut().for_each(|entry| self.in_objects(entry, change)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(filters: &str, kind: Kind) -> String {
        let mut line = serde_json::json!({
            kind.name().to_ascii_lowercase(): {
                "process": {"binary": "/a", "pid": 1, "pod": {"name": "p", "uid": "u"}},
                "parent": {"binary": "/b"},
                "args": [{"int_arg": 1, "label": "x"}, {"file_arg": {"path": "/c", "flags": "f"}}],
            },
            "node_name": "n",
        });
        FieldFilters::parse(filters).unwrap().apply(kind, line.as_object_mut().unwrap());
        line.to_string()
    }

    #[test]
    fn filters_include_and_exclude_paths() {
        let include = r#"{"fields":"process.binary,process.pod.name"}"#;
        assert_eq!(
            filtered(include, Kind::Kprobe),
            r#"{"node_name":"n","process_kprobe":{"process":{"binary":"/a","pod":{"name":"p"}}}}"#
        );
        let exclude =
            r#"{"fields":"process.pod, parent, args.fileArg.flags, args.label","action":"EXCLUDE"}"#;
        assert_eq!(
            filtered(exclude, Kind::Kprobe),
            r#"{"node_name":"n","process_kprobe":{"args":[{"int_arg":1},{"file_arg":{"path":"/c"}}],"process":{"binary":"/a","pid":1}}}"#
        );
        let both = format!("{include}\n{{\"fields\":\"process.pod\",\"action\":\"EXCLUDE\"}}");
        assert_eq!(
            filtered(&both, Kind::Exec),
            r#"{"node_name":"n","process_exec":{"process":{"binary":"/a"}}}"#
        );
    }

    #[test]
    fn a_filter_can_be_about_some_kinds() {
        let only = r#"{"fields":"parent","event_set":["PROCESS_EXIT"]}"#;
        assert!(filtered(only, Kind::Exec).contains("/a"));
        assert!(!filtered(only, Kind::Exit).contains("/a"));
        let inverted = r#"{"fields":"parent","event_set":["PROCESS_EXIT"],"invert_event_set":true}"#;
        assert!(!filtered(inverted, Kind::Exec).contains("/a"));
        assert!(filtered(inverted, Kind::Exit).contains("/a"));
    }

    #[test]
    fn a_filter_that_cannot_be_used_says_why() {
        for (text, message) in [
            ("{}", "no `fields`"),
            (r#"{"fields":"a","action":"DROP"}"#, "unknown variant `DROP`"),
            (r#"{"field":"a"}"#, "unknown field `field`"),
            (r#"{"fields":"a","event_set":["X"]}"#, "unknown kind \"X\""),
        ] {
            let error = FieldFilters::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
