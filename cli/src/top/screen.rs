//! The screen: a table, redrawn after each scrape, and the keys.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row as Cells, Table},
};

use super::{
    By, Counts,
    scrape::{Client, Scrape},
    table::rows,
};

/// Interval of polling the keyboard.
const TICK: Duration = Duration::from_millis(100);

/// The state of the screen.
#[derive(Debug)]
struct View {
    by: By,
    paused: bool,
    /// The first visible row.
    first: usize,
    before: Counts,
    after: Counts,
    elapsed: Duration,
    failures: Vec<String>,
}

/// Shows the screen until the user quits.
pub(super) fn run(client: &Client, interval: Duration, by: By) -> Result<()> {
    let mut terminal = ratatui::try_init().context("cannot draw on this terminal; use --once")?;
    thread::scope(|scope| {
        let (sender, scrapes) = mpsc::sync_channel(1);
        scope.spawn(move || {
            // Ends when the screen closes and drops its receiver.
            while sender.send((Instant::now(), client.scrape())).is_ok() {
                thread::sleep(interval);
            }
        });
        let shown = show(&mut terminal, &scrapes, by);
        drop(scrapes);
        // The terminal is restored at once, even while a scrape is running.
        let _ = ratatui::try_restore();
        shown
    })
}

fn show(terminal: &mut DefaultTerminal, scrapes: &mpsc::Receiver<(Instant, Scrape)>, by: By) -> Result<()> {
    let mut view = View::new(by);
    let mut last: Option<Instant> = None;
    loop {
        if let Ok((when, scrape)) = scrapes.try_recv()
            && !view.paused
        {
            view.update(scrape, last.map_or(Duration::ZERO, |last| when - last));
            last = Some(when);
        }
        terminal.draw(|frame| view.draw(frame))?;
        if event::poll(TICK)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
            && view.handle_key(key)
        {
            return Ok(());
        }
    }
}

impl View {
    fn new(by: By) -> Self {
        Self {
            by,
            paused: false,
            first: 0,
            before: Counts::default(),
            after: Counts::default(),
            elapsed: Duration::ZERO,
            failures: Vec::new(),
        }
    }

    fn update(&mut self, scrape: Scrape, elapsed: Duration) {
        // Counts from before the first scrape are not new.
        self.before = if elapsed.is_zero() { scrape.counts.clone() } else { std::mem::take(&mut self.after) };
        self.after = scrape.counts;
        self.elapsed = elapsed;
        self.failures = scrape.failures;
    }

    /// Handles a key. Returns whether the user quits.
    fn handle_key(&mut self, key: KeyEvent) -> bool {
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Tab => self.by = self.by.next(),
            KeyCode::Char('p') => self.by = By::Policy,
            KeyCode::Char('w') => self.by = By::Workload,
            KeyCode::Char('b') => self.by = By::Binary,
            KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Down | KeyCode::Char('j') => self.first += 1,
            KeyCode::Up | KeyCode::Char('k') => self.first = self.first.saturating_sub(1),
            KeyCode::Home => self.first = 0,
            _ => {}
        }
        false
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = rows(&self.before, &self.after, self.elapsed, self.by);
        self.first = self.first.min(rows.len().saturating_sub(1));
        let [head, body, foot] =
            Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)])
                .areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let heading = Cells::new([self.by.heading(), "  EVENTS/S", "      EVENTS"]).style(bold);
        let lines = rows.iter().skip(self.first).map(|row| {
            let style = if row.rate > 0.0 { Style::new() } else { Style::new().fg(Color::DarkGray) };
            let numbers = [format!("{:>10.1}", row.rate), format!("{:>12}", row.total)];
            let [rate, total] = numbers.map(Cell::from);
            Cells::new([Cell::from(row.name.as_str()), rate, total]).style(style)
        });
        let widths = [Constraint::Min(20), Constraint::Length(10), Constraint::Length(12)];
        frame.render_widget(Table::new(lines, widths).header(heading), body);
        let keys = "q quit · tab, p policy, w workload, b binary · space pause · ↑↓ scroll";
        frame.render_widget(Paragraph::new(keys).style(Style::new().fg(Color::DarkGray)), foot);
    }

    fn head(&self) -> Vec<Line<'_>> {
        let Counts { lost, running, not_running, .. } = &self.after;
        let alarm = |bad: bool| if bad { Style::new().fg(Color::Red) } else { Style::new() };
        let mut first = vec![
            Span::from(format!("policies running: {running}")),
            Span::styled(format!("  not running: {not_running}"), alarm(*not_running > 0)),
            Span::styled(format!("  lost: {lost}"), alarm(*lost > 0)),
        ];
        if self.paused {
            first.push(Span::styled("  (paused)", Style::new().fg(Color::Yellow)));
        }
        let second = self.failures.first().map_or("", String::as_str);
        vec![Line::from(first), Line::styled(second, Style::new().fg(Color::Red))]
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{
        super::counts::tests::{TEXT, counts},
        *,
    };

    fn drawn(view: &mut View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(60, 8)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    fn scrape(text: &str, failures: &[&str]) -> Scrape {
        let failures = failures.iter().map(|&failure| failure.to_owned()).collect();
        Scrape { counts: counts(text), failures }
    }

    #[test]
    fn rates_are_those_of_the_last_interval() {
        let mut view = View::new(By::Policy);
        view.update(scrape(TEXT, &[]), Duration::ZERO);
        let text = drawn(&mut view);
        assert!(text.contains("sudo-invocations") && text.contains("0.0"), "{text}");
        assert!(text.contains("not running: 1") && text.contains("lost: 5"), "{text}");
        view.update(scrape(&TEXT.replace(" 2\n", " 42\n"), &[]), Duration::from_secs(2));
        assert!(drawn(&mut view).contains("20.0"));
    }

    #[test]
    fn keys_change_what_is_shown() {
        let mut view = View::new(By::Policy);
        view.update(scrape(TEXT, &["http://a returns no metrics"]), Duration::ZERO);
        assert!(!view.handle_key(KeyEvent::from(KeyCode::Tab)));
        let text = drawn(&mut view);
        assert!(text.contains("test/a") && text.contains("returns no metrics"), "{text}");
        view.handle_key(KeyEvent::from(KeyCode::Char('b')));
        // Scrolling past the end keeps the last row visible.
        (0..9).for_each(|_| assert!(!view.handle_key(KeyEvent::from(KeyCode::Down))));
        let text = drawn(&mut view);
        assert!(text.contains("/usr/bin/sudo") && !text.contains("/usr/bin/cat"), "{text}");
        assert!(view.handle_key(KeyEvent::from(KeyCode::Char('q'))));
    }
}
