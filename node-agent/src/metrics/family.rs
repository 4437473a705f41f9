//! One metric with all its series.

use std::collections::BTreeMap;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric as Written, MetricFamily, MetricType};

use super::{Kind, Metric};

/// A metric that is being written down. Each set of labels is there once, as Prometheus refuses a scrape in
/// which one comes twice.
pub(super) struct Family {
    metric: &'static Metric,
    series: BTreeMap<Vec<String>, f64>,
}

impl Family {
    pub(super) fn new(metric: &'static Metric) -> Self {
        Self { metric, series: BTreeMap::new() }
    }

    /// Sets the value of the series with these label values, which stand in the order of the metric's labels.
    pub(super) fn set<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        *self.entry(labels) = value;
    }

    /// Adds to it.
    pub(super) fn add<const N: usize>(&mut self, labels: [&str; N], value: f64) {
        *self.entry(labels) += value;
    }

    fn entry<const N: usize>(&mut self, labels: [&str; N]) -> &mut f64 {
        debug_assert_eq!(self.metric.labels.len(), N, "{}", self.metric.name);
        self.series.entry(labels.map(str::to_owned).into()).or_default()
    }

    pub(super) fn encode(self) -> MetricFamily {
        let Metric { name, help, kind, labels } = self.metric;
        let series = self.series.into_iter().map(|(values, value)| {
            let pairs = labels.iter().zip(values).map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name((*name).to_owned());
                pair.set_value(value);
                pair
            });
            let mut written = Written::from_label(pairs.collect());
            match kind {
                Kind::Counter => {
                    let mut counter = Counter::default();
                    counter.set_value(value);
                    written.set_counter(counter);
                }
                Kind::Gauge => {
                    let mut gauge = Gauge::default();
                    gauge.set_value(value);
                    written.set_gauge(gauge);
                }
            }
            written
        });
        let mut family = MetricFamily::default();
        family.set_name((*name).to_owned());
        family.set_help((*help).to_owned());
        family.set_field_type(match kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        });
        family.set_metric(series.collect());
        family
    }
}
