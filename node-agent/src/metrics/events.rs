//! The series of events, which are nearly all that is written.
//!
//! They come sorted, each once, and made of few texts: so each text is made ready once, and the answer has room for all
//! series before the first is written.

use std::{borrow::Cow, fmt::Write as _};

use super::{
    Metric,
    family::{escape, head},
};
use crate::series::{Row, Samples};

/// Writes them; nothing where there are none.
pub(super) fn write(metric: &Metric, samples: &Samples, text: &mut String) {
    if samples.is_empty() {
        return;
    }
    head(metric, text);
    let texts: Vec<Cow<'_, str>> = samples.texts().map(ready).collect();
    let part = |place: u32| texts.get(place as usize).map_or("", |text| text);
    let before: Vec<String> = metric
        .labels
        .iter()
        .enumerate()
        .map(
            |(i, label)| {
                if i == 0 { format!("{}{{{label}=\"", metric.name) } else { format!("\",{label}=\"") }
            },
        )
        .collect();
    // What comes around the labels' values.
    let around = before.iter().map(String::len).sum::<usize>() + "\"} \n".len();
    let digits = |value: u64| value.checked_ilog10().map_or(1, |log| log as usize + 1);
    let length = |row: &Row| {
        row.labels.iter().map(|place| part(*place).len()).sum::<usize>() + around + digits(row.value)
    };
    text.reserve_exact(samples.rows().iter().map(length).sum());
    for Row { labels, value } in samples.rows() {
        for (before, place) in before.iter().zip(labels) {
            text.push_str(before);
            text.push_str(part(*place));
        }
        // Writing to a String can't fail.
        let _ = writeln!(text, "\"}} {value}");
    }
}

/// As it stands between quotes.
fn ready(text: &str) -> Cow<'_, str> {
    if text.contains(['\\', '"', '\n']) {
        let mut escaped = String::new();
        escape(text, &mut escaped);
        Cow::Owned(escaped)
    } else {
        Cow::Borrowed(text)
    }
}
