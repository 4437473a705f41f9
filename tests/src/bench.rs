//! Benches.

mod event;
mod flood;
mod memory;
mod program;
mod scale;
mod startup;
mod table;
mod usage;
mod world;

use table::Table;

pub use program::execute;

/// What the agent is measured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Instructions of a hooked call.
    Event,
    /// Memory by policies, pods and series.
    Memory,
    /// Time until all policies count.
    Startup,
    /// Instructions of a scrape and of one more policy.
    Scale,
    /// Calls flat out, programs without end, and a full map.
    Flood,
}

/// Measures and prints; false if a budget is broken.
pub fn run(subject: Subject, json: bool) -> bool {
    let (name, measure): (_, fn(&mut Table)) = match subject {
        Subject::Event => ("event", event::measure),
        Subject::Memory => ("memory", memory::measure),
        Subject::Startup => ("startup", startup::measure),
        Subject::Scale => ("scale", scale::measure),
        Subject::Flood => ("flood", flood::measure),
    };
    let mut table = Table::begin(name, json);
    measure(&mut table);
    table.end()
}
