//! Values and their positions.

use crate::diagnostic::{FieldPath, Step};

/// A stretch of the text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// Of a value that came without text.
    pub const NOWHERE: Self = Self { start: u32::MAX, end: u32::MAX };

    /// From one byte up to another.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        // Inputs end at 3 MiB, so nothing is cut here.
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX - 1);
        Self { start: clamp(start), end: clamp(end.max(start)) }
    }

    /// The place before a byte.
    pub(crate) fn at(byte: usize) -> Self {
        Self::new(byte, byte)
    }

    /// Whether it has no bytes.
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// `None` for [`Span::NOWHERE`].
    pub fn known(self) -> Option<Self> {
        (self != Self::NOWHERE).then_some(self)
    }

    /// As a range to slice the text with.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Its position, quotes included. An alias has the position where it is used, its contents the one where they were
    /// written.
    pub span: Span,
    /// A boolean's, number's or null's own text (`yes`, `0x1F`); empty for everything else.
    pub written: Box<str>,
    /// Whether it is written on one line or in brackets, so that its span can be underlined.
    pub flow: bool,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer, and also a whole number written as `1e3` or `1.0`, which is one in JSON too.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// A string.
    String(String),
    /// An array.
    Seq(Vec<Node>),
    /// An object, in the order of the text; each key once.
    Map(Vec<Entry>),
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// The position of its name.
    pub key_span: Span,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// A null.
    pub(crate) fn null(span: Span) -> Self {
        Self { value: Value::Null, span, written: Box::default(), flow: true }
    }

    /// The member of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is `null` or nothing at all, which Kubernetes takes as absent.
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The elements of an array, or none.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::Seq(items) => items,
            _ => &[],
        }
    }

    /// One step down.
    pub fn step(&self, step: &Step) -> Option<&Self> {
        match step {
            Step::Field(name) => self.get(name),
            Step::Index(i) => self.items().get(*i),
        }
    }

    /// The value at a path.
    pub(crate) fn at(&self, path: &FieldPath) -> Option<&Self> {
        path.0.iter().try_fold(self, |node, step| node.step(step))
    }

    /// The same, to change it.
    pub(crate) fn at_mut(&mut self, path: &FieldPath) -> Option<&mut Self> {
        path.0.iter().try_fold(self, |node, step| match step {
            Step::Field(name) => node.entry_mut(name).map(|entry| &mut entry.value),
            Step::Index(i) => match &mut node.value {
                Value::Seq(items) => items.get_mut(*i),
                _ => None,
            },
        })
    }

    /// The member of an object, to change it or its name.
    pub(crate) fn entry_mut(&mut self, key: &str) -> Option<&mut Entry> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The value as JSON, as the API server would be sent it. A number that JSON can't hold becomes null.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(n) => match (i64::try_from(*n), u64::try_from(*n)) {
                (Ok(n), _) => n.into(),
                (_, Ok(n)) => n.into(),
                #[allow(clippy::cast_precision_loss, reason = "as every reader of JSON does")]
                _ => (*n as f64).into(),
            },
            Value::Float(n) => (*n).into(),
            Value::String(text) => text.clone().into(),
            Value::Seq(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let members = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
                serde_json::Value::Object(members.collect())
            }
        }
    }

    /// What it is, for a person: "a string", "a mapping".
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a number",
            Value::String(_) => "a string",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}
