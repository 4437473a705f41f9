//! Sums of counts and their rates.

use std::{collections::BTreeMap, time::Duration};

use super::{
    By,
    counts::{Counts, Key},
};

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    /// Events per second between the two scrapes.
    pub(super) rate: f64,
    /// Events so far.
    pub(super) total: u64,
}

/// The rows for two scrapes. The highest rate comes first, then the highest total.
///
/// A counter that went down has restarted, so all of its events are new. So are those of a new counter.
pub(super) fn rows(before: &Counts, after: &Counts, elapsed: Duration, by: By) -> Vec<Row> {
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (key, total) in &after.events {
        let earlier = before.events.get(key).copied().unwrap_or(0);
        let new = total.checked_sub(earlier).unwrap_or(*total);
        let sum = sums.entry(name(key, by)).or_default();
        sum.0 += new;
        sum.1 += total;
    }
    let mut rows: Vec<Row> =
        sums.into_iter().map(|(name, (new, total))| Row { name, rate: rate(new, elapsed), total }).collect();
    rows.sort_by(|one, other| other.rate.total_cmp(&one.rate).then(other.total.cmp(&one.total)));
    rows
}

#[allow(clippy::cast_precision_loss, reason = "a rate is shown with one digit behind the point")]
fn rate(new: u64, elapsed: Duration) -> f64 {
    new as f64 / elapsed.as_secs_f64().max(0.001)
}

fn name(key: &Key, by: By) -> String {
    match by {
        By::Policy => key.policy.clone(),
        By::Workload if key.workload.is_empty() && key.namespace.is_empty() => "(host)".into(),
        By::Workload => format!("{}/{}", key.namespace, key.workload),
        By::Binary if key.binary.is_empty() => "(unknown)".into(),
        By::Binary => key.binary.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::counts::tests::{TEXT, counts},
        *,
    };

    fn plain(rows: &[Row]) -> Vec<(&str, u64, u64)> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole in these tests")]
        rows.iter().map(|row| (row.name.as_str(), row.rate as u64, row.total)).collect()
    }

    #[test]
    fn the_busiest_come_first() {
        let after = counts(&TEXT.replace(" 2\n", " 42\n"));
        let second = Duration::from_secs(2);
        let of = |by| rows(&counts(TEXT), &after, second, by);
        assert_eq!(plain(&of(By::Policy)), [("sudo-invocations", 20, 42), ("files", 0, 7)]);
        assert_eq!(plain(&of(By::Workload)), [("(host)", 20, 42), ("test/a", 0, 7)]);
        assert_eq!(plain(&of(By::Binary)), [("/usr/bin/sudo", 20, 42), ("/usr/bin/cat", 0, 7)]);
    }

    #[test]
    fn a_counter_that_begins_anew_has_no_negative_rate() {
        let after = counts(&TEXT.replace(" 2\n", " 1\n"));
        let rows = rows(&counts(TEXT), &after, Duration::from_secs(1), By::Policy);
        assert_eq!(plain(&rows), [("sudo-invocations", 1, 1), ("files", 0, 7)]);
    }
}
