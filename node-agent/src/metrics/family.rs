//! One metric with all its series, as text.
//!
//! Series are written straight into the answer, from where they are. A model of them in between (as the crate `prometheus`
//! has it) takes several times the memory of the answer.

use std::fmt::Write as _;

/// Name, help, kind and labels of a metric.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    /// Sorted, which is the order in which they are written.
    pub(super) labels: &'static [&'static str],
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

pub(super) const fn counter(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
) -> Metric {
    Metric { name, help, kind: Kind::Counter, labels }
}

pub(super) const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Metric {
    Metric { name, help, kind: Kind::Gauge, labels }
}

/// A metric that is being written down, with `N` labels. Each set of labels is there once, as Prometheus rejects a scrape
/// in which one comes twice.
pub(super) struct Family<'a, const N: usize> {
    metric: &'static Metric,
    series: Vec<([&'a str; N], f64)>,
}

impl<'a, const N: usize> Family<'a, N> {
    pub(super) fn new(metric: &'static Metric) -> Self {
        debug_assert_eq!(metric.labels.len(), N, "{}", metric.name);
        Self { metric, series: Vec::new() }
    }

    /// Adds to the series with these label values, in the order of the metric's labels.
    pub(super) fn add(&mut self, labels: [&'a str; N], value: f64) {
        self.series.push((labels, value));
    }

    /// Writes it: series sorted by labels; nothing where there are none.
    pub(super) fn write(mut self, text: &mut String) {
        let Metric { name, labels, .. } = self.metric;
        if self.series.is_empty() {
            return;
        }
        head(self.metric, text);
        self.series.sort_by_key(|(labels, _)| *labels);
        for same in self.series.chunk_by(|(a, _), (b, _)| a == b) {
            text.push_str(name);
            for (i, (label, value)) in labels.iter().zip(&same[0].0).enumerate() {
                text.push(if i == 0 { '{' } else { ',' });
                text.push_str(label);
                text.push_str("=\"");
                escape(value, text);
                text.push('"');
            }
            if N > 0 {
                text.push('}');
            }
            let value: f64 = same.iter().map(|(_, value)| value).sum();
            // Writing to a String can't fail.
            let _ = writeln!(text, " {value}");
        }
    }
}

/// The lines before a metric's series.
pub(super) fn head(metric: &Metric, text: &mut String) {
    let Metric { name, help, kind, .. } = metric;
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    // Helps are ours, and hold nothing that has to be escaped.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// A label's value as the text format has it ("Text format details" in Prometheus' documentation of exposition formats).
pub(super) fn escape(value: &str, text: &mut String) {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        text.push_str(&rest[..at]);
        text.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}
