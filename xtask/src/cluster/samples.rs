//! Samples in Prometheus' text format, as far as the agent writes them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

/// The counter of events.
pub(crate) const EVENTS: &str = "tetragon_policy_events_total";

/// One series and its value.
#[derive(Debug, PartialEq)]
pub(crate) struct Sample {
    labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    /// The value of a label; empty where there is no such label, which is the same to Prometheus.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// The samples of [`EVENTS`].
pub(crate) fn events(text: &str) -> Result<Vec<Sample>> {
    text.lines()
        .filter_map(|line| line.strip_prefix(EVENTS)?.strip_prefix('{'))
        .map(|rest| sample(rest).with_context(|| format!("not a sample: {rest}")))
        .collect()
}

/// What comes after the opening brace: `name="value",…} value`.
fn sample(mut rest: &str) -> Option<Sample> {
    let mut labels = BTreeMap::new();
    while let Some((name, after)) = rest.split_once("=\"") {
        let (value, after) = quoted(after)?;
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = after;
        if let Some(number) = rest.strip_prefix('}') {
            return Some(Sample { labels, value: number.split_whitespace().next()?.parse().ok()? });
        }
    }
    None
}

/// A label's value up to its closing quote, and what follows. `\\`, `\"` and `\n` stand for one character.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()? {
                (_, 'n') => value.push('\n'),
                (_, letter) => value.push(letter),
            },
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let text = "# HELP tetragon_policy_events_total Policy events calls observed.\n\
                    tetragon_policy_events_total{binary=\"/a \\\"b\\\"\",pod=\"x}y\",policy=\"\"} 12\nother{a=\"b\"} 1\n";
        let samples = events(text).unwrap();
        assert_eq!(samples.len(), 1);
        assert_eq!((samples[0].label("binary"), samples[0].label("pod")), ("/a \"b\"", "x}y"));
        assert_eq!((samples[0].label("policy"), samples[0].label("none")), ("", ""));
        assert!((samples[0].value - 12.0).abs() < f64::EPSILON);
        assert!(events("tetragon_policy_events_total{binary=\"x} 1\n").is_err());
    }
}
