//! Reads Prometheus' text exposition format ("Text format details" in its documentation of exposition formats).
//!
//! Ours because the crates that read it are no longer kept up, or copy every label of every sample: an agent may export tens
//! of thousands of series.

use std::{borrow::Cow, fmt};

/// Names and values of labels, in the order of the text.
pub type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// One series and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name.
    pub metric: &'a str,
    /// Its labels.
    pub labels: Labels<'a>,
    /// The value.
    pub value: f64,
}

impl Sample<'_> {
    /// The value of a label; empty where there is no such label, which means the same to Prometheus.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(of, _)| *of == name).map_or("", |(_, value)| value)
    }

    /// The value of a counter, which is whole and not negative.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters are whole and not negative; the cast saturates"
    )]
    pub fn count(&self) -> u64 {
        self.value as u64
    }
}

/// A line that is neither a comment nor a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed<'a>(pub &'a str);

impl fmt::Display for Malformed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a sample of Prometheus' text format: {}", self.0)
    }
}

/// All samples, in the order of the text.
pub fn samples(text: &str) -> impl Iterator<Item = Result<Sample<'_>, Malformed<'_>>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| sample(line).ok_or(Malformed(line)))
}

/// The samples of one metric; malformed lines are left out.
pub fn samples_of<'a>(text: &'a str, metric: &str) -> impl Iterator<Item = Sample<'a>> {
    text.lines()
        .filter(move |line| line.trim_start().starts_with(metric))
        .filter_map(|line| sample(line.trim()))
        .filter(move |sample| sample.metric == metric)
}

/// `name{label="value",…} number [time]`.
fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' ', '\t'])?;
    let (metric, rest) = line.split_at(end);
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { metric, labels, value })
}

/// Labels with their values, and the text behind the closing brace.
fn labels(mut rest: &str) -> Option<(Labels<'_>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.push((name.trim_end(), value));
        rest = after;
    }
}

/// A value up to its closing quote, and the text behind it.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let end = text.find(['"', '\\'])?;
    if text.as_bytes()[end] == b'"' {
        return Some((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = text[..end].to_owned();
    let mut letters = text[end..].char_indices();
    loop {
        match letters.next()? {
            (at, '"') => return Some((Cow::Owned(value), &text[end + at + 1..])),
            (_, '\\') => match letters.next()? {
                (_, 'n') => value.push('\n'),
                (_, letter) => value.push(letter),
            },
            (_, letter) => value.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Sample<'_>> {
        samples(text).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn metrics_with_and_without_labels() {
        let text = "# HELP a b\n# TYPE a counter\na{x=\"1\",y=\"q\\\"u\\\\o,te}\\n\"} 3\na_other{x=\"1\"} 4\nb 7\nc{} 1\n\n";
        let found = all(text);
        assert_eq!(found.len(), 4);
        assert_eq!((found[0].metric, found[0].label("y"), found[0].count()), ("a", "q\"u\\o,te}\n", 3));
        assert_eq!(found[0].label("none"), "");
        assert_eq!((found[2].metric, found[2].count(), found[2].labels.len()), ("b", 7, 0));
        let of_a: Vec<_> = samples_of(text, "a").map(|sample| sample.count()).collect();
        assert_eq!(of_a, [3]);
    }

    #[test]
    fn all_that_the_format_allows() {
        for (line, count) in [
            ("m{a=\"b\",} 1e3 1700000000", 1_000),
            ("m { a = \"b\" } 5", 5),
            ("  m\t6  ", 6),
            ("m{a=\"\u{e9}\\\u{e9}\"} 7", 7),
            ("m +Inf", u64::MAX),
        ] {
            let found = all(line);
            assert_eq!((found[0].metric, found[0].count()), ("m", count), "{line}");
        }
        assert!(all("m NaN")[0].value.is_nan());
    }

    #[test]
    fn broken_lines_are_reported() {
        for line in ["m", "m{", "m{a=\"b", "m{a=\"b\\", "m{a=b} 1", "m{a=\"b\"}", "m x", "m{a=\"b\" 1"] {
            assert_eq!(samples(line).next(), Some(Err(Malformed(line))), "{line}");
            assert_eq!(samples_of(line, "m").count(), 0, "{line}");
        }
        let text = "m 1\nbroken\nm 2";
        assert_eq!(samples_of(text, "m").count(), 2);
        assert_eq!(samples(text).filter(Result::is_err).count(), 1);
    }
}
