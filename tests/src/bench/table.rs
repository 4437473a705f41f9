//! What a bench prints: a line as soon as it is measured, with the floor and the budget beside it.

use std::{fmt::Write as _, time::Instant};

/// The table of a bench.
pub(super) struct Table {
    bench: &'static str,
    json: bool,
    begun: Instant,
    over: Vec<String>,
}

/// One line of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    what: String,
    value: f64,
    unit: &'static str,
    floor: Option<f64>,
    goal: Option<f64>,
    budget: Option<f64>,
    noise: f64,
}

impl Line {
    pub(super) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, ..Self::default() }
    }

    /// What it is measured against: the same without us, or the least that it could take.
    pub(super) fn floor(self, floor: f64) -> Self {
        Self { floor: Some(floor), ..self }
    }

    /// What it may be. `noise` is the part of it by which runs differ; a budget that is broken by more ends the bench with
    /// an error.
    pub(super) fn budget(self, budget: f64, noise: f64) -> Self {
        Self { budget: Some(budget), noise, ..self }
    }

    /// The goal, below the budget. The table says where it is missed, and the benchmark does not fail.
    pub(super) fn goal(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    fn misses_goal(&self) -> bool {
        self.goal.is_some_and(|goal| self.value > goal * (1.0 + self.noise))
    }

    fn is_over(&self) -> bool {
        self.budget.is_some_and(|budget| self.value > budget * (1.0 + self.noise))
    }
}

impl Table {
    pub(super) fn begin(bench: &'static str, json: bool) -> Self {
        if !json {
            println!(
                "{:<52} {:>12} {:<13} {:>12} {:>8} {:>10}",
                bench, "measured", "", "floor", "× floor", "budget"
            );
        }
        Self { bench, json, begun: Instant::now(), over: Vec::new() }
    }

    /// Says what is being done: a bench takes minutes.
    #[allow(clippy::print_stderr, reason = "standard output is the table's")]
    pub(super) fn progress(&self, what: &str) {
        eprintln!("{:>5} s: {what}", self.begun.elapsed().as_secs());
    }

    pub(super) fn add(&mut self, line: &Line) {
        let Line { what, value, unit, floor, goal, budget, .. } = line;
        let ratio = floor.map(|floor| value / floor);
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = if self.json {
            let or_null = |value: Option<f64>| value.map_or("null".to_owned(), |value| format!("{value}"));
            write!(
                text,
                "{{\"bench\":\"{}\",\"what\":\"{what}\",\"value\":{value},\"unit\":\"{unit}\",\"floor\":{},\"ratio\":{},\
                 \"goal\":{},\"budget\":{},\"over\":{}}}",
                self.bench,
                or_null(*floor),
                or_null(ratio),
                or_null(*goal),
                or_null(*budget),
                line.is_over()
            )
        } else {
            let or_nothing = |value: Option<f64>| value.map_or_else(String::new, number);
            write!(
                text,
                "{what:<52} {:>12} {unit:<13} {:>12} {:>8} {:>10}{}",
                number(*value),
                or_nothing(*floor),
                ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                or_nothing(*budget),
                match (line.is_over(), line.misses_goal()) {
                    (true, _) => " over".to_owned(),
                    (false, true) => format!(" (goal: {})", number(goal.unwrap_or_default())),
                    (false, false) => String::new(),
                }
            )
        };
        println!("{text}");
        if line.is_over() {
            self.over.push(what.clone());
        }
    }

    /// Whether all budgets were kept.
    #[allow(clippy::print_stderr, reason = "standard output is the table's")]
    pub(super) fn end(self) -> bool {
        for what in &self.over {
            eprintln!("over its budget: {what}");
        }
        self.over.is_empty()
    }
}

/// As many digits as say something.
fn number(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_no_failure() {
        let mut table = Table::begin("t", true);
        table.add(&Line::new("less", 10.0, "s").budget(10.0, 0.0));
        table.add(&Line::new("no more than noise", 10.4, "s").floor(2.0).budget(10.0, 0.05));
        table.add(&Line::new("without", 1e9, "s"));
        table.add(&Line::new("a goal is missed", 12.0, "s").goal(10.0).budget(15.0, 0.05));
        assert!(table.over.is_empty());
        table.add(&Line::new("more", 10.6, "s").budget(10.0, 0.05));
        assert!(!table.end());
    }
}
