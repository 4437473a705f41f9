//! The series as a scrape sees them.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    entry::{Entry, Key},
    names::Names,
};

/// The labels of `tetragon_policy_events_total`, in the order in which they are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels<'a> {
    /// Path of the calling process's program.
    pub binary: &'a str,
    /// The label of the hook's point.
    pub hook: &'a str,
    /// The pod's namespace; empty for the host.
    pub namespace: &'a str,
    /// The pod's name; empty for the host. For a pod that is not listed, its uid.
    pub pod: &'a str,
    /// The policy's name.
    pub policy: &'a str,
    /// Name of the pod's workload; empty for the host.
    pub workload: &'a str,
}

/// One series and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Which series.
    pub labels: Labels<'a>,
    /// Events so far.
    pub value: u64,
}

/// All series and their values, sorted by labels, each set of labels once. Each label's text is there once, too: a series
/// takes 32 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// Sorted, so that numbers compare as their texts do.
    texts: Vec<Arc<str>>,
    rows: Vec<Row>,
    /// Places of hook, namespace, pod and policy, and when the last event was counted there, in milliseconds since 1970.
    last_events: BTreeMap<[u32; 4], u64>,
}

/// When a policy's hook last counted an event of a pod or of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastEvent<'a> {
    /// The label of the hook's point.
    pub hook: &'a str,
    /// As in [`Labels`].
    pub namespace: &'a str,
    /// As in [`Labels`].
    pub pod: &'a str,
    /// The policy's name.
    pub policy: &'a str,
    /// In milliseconds since 1970.
    pub milliseconds: u64,
}

/// A series and its value, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Places among [`Samples::texts`], in the order of [`Labels`].
    pub labels: [u32; 6],
    /// Events so far.
    pub value: u64,
}

impl Samples {
    /// Takes them as they are now.
    pub(super) fn new<'a>(
        names: &Names,
        series: impl ExactSizeIterator<Item = (&'a Key, &'a Entry)>,
    ) -> Self {
        let (texts, places) = names.sorted();
        let place = |number: u32| places.get(number as usize).copied().unwrap_or(0);
        let mut rows = Vec::with_capacity(series.len());
        let mut last_events: BTreeMap<[u32; 4], u64> = BTreeMap::new();
        for (key, entry) in series {
            let labels = key.names().map(|n| place(n.0));
            rows.push(Row { labels, value: entry.value });
            if entry.grown > 0 {
                let [_, hook, namespace, pod, policy, _] = labels;
                let last = last_events.entry([hook, namespace, pod, policy]).or_default();
                *last = entry.grown.max(*last);
            }
        }
        rows.sort_by_cached_key(|row: &Row| in_two(row.labels));
        Self { texts, rows, last_events }
    }

    /// The last event of each hook and pod of which the time is known.
    pub fn last_events(&self) -> impl Iterator<Item = LastEvent<'_>> {
        self.last_events.iter().map(|(places, milliseconds)| {
            let [hook, namespace, pod, policy] = places.map(|place| self.text(place));
            LastEvent { hook, namespace, pod, policy, milliseconds: *milliseconds }
        })
    }

    fn text(&self, place: u32) -> &str {
        self.texts.get(place as usize).map_or("", |text| text)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The texts that rows speak of by number.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.texts.iter().map(|text| &**text)
    }

    /// The series by numbers.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The series by texts.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Sample<'_>> {
        self.rows.iter().map(|row| {
            let [binary, hook, namespace, pod, policy, workload] = row.labels.map(|place| self.text(place));
            Sample { labels: Labels { binary, hook, namespace, pod, policy, workload }, value: row.value }
        })
    }
}

/// Labels as two numbers that are ordered as they are: quicker to compare, ten thousand times over.
fn in_two(labels: [u32; 6]) -> (u128, u64) {
    let two = |i: usize| u64::from(labels[i]) << 32 | u64::from(labels[i + 1]);
    (u128::from(two(0)) << 64 | u128::from(two(2)), two(4))
}

/// What has the same labels is summed.
impl<'a> FromIterator<Sample<'a>> for Samples {
    fn from_iter<I: IntoIterator<Item = Sample<'a>>>(samples: I) -> Self {
        let (mut names, mut series) = (Names::default(), foldhash::HashMap::<Key, Entry>::default());
        for Sample { labels: l, value } in samples {
            let texts = [l.binary, l.hook, l.namespace, l.pod, l.policy, l.workload];
            series.entry(Key::new(texts.map(|text| names.name(text)))).or_default().value += value;
        }
        Self::new(&names, series.iter())
    }
}
