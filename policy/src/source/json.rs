//! JSON whose positions are not reported: values, and the text that comes from an API server.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::{
    node::{Entry, Node, Span, Value},
    scalar,
};

/// The tree of a value. `serde_json` has bounded its depth.
pub(super) fn node(value: &serde_json::Value) -> Node {
    match value {
        serde_json::Value::Null => bare(Value::Null),
        serde_json::Value::Bool(b) => boolean(*b),
        serde_json::Value::Number(n) => number(n),
        serde_json::Value::String(text) => bare(Value::String(text.clone())),
        serde_json::Value::Array(items) => bare(Value::Seq(items.iter().map(node).collect())),
        serde_json::Value::Object(members) => {
            let entries = members.iter().map(|(key, value)| entry(key.clone(), node(value)));
            bare(Value::Map(entries.collect()))
        }
    }
}

/// The tree of a text: the same as that of its value, which is twice the work.
pub(super) fn read(text: &str) -> serde_json::Result<Node> {
    serde_json::from_str::<Read>(text).map(|read| read.0)
}

fn bare(value: Value) -> Node {
    Node { value, span: Span::NOWHERE, written: Box::default(), flow: true }
}

fn entry(key: String, value: Node) -> Entry {
    Entry { key, key_span: Span::NOWHERE, value }
}

fn boolean(value: bool) -> Node {
    Node { written: if value { "true" } else { "false" }.into(), ..bare(Value::Bool(value)) }
}

fn number(number: &Number) -> Node {
    let value = match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(n), ..) => Value::Int(n.into()),
        (_, Some(n), _) => Value::Int(n.into()),
        (.., n) => scalar::float(n.unwrap_or(f64::NAN)),
    };
    Node { written: number.to_string().into(), ..bare(value) }
}

struct Read(Node);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(bare(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(number(&value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(number(&value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        // JSON has no other numbers than those.
        Ok(Number::from_f64(value).map_or_else(|| bare(Value::Null), |n| number(&n)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(bare(Value::String(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(bare(Value::String(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(Read(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(bare(Value::Seq(all)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut all: Vec<Entry> = Vec::new();
        while let Some((key, Read(value))) = members.next_entry()? {
            all.push(entry(key, value));
        }
        // In the order of their names, as in a value; of those with one name the last counts.
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all.reverse();
        all.dedup_by(|a, b| a.key == b.key);
        all.reverse();
        Ok(bare(Value::Map(all)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            (-5_i8..5).prop_map(|n| f64::from(n).into()),
            ".{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::hash_map("[a-c]{0,3}", inner, 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_text_is_read_as_its_value_is(value in values()) {
            prop_assert_eq!(read(&value.to_string()).unwrap(), node(&value));
        }
    }

    #[test]
    fn of_members_with_one_name_the_last_counts() {
        for text in [r#"{"b":1,"a":2,"b":3,"c":[],"b":{}}"#, r#"{"a":1,"a":1.5}"#, "1e400", "[1,", "", "1 2"]
        {
            match serde_json::from_str(text) {
                Ok(value) => assert_eq!(read(text).unwrap(), node(&value), "{text}"),
                Err(_) => assert!(read(text).is_err(), "{text}"),
            }
        }
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert!(read(&deep).is_err(), "a stack has an end");
    }
}
