//! `gatewatch top`: live counts of agents.

mod counts;
mod scrape;
mod screen;
mod table;

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

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
    /// Seconds between two scrapes
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS", value_parser = seconds)]
    interval: f64,
    /// Print the counts of one interval as a table and exit (the default without a terminal)
    #[arg(long)]
    once: bool,
    /// Metrics endpoints of agents; the counts of several are added up
    #[arg(default_value = "http://localhost:2112/metrics", value_name = "URL")]
    urls: Vec<String>,
}

/// What counts are added up by.
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

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is not a number"))?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("expected 0.1 to 3600".into()) }
}

/// Looks until the person has seen enough.
pub(crate) fn run(arguments: &Top) -> Result<()> {
    let client = Client::new(&arguments.urls)?;
    let interval = Duration::from_secs_f64(arguments.interval);
    if arguments.once || !io::stdout().is_terminal() {
        return once(&client, interval, arguments.by);
    }
    screen::run(&client, interval, arguments.by)
}

/// Two looks, one table. An agent that doesn't answer is an error.
fn once(client: &Client, interval: Duration, by: By) -> Result<()> {
    let look = || {
        let look = client.look();
        match look.failures.first() {
            Some(failure) => bail!("{failure}"),
            None => Ok(look.counts),
        }
    };
    let (before, begun) = (look()?, Instant::now());
    thread::sleep(interval);
    let after = look()?;
    print(&rows(&before, &after, begun.elapsed(), by), by)
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
