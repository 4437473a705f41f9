//! Asking the webhook's port for metrics and probes.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result};
use gatewatch_exposition::samples_of;

/// Status and body of a GET on loopback.
pub(crate) fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("no server listens there")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("the answer breaks off")?;
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no HTTP answer")?;
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

/// The sum of a metric's samples that have these labels.
pub(crate) fn metric(port: u16, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let (_, text) = get(port, "/metrics")?;
    let found = samples_of(&text, name)
        .filter(|sample| labels.iter().all(|(label, value)| sample.label(label) == *value));
    Ok(found.map(|sample| sample.value).sum())
}
