//! The head of a `CONNECT` request.

use std::{fmt, net::SocketAddr};

/// The longest head that is read.
pub(crate) const LIMIT: usize = 4096;

/// Why a request is rejected: the status line's code and words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    OtherProtocol,
    OtherMethod(String),
    BadAddress(String),
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherProtocol => formatter.write_str("400 Bad Request"),
            Self::OtherMethod(method) => write!(formatter, "405 Method Not Allowed ({method})"),
            Self::BadAddress(target) => write!(formatter, "400 Not An Address ({target})"),
        }
    }
}

/// Where a request wants to be connected to. The API server resolves names itself, so this is an address.
pub(crate) fn destination(head: &[u8]) -> Result<SocketAddr, Rejection> {
    let line = head.split(|byte| *byte == b'\r').next().and_then(|line| str::from_utf8(line).ok());
    let mut words = line.ok_or(Rejection::OtherProtocol)?.split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Err(Rejection::OtherProtocol);
    };
    if !version.starts_with("HTTP/1.") {
        return Err(Rejection::OtherProtocol);
    }
    if method != "CONNECT" {
        return Err(Rejection::OtherMethod(printable(method)));
    }
    target.parse().map_err(|_| Rejection::BadAddress(printable(target)))
}

fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let head = b"CONNECT 10.244.0.7:9443 HTTP/1.1\r\nHost: 10.244.0.7:9443\r\n\r\n";
        assert_eq!(destination(head), Ok("10.244.0.7:9443".parse().unwrap()));
        assert_eq!(destination(b"CONNECT [::1]:10250 HTTP/1.1\r\n\r\n"), Ok("[::1]:10250".parse().unwrap()));
    }

    #[test]
    fn anything_else_is_rejected() {
        for (head, rejection) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "405 Method Not Allowed (GET)"),
            (b"CONNECT node:10250 HTTP/1.1\r\n\r\n", "400 Not An Address (node:10250)"),
            (b"CONNECT 10.0.2.15 HTTP/1.1\r\n\r\n", "400 Not An Address (10.0.2.15)"),
            (b"\x16\x03\x01\xff\r\n\r\n", "400 Bad Request"),
            (b"\r\n\r\n", "400 Bad Request"),
        ] {
            assert_eq!(destination(head).unwrap_err().to_string(), rejection);
        }
    }
}
