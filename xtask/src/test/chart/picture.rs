//! A picture of Prometheus' own graph page, with the gate's numbers on it, for a person to view:
//! `cargo xtask test chart -- picture`. It needs a Chromium in PATH (Debian's package `chromium`), and so runs only when it
//! is named.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{Tests, render::passes, scrape::Scene};
use crate::{paths, setup::chart::Programs};

/// What is drawn: who was answered what, and how long it took.
const QUERIES: [&str; 2] = [
    "sum by (kind, verdict) (rate(gatewatch_admission_requests_total[30s]))",
    "histogram_quantile(0.99, sum by (le) (rate(gatewatch_admission_duration_seconds_bucket[30s])))",
];
/// Bytes of a PNG of a page with graphs, at least. One whose styles and scripts are missing has 25,000, a whole one 100,000.
const DRAWN: u64 = 60_000;

pub(super) fn run(tests: &mut Tests, programs: &Programs) -> Result<()> {
    let scene = Scene::start(programs)?;
    scene.ask()?;
    let panels: Vec<String> = QUERIES
        .iter()
        .enumerate()
        .map(|(i, query)| format!("g{i}.expr={}&g{i}.tab=0&g{i}.range_input=2m", escaped(query)))
        .collect();
    let picture = paths::target().join("prometheus.png");
    // The page of Debian's package, which leaves the newer one out.
    let page = format!("{}/classic/graph?{}", scene.stack.address(), panels.join("&"));
    let profile = tempfile::tempdir().context("cannot create a folder for the browser")?;
    let mut browser = Command::new("chromium");
    browser.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
    browser.args(["--no-first-run", "--disable-background-networking", "--window-size=1200,1500"]);
    // The page draws when its own requests are answered.
    browser.arg("--virtual-time-budget=15000");
    browser.arg(format!("--user-data-dir={}", profile.path().display()));
    browser.arg(format!("--screenshot={}", picture.display())).arg(page);
    let drawn = passes(&mut browser).and_then(|()| {
        let size = fs::metadata(&picture).context("the browser made no picture")?.len();
        ensure!(size > DRAWN, "the picture has {size} bytes: an empty page");
        Ok(())
    });
    println!("{}", picture.display());
    tests.holds("Prometheus' page is drawn", drawn);
    Ok(())
}

/// As a query of a URL has it (RFC 3986, section 2.1).
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
