//! What a schema rejects, in our words: the problem with the value, and the fix. No text of the library is a part of it,
//! because it quotes whole objects and names keywords instead of fixes.

#[cfg(test)]
mod tests;

use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

use crate::nearest::nearest;

/// Characters of a value that a message shows.
const SHOWN: usize = 40;
/// Singular and plural.
const CHARACTERS: [&str; 2] = ["character", "characters"];
const ENTRIES: [&str; 2] = ["entry", "entries"];
const FIELDS: [&str; 2] = ["field", "fields"];
/// Values of an enumeration that a message lists.
const LISTED: usize = 16;

/// What is wrong with a value, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Explanation {
    /// JSON pointer to the value.
    pub(super) pointer: String,
    /// The problem, as a part of a sentence.
    pub(super) problem: String,
    /// The fix, in the imperative.
    pub(super) fix: String,
}

/// Explains an error. If only one of several forms can be meant, its errors are explained instead.
pub(super) fn explain(error: &ValidationError<'_>) -> Vec<Explanation> {
    if let Kind::AnyOf { context } | Kind::OneOfNotValid { context } = error.kind() {
        // `null` is a form only because the definition says `nullable`.
        let forms: Vec<_> = context.iter().filter(|errors| !errors.iter().any(wants_null)).collect();
        if let [errors] = forms[..] {
            return errors.iter().flat_map(explain).collect();
        }
    }
    let (problem, fix) = words(error);
    vec![Explanation { pointer: error.instance_path().as_str().to_owned(), problem, fix }]
}

fn wants_null(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), Kind::Type { kind: TypeKind::Single(JsonType::Null) })
}

/// The problem and the fix.
fn words(error: &ValidationError<'_>) -> (String, String) {
    let value = error.instance().as_ref();
    match error.kind() {
        Kind::Type { kind } => wrong_type(value, kind),
        Kind::Required { property } => {
            let field = property.as_str().unwrap_or_default();
            (format!("missing required field `{field}`"), format!("add `{field}`"))
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let fields = quoted(unexpected);
            let (noun, it) = if unexpected.len() == 1 { ("field", "it") } else { ("fields", "them") };
            (format!("unknown {noun} {fields}"), format!("correct the spelling, or remove {it}"))
        }
        Kind::Enum { options } => one_of(value, options.as_array().map(Vec::as_slice).unwrap_or_default()),
        Kind::Constant { expected_value } => one_of(value, std::slice::from_ref(expected_value)),
        Kind::Pattern { pattern } => (
            format!("invalid value {}: expected text that matches the pattern `{pattern}`", shown(value)),
            "write a value that matches the pattern".to_owned(),
        ),
        Kind::Format { format } => (
            format!("invalid value {}: expected the format `{format}`", shown(value)),
            format!("write a value of the format `{format}`"),
        ),
        kind => limits(value, kind),
    }
}

/// The same for sizes and combinations.
fn limits(value: &Value, kind: &Kind) -> (String, String) {
    let number = |what: &str, limit: &Value| {
        let verb = if what.contains("most") || what.contains("less") { "large" } else { "small" };
        (format!("{} is too {verb}: expected {what} {limit}", shown(value)), format!("write {what} {limit}"))
    };
    let most = |found: usize, nouns: [&str; 2], limit: u64| {
        let limit = counted(limit, nouns);
        (
            format!("{}, expected at most {limit}", counted(found as u64, nouns)),
            format!("keep at most {limit}"),
        )
    };
    let least = |found: usize, nouns: [&str; 2], limit: u64| {
        let limit = counted(limit, nouns);
        (
            format!("{}, expected at least {limit}", counted(found as u64, nouns)),
            format!("write at least {limit}"),
        )
    };
    let characters = value.as_str().map_or(0, |text| text.chars().count());
    let entries = value.as_array().map_or(0, Vec::len);
    let fields = value.as_object().map_or(0, serde_json::Map::len);
    match kind {
        Kind::Maximum { limit } => number("at most", limit),
        Kind::Minimum { limit } => number("at least", limit),
        Kind::ExclusiveMaximum { limit } => number("less than", limit),
        Kind::ExclusiveMinimum { limit } => number("more than", limit),
        Kind::MultipleOf { multiple_of } => (
            format!("expected a multiple of {multiple_of}, found {}", shown(value)),
            format!("write a multiple of {multiple_of}"),
        ),
        Kind::MaxLength { limit } => most(characters, CHARACTERS, *limit),
        Kind::MinLength { limit } => least(characters, CHARACTERS, *limit),
        Kind::MaxItems { limit } => most(entries, ENTRIES, *limit),
        Kind::MinItems { limit } => least(entries, ENTRIES, *limit),
        Kind::MaxProperties { limit } => most(fields, FIELDS, *limit),
        Kind::MinProperties { limit } => least(fields, FIELDS, *limit),
        Kind::UniqueItems => ("the list has equal entries".to_owned(), "remove the repeated ones".to_owned()),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => forms(context),
        Kind::OneOfMultipleValid { .. } => (
            format!("{} has several of the forms that exclude each other", shown(value)),
            "remove the fields of all forms but one".to_owned(),
        ),
        Kind::Not { .. } | Kind::FalseSchema => (
            format!("{} is excluded by the schema", shown(value)),
            "remove it, or write another value".to_owned(),
        ),
        // Kubernetes does not allow the other keywords in a definition.
        other => (
            format!("{} does not satisfy the schema's keyword `{}`", shown(value), keyword(other)),
            "compare the value with the CustomResourceDefinition".to_owned(),
        ),
    }
}

fn keyword(kind: &Kind) -> &str {
    match kind {
        Kind::Custom { .. } => "custom",
        kind => kind.keyword(),
    }
}

fn wrong_type(value: &Value, wanted: &TypeKind) -> (String, String) {
    let types: Vec<JsonType> = match wanted {
        TypeKind::Single(one) => vec![*one],
        TypeKind::Multiple(several) => several.iter().collect(),
    };
    let nouns: Vec<&str> = types.iter().map(|wanted| noun(*wanted)).collect();
    let wanted = nouns.join(" or ");
    let found = type_of(value);
    let is_scalar = !matches!(found, JsonType::Array | JsonType::Object | JsonType::Null);
    let article = noun(found);
    let shown = if is_scalar { format!("{article} ({})", shown(value)) } else { article.to_owned() };
    let is_in_quotes = value.as_str().is_some_and(|text| {
        let bare = serde_json::from_str::<Value>(text).ok();
        bare.is_some_and(|bare| {
            types.contains(&type_of(&bare)) || bare.is_number() && types.contains(&JsonType::Number)
        })
    });
    let fix = match found {
        _ if is_in_quotes => "remove the quotes".to_owned(),
        JsonType::Boolean | JsonType::Integer | JsonType::Number if types.contains(&JsonType::String) => {
            "put it in quotes".to_owned()
        }
        _ if types == [JsonType::Array] => "write it as an entry of a list".to_owned(),
        _ => format!("write {wanted}"),
    };
    (format!("expected {wanted}, found {shown}"), fix)
}

fn type_of(value: &Value) -> JsonType {
    match value {
        Value::Number(number) if !number.is_f64() => JsonType::Integer,
        value => JsonType::from(value),
    }
}

fn noun(of: JsonType) -> &'static str {
    match of {
        JsonType::Null => "null",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Number => "a number",
        JsonType::String => "a string",
        JsonType::Array => "a list",
        JsonType::Object => "an object",
    }
}

fn one_of(value: &Value, options: &[Value]) -> (String, String) {
    let names: Vec<String> = options.iter().map(plain).collect();
    let more = names.len().saturating_sub(LISTED);
    let mut list = quoted(&names[..names.len() - more]);
    if more > 0 {
        list = format!("{list} and {more} more");
    }
    let expected = if names.len() == 1 { list } else { format!("one of {list}") };
    let problem = format!("invalid value {}: expected {expected}", shown(value));
    let likely = value.as_str().and_then(|text| nearest(text, names.iter().map(String::as_str)));
    let fix = match (likely, &names[..]) {
        (Some(name), _) => format!("write `{name}`"),
        (None, [only]) => format!("write `{only}`"),
        (None, _) => "write one of them".to_owned(),
    };
    (problem, fix)
}

/// The reasons why the value has none of several forms.
fn forms(context: &[Vec<ValidationError<'static>>]) -> (String, String) {
    let reasons = context.iter().filter(|errors| !errors.iter().any(wants_null));
    let mut reasons: Vec<String> = reasons.filter_map(|errors| errors.first()).map(|e| words(e).0).collect();
    reasons.dedup();
    let more = if reasons.len() > 3 { ", …" } else { "" };
    reasons.truncate(3);
    (
        format!("the value has none of the allowed forms: {}{more}", reasons.join("; or ")),
        "write one of these forms".to_owned(),
    )
}

fn counted(count: u64, [one, several]: [&str; 2]) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// Names as code.
fn quoted(names: &[String]) -> String {
    format!("`{}`", names.join("`, `"))
}

/// A value in a message, as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "the list".to_owned(),
        Value::Object(_) => "the object".to_owned(),
        Value::String(text) if text.chars().count() > SHOWN => {
            format!("{:?}", text.chars().take(SHOWN).chain(['…']).collect::<String>())
        }
        other => other.to_string(),
    }
}

/// A value of an enumeration, without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
