//! `gatewatch top`: live counts of agents.

mod counts;
mod scrape;
mod screen;
mod table;

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use counts::Counts;
use scrape::Client;
use table::{Row, rows};

/// What `gatewatch top` is asked for.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// What to group counts by at the start
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// Time between two scrapes, from 100ms to 1h
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = interval)]
    interval: Duration,
    /// Print the counts of one interval as a table and exit (the default without a terminal)
    #[arg(long)]
    once: bool,
    /// Metrics endpoints of agents; the counts of several are added up
    #[arg(default_value = "http://localhost:2112/metrics", value_name = "URL")]
    urls: Vec<String>,
}

/// The grouping of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// Policy
    #[default]
    Policy,
    /// Namespace and workload; host processes are one group
    Workload,
    /// Program
    Binary,
}

impl By {
    fn heading(self) -> &'static str {
        match self {
            Self::Policy => "POLICY",
            Self::Workload => "WORKLOAD",
            Self::Binary => "BINARY",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Policy => Self::Workload,
            Self::Workload => Self::Binary,
            Self::Binary => Self::Policy,
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text)
        .map_err(|_| format!("invalid duration {text:?}: expected a number and a unit, for example 2s"))?;
    if (Duration::from_millis(100)..=Duration::from_hours(1)).contains(&interval) {
        Ok(interval)
    } else {
        Err(format!("invalid duration {text:?}: expected 100ms to 1h"))
    }
}

/// Shows counts until the user quits.
pub(crate) fn run(arguments: &Top) -> Result<()> {
    let client = Client::new(&arguments.urls)?;
    let interval = arguments.interval;
    if arguments.once || !io::stdout().is_terminal() {
        return once(&client, interval, arguments.by);
    }
    screen::run(&client, interval, arguments.by)
}

/// Prints one table from two scrapes. An agent that does not answer is an error.
fn once(client: &Client, interval: Duration, by: By) -> Result<()> {
    let scrape = || {
        let scrape = client.scrape();
        match scrape.failures.first() {
            Some(failure) => bail!("{failure}"),
            None => Ok(scrape.counts),
        }
    };
    let (before, start) = (scrape()?, Instant::now());
    thread::sleep(interval);
    let after = scrape()?;
    print(&rows(&before, &after, start.elapsed(), by), by)
}

fn print(rows: &[Row], by: By) -> Result<()> {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(by.heading().len());
    let mut text = format!("{:width$} {:>10} {:>12}\n", by.heading(), "EVENTS/S", "EVENTS");
    for Row { name, rate, total } in rows {
        let _ = writeln!(text, "{name:width$} {rate:>10.1} {total:>12}");
    }
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
