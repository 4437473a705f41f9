//! Reading metrics as Prometheus does: over HTTP, as text.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

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
    text.lines().filter_map(|line| sample(line, metric)).collect()
}

fn sample(line: &str, metric: &str) -> Option<(Labels, f64)> {
    let rest = line.strip_prefix(metric)?;
    if let Some(value) = rest.strip_prefix(' ') {
        return Some((Labels::new(), value.trim().parse().ok()?));
    }
    let mut rest = rest.strip_prefix('{')?;
    let mut labels = Labels::new();
    while !rest.starts_with('}') {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (at, '"') => break at,
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
        rest = after[end + 1..].trim_start_matches(',');
    }
    Some((labels, rest.strip_prefix('}')?.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::samples;

    #[test]
    fn reads_what_an_exposition_writes() {
        let text = "# HELP a b\na{x=\"1\",y=\"q\\\"u\\\\o,te}\"} 3\na_other{x=\"1\"} 4\nb 7\n";
        let found = samples(text, "a");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0["y"], "q\"u\\o,te}");
        assert_eq!(found[0].1.to_string(), "3");
        assert_eq!(samples(text, "b")[0].1.to_string(), "7");
    }
}
