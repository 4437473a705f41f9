//! `GetUrl` and `DnsLookup`: policy authors make the agent, which is privileged on every node, access the network.

use std::net::IpAddr;

use super::located::LocatedPolicy;
use crate::{
    codes::EGRESS,
    diagnostic::{Diagnostic, FieldPath, Severity},
    model::{Action, ActionKind},
    values::integer,
};

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for (selector, path) in places.selectors() {
        for (name, i, action) in selector.actions() {
            judge(action, &path.field(name).index(i), found);
        }
    }
}

fn judge(action: &Action, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let (kind, field, url) = match action.kind {
        Some(kind @ ActionKind::GetUrl) => (kind, "argUrl", true),
        Some(kind @ ActionKind::DnsLookup) => (kind, "argFqdn", false),
        _ => return,
    };
    let target = action.fields.get(field).map(String::as_str).unwrap_or_default();
    let host = if url { host(target) } else { Some(target) };
    let (severity, message) = match host.filter(|host| !host.is_empty()) {
        None => (Severity::Error, format!("`{kind}` has no target: `{field}` is {target:?}")),
        Some(host) if internal(host) => (
            Severity::Error,
            format!(
                "`{kind}` makes the agent on every node contact `{host}` inside the cluster or node: policy authors \
                 could reach what only nodes can"
            ),
        ),
        Some(host) => (
            Severity::Warning,
            format!("`{kind}` makes the privileged agent on every node contact `{host}` on each match"),
        ),
    };
    let diagnostic = Diagnostic::new(&EGRESS, path.field(field), message).severity(severity);
    found.push(if severity == Severity::Warning && url && !target.starts_with("https://") {
        diagnostic.help("use HTTPS at least, so that the traffic cannot be read or changed in transit")
    } else {
        diagnostic.help("count the match and alert on the counter instead")
    });
}

/// The host of `scheme://user@host:port/path`.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => host.split(':').next(),
    }
}

/// Whether a name or address is of the cluster, the node or the link.
fn internal(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(v4)) => {
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()
                // Shared address space, 100.64.0.0/10 of RFC 6598.
                || v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64
        }
        Ok(IpAddr::V6(v6)) => {
            v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()
        }
        Err(_) => {
            !host.contains('.')
                || [".svc", ".local", ".internal", ".localhost"].iter().any(|end| host.ends_with(end))
                // Other ways to write an IPv4 address.
                || host.split('.').all(|part| integer(part).is_ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::check_spec;

    fn severity(action: &str) -> Severity {
        let found = check_spec(&format!(
            "kprobes: [{{call: sys_dup, message: ok, selectors: [{{matchActions: [{action}]}}]}}]"
        ));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].code.id, "GW504");
        found[0].severity
    }

    #[test]
    fn targets() {
        assert_eq!(severity("{action: GetUrl, argUrl: 'https://example.com/a'}"), Severity::Warning);
        assert_eq!(severity("{action: DnsLookup, argFqdn: canary.example.com}"), Severity::Warning);
        for inside in [
            "http://169.254.169.254/latest",
            "http://10.0.0.1:80",
            "https://u:p@127.0.0.1/",
            "http://[::1]/",
            "http://api.default.svc",
            "http://kubernetes/",
            "http://0x7f.1/",
            "http://100.64.1.1/",
        ] {
            assert_eq!(
                severity(&format!("{{action: GetUrl, argUrl: '{inside}'}}")),
                Severity::Error,
                "{inside}"
            );
        }
        for empty in [
            "{action: GetUrl}",
            "{action: GetUrl, argUrl: ''}",
            "{action: GetUrl, argUrl: x}",
            "{action: DnsLookup}",
        ] {
            assert_eq!(severity(empty), Severity::Error, "{empty}");
        }
    }
}
