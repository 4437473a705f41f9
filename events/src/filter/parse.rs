//! Reading filters from JSON.

use gatewatch_policy::nearest::nearest;
use regex::Regex;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Condition, Filter, FilterError, Quantity, Text, Which, Whose, labels::LabelFilter};
use crate::{bits::CapabilitySet, event::Kind, json::Name, process::PodStatus};

/// The fields that can be evaluated.
const FIELDS: &[&str] = &[
    "ancestor_binary_regex",
    "arguments_regex",
    "binary_regex",
    "capabilities",
    "container_id",
    "container_name_regex",
    "event_set",
    "health_check",
    "in_init_tree",
    "labels",
    "namespace",
    "namespace_regex",
    "parent_arguments_regex",
    "parent_binary_regex",
    "pid",
    "pod_regex",
    "pod_status",
    "policy_names",
];

/// Reads a list of filters: JSON objects, one after the other.
pub(super) fn list(text: &str) -> Result<Vec<Filter>, FilterError> {
    let mut filters = Vec::new();
    for object in serde_json::Deserializer::from_str(text).into_iter::<Map<String, Value>>() {
        let number = filters.len() + 1;
        let fault = |reason| FilterError { number, reason };
        let object = object.map_err(|error| fault(format!("{error}; expected one JSON object per line")))?;
        filters.push(filter(object).map_err(fault)?);
    }
    Ok(filters)
}

fn filter(object: Map<String, Value>) -> Result<Filter, String> {
    let mut conditions = Vec::new();
    for (key, value) in object {
        let name = snake_case(&key);
        if value.is_null() {
            continue;
        }
        // As in Tetragon, an empty list is no condition.
        if value.as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        conditions.extend(condition(&name, value).map_err(|reason| format!("`{key}`: {reason}"))?);
    }
    Ok(Filter { conditions })
}

fn condition(name: &str, value: Value) -> Result<Vec<Condition>, String> {
    let text = |whose, text, value| Ok(vec![Condition::Matches(whose, text, patterns(value)?)]);
    match name {
        "binary_regex" => text(Whose::Process, Text::Binary, value),
        "arguments_regex" => text(Whose::Process, Text::Arguments, value),
        "parent_binary_regex" => text(Whose::Parent, Text::Binary, value),
        "parent_arguments_regex" => text(Whose::Parent, Text::Arguments, value),
        "ancestor_binary_regex" => text(Whose::Ancestors, Text::Binary, value),
        "namespace_regex" => text(Whose::Process, Text::Namespace, value),
        "pod_regex" => text(Whose::Process, Text::Pod, value),
        "container_id" => text(Whose::Process, Text::ContainerId, value),
        "container_name_regex" => text(Whose::Process, Text::ContainerName, value),
        "namespace" => Ok(vec![Condition::Namespace(read(value, "a list of names")?)]),
        "pod_status" => {
            let statuses: Vec<String> = read(value, "a list of `host` and `unresolved`")?;
            let known = |status: String| match status.as_str() {
                "host" => Ok(PodStatus::Host),
                "unresolved" => Ok(PodStatus::Unresolved),
                _ => Err(format!("unknown status {status:?}; expected `host` or `unresolved`")),
            };
            Ok(vec![Condition::PodStatus(statuses.into_iter().map(known).collect::<Result<_, _>>()?)])
        }
        "health_check" => Ok(vec![Condition::HealthCheck(read(value, "true or false")?)]),
        "in_init_tree" => Ok(vec![Condition::InInitTree(read(value, "true or false")?)]),
        "pid" => Ok(vec![Condition::Pid(read(value, "a list of process ids")?)]),
        "event_set" => Ok(vec![Condition::Kind(kinds(value)?)]),
        "labels" => {
            let selectors: Vec<String> = read(value, "a list of label selectors")?;
            let selectors =
                selectors.iter().map(|text| LabelFilter::parse(text)).collect::<Result<_, _>>()?;
            Ok(vec![Condition::Labels(selectors)])
        }
        "policy_names" => Ok(vec![Condition::PolicyNames(read(value, "a list of names")?)]),
        "capabilities" => capabilities(value),
        "cel_expression" => {
            Err("Gatewatch does not evaluate CEL; use the other fields of filters".to_owned())
        }
        "pid_set" => Err("Gatewatch does not follow descendants in filters; use `parent_binary_regex` or \
                 `ancestor_binary_regex`"
            .to_owned()),
        _ => Err(format!(
            "unknown field{}",
            nearest(name, FIELDS.iter().copied()).map_or_else(
                || format!("; expected one of {}", FIELDS.join(", ")),
                |near| format!("; did you mean `{near}`?")
            )
        )),
    }
}

fn read<T: DeserializeOwned>(value: Value, expected: &str) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("expected {expected}: {error}"))
}

fn patterns(value: Value) -> Result<Vec<Regex>, String> {
    let texts: Vec<String> = read(value, "a list of regular expressions")?;
    texts.iter().map(|text| pattern(text)).collect()
}

/// Compiles a regular expression of an option.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("invalid regular expression {text:?}: {error}"))
}

/// Reads a list of kinds.
pub(crate) fn kinds(value: Value) -> Result<Vec<Kind>, String> {
    let names: Vec<Name> = read(value, "a list of kinds such as PROCESS_KPROBE")?;
    let known = |name| match name {
        Name::Text(text) => Kind::named(&text).ok_or_else(|| format!("unknown kind {text:?}")),
        Name::Number(number) => Kind::numbered(number).ok_or_else(|| format!("unknown kind {number}")),
    };
    names.into_iter().map(known).collect()
}

fn capabilities(value: Value) -> Result<Vec<Condition>, String> {
    let sets: Map<String, Value> = read(value, "an object with `permitted`, `effective` or `inheritable`")?;
    let mut conditions = Vec::new();
    for (key, value) in sets {
        let which = match key.as_str() {
            "permitted" => Which::Permitted,
            "effective" => Which::Effective,
            "inheritable" => Which::Inheritable,
            _ => return Err(format!("unknown set {key:?}; expected permitted, effective or inheritable")),
        };
        let quantities: Map<String, Value> = read(value, "an object with `any`, `all`, `exactly` or `none`")?;
        if quantities.len() != 1 {
            return Err(format!("`{key}` needs exactly one of `any`, `all`, `exactly` and `none`"));
        }
        for (quantity, names) in quantities {
            let quantity = match quantity.as_str() {
                "any" => Quantity::Any,
                "all" => Quantity::All,
                "exactly" => Quantity::Exactly,
                "none" => Quantity::None,
                _ => return Err(format!("unknown {quantity:?}; expected any, all, exactly or none")),
            };
            let count = names.as_array().map_or(0, Vec::len);
            let set: CapabilitySet = read(names, "a list of capabilities")?;
            if set.bits().count_ones() as usize != count {
                return Err(format!("`{key}` has an unknown capability, or one twice"));
            }
            conditions.push(Condition::Capabilities(which, quantity, set));
        }
    }
    Ok(conditions)
}

/// The name in the proto file: protojson accepts `binaryRegex` too.
pub(crate) fn snake_case(key: &str) -> String {
    let mut name = String::with_capacity(key.len() + 4);
    for character in key.chars() {
        if character.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
    name
}
