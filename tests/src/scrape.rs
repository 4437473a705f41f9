//! Reading metrics as Prometheus does: over HTTP, as text.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use gatewatch_exposition::{Sample, samples_of};

/// The counter of matched events.
pub const EVENTS: &str = "tetragon_policy_events_total";

/// Gets a path; gives status code and body.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok((status, body.to_owned()))
}

/// A series: labels by name.
pub type Labels = BTreeMap<String, String>;

/// The samples of one metric.
pub fn samples(text: &str, metric: &str) -> Vec<(Labels, f64)> {
    let owned = |sample: Sample<'_>| {
        let labels = sample.labels.into_iter().map(|(name, value)| (name.to_owned(), value.into_owned()));
        (labels.collect(), sample.value)
    };
    samples_of(text, metric).map(owned).collect()
}
