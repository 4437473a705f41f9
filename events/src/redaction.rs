//! Secrets are removed from records before any output sees them: what the built-in patterns find, and what
//! `--redaction-filters` name, with the meaning of Tetragon's `RedactionFilter`.
//!
//! Applied to the arguments and the environment of every process of a record, and to the strings and buffers among the
//! arguments of hooks. Paths stay as they are.

mod patterns;

use std::borrow::Cow;

use regex::{Regex, RegexSet};
use serde::Deserialize;

pub use self::patterns::{PATTERNS, Pattern};
use crate::{
    argument::Value,
    event::Event,
    filter::{FilterError, pattern},
    process::Process,
};

/// What a secret is replaced with.
pub const REDACTED: &str = "*****";

/// Removes secrets from records.
#[derive(Debug)]
pub struct Redaction {
    filters: Vec<Filter>,
    /// All expressions at once: most texts match none.
    any: RegexSet,
}

#[derive(Debug)]
struct Filter {
    /// The programs that it is about. Empty: all.
    binaries: Vec<Regex>,
    expression: Regex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    redact: Vec<String>,
    #[serde(default, alias = "binaryRegex")]
    binary_regex: Vec<String>,
}

impl Redaction {
    /// Uses the built-in patterns if `builtin` is set, and the filters in `text`: JSON objects, one after the other.
    pub fn parse(builtin: bool, text: &str) -> Result<Self, FilterError> {
        let mut filters = Vec::new();
        let mut compile = |number, expression: &str, binaries: &[String]| {
            let fault = |reason| FilterError { number, reason };
            let binaries =
                binaries.iter().map(|text| pattern(text)).collect::<Result<_, _>>().map_err(fault)?;
            filters.push(Filter { binaries, expression: pattern(expression).map_err(fault)? });
            Ok(())
        };
        if builtin {
            for pattern in PATTERNS {
                let binary = pattern.binary.map(str::to_owned);
                compile(0, pattern.expression, binary.as_slice())?;
            }
        }
        for (index, written) in serde_json::Deserializer::from_str(text).into_iter::<Written>().enumerate() {
            let fault = |reason: String| FilterError { number: index + 1, reason };
            let written = written.map_err(|error| {
                fault(format!("{error}; expected an object such as {{\"redact\":[\"--key[ =](\\\\S+)\"]}}"))
            })?;
            if written.redact.is_empty() {
                return Err(fault("no `redact`; expected a list of regular expressions".to_owned()));
            }
            for expression in &written.redact {
                compile(index + 1, expression, &written.binary_regex)?;
            }
        }
        if let Some(filter) = filters.iter().find(|filter| filter.expression.captures_len() < 2) {
            return Err(FilterError {
                number: 0,
                reason: format!(
                    "{:?} has no group, so it would redact nothing: put the secret in parentheses",
                    filter.expression.as_str()
                ),
            });
        }
        let any = RegexSet::new(filters.iter().map(|filter| filter.expression.as_str()))
            .map_err(|error| FilterError { number: 0, reason: error.to_string() })?;
        Ok(Self { filters, any })
    }

    /// Removes secrets from a record.
    pub fn apply(&self, event: &mut Event) {
        if self.filters.is_empty() {
            return;
        }
        let Some(processes) = event.processes_mut() else { return };
        let binary = processes.process.binary.clone();
        self.process(&mut processes.process);
        if let Some(parent) = &mut processes.parent {
            self.process(parent);
        }
        for ancestor in &mut processes.ancestors {
            self.process(ancestor);
        }
        for argument in event.arguments_mut() {
            match &mut argument.value {
                Some(Value::String(text)) => self.text(&binary, text),
                Some(Value::Bytes(bytes)) => self.bytes(&binary, bytes),
                Some(Value::TruncatedBytes(cut)) => self.bytes(&binary, &mut cut.bytes_arg),
                _ => {}
            }
        }
    }

    fn process(&self, process: &mut Process) {
        self.text(&process.binary, &mut process.arguments);
        for variable in &mut process.environment_variables {
            // Expressions about `KEY=value` find variables as well as arguments.
            let mut assignment = format!("{}={}", variable.key, variable.value);
            self.text(&process.binary, &mut assignment);
            let value = assignment.strip_prefix(&variable.key).and_then(|rest| rest.strip_prefix('='));
            match value {
                Some(value) if value != variable.value => variable.value = value.to_owned(),
                Some(_) => {}
                // The expression covers a part of the name.
                None => REDACTED.clone_into(&mut variable.value),
            }
        }
    }

    /// Redacts a text of a process that runs `binary`.
    pub fn text(&self, binary: &str, text: &mut String) {
        if text.is_empty() {
            return;
        }
        let found = self.any.matches(text);
        for filter in found.iter().filter_map(|index| self.filters.get(index)) {
            if !filter.binaries.is_empty() && !filter.binaries.iter().any(|name| name.is_match(binary)) {
                continue;
            }
            if let Cow::Owned(redacted) = filter.redact(text) {
                *text = redacted;
            }
        }
    }

    /// Redacts the parts of a buffer that are text.
    fn bytes(&self, binary: &str, bytes: &mut Vec<u8>) {
        let mut redacted = Vec::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            let mut text = chunk.valid().to_owned();
            self.text(binary, &mut text);
            redacted.extend_from_slice(text.as_bytes());
            redacted.extend_from_slice(chunk.invalid());
        }
        *bytes = redacted;
    }
}

impl Filter {
    /// Replaces the groups of each match. A group within one that was replaced is part of it.
    fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut redacted = String::new();
        let mut done = 0;
        for found in self.expression.captures_iter(text) {
            for group in found.iter().skip(1).flatten() {
                if group.start() < done || group.is_empty() {
                    continue;
                }
                redacted.push_str(&text[done..group.start()]);
                redacted.push_str(REDACTED);
                done = group.end();
            }
        }
        if done == 0 {
            return Cow::Borrowed(text);
        }
        redacted.push_str(&text[done..]);
        Cow::Owned(redacted)
    }
}

#[cfg(test)]
mod tests;
