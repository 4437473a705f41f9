//! What long work says: a spinner with the last line of its output on a terminal, one line at begin and end elsewhere.

use std::{
    io::{self, IsTerminal as _},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

static QUIET: AtomicBool = AtomicBool::new(false);

/// Says nothing from now on, until something fails.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether [`be_quiet`] was called.
pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// One line to the person at the terminal. Standard output is left to what a task is asked for.
pub(crate) fn say(line: &str) {
    if !is_quiet() {
        eprintln!("xtask: {line}");
    }
}

/// A piece of work that takes long enough to be waited for.
#[derive(Debug)]
pub(crate) struct Step {
    what: String,
    began: Instant,
    spinner: Option<ProgressBar>,
}

impl Step {
    /// Says that `what` begins.
    pub(crate) fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        let spinner = (!is_quiet() && io::stderr().is_terminal()).then(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} ({elapsed}) {wide_msg:.dim}")
            {
                spinner.set_style(style);
            }
            spinner.set_prefix(what.clone());
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        if spinner.is_none() {
            say(&format!("{what} ..."));
        }
        Self { what, began: Instant::now(), spinner }
    }

    /// Shows a line of the work's own output, where there is a place for it.
    pub(crate) fn note(&self, line: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(line.trim().to_owned());
        }
    }

    /// Says that the work is done, and how long it took.
    pub(crate) fn done(self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        say(&format!("{}: done in {:.1} s", self.what, self.began.elapsed().as_secs_f64()));
    }
}
