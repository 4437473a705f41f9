//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Gatewatch's gate: a validating admission webhook for `TracingPolicies` and for what they watch.
#[derive(Debug, Parser)]
#[command(name = "gatewatch-webhook", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub task: Task,
}

/// What the program does.
#[derive(Debug, Subcommand)]
#[expect(clippy::doc_markdown, reason = "the comments are what --help prints")]
pub enum Task {
    /// Serve
    Serve(Box<Serve>),
    /// Print the ValidatingWebhookConfiguration
    Manifests(Manifests),
    /// Print a ValidatingAdmissionPolicy that holds the rules about labels where no webhook answers
    Vap,
}

/// `serve`.
#[derive(Debug, Args)]
#[expect(clippy::doc_markdown, reason = "the comments are what --help prints")]
pub struct Serve {
    /// Where the API server asks
    #[arg(long, env = "GATEWATCH_LISTEN", default_value = "0.0.0.0:9443")]
    pub listen: SocketAddr,
    /// Where to serve /metrics, /healthz and /readyz, without TLS
    #[arg(long, env = "GATEWATCH_METRICS_ADDRESS", default_value = "0.0.0.0:9090")]
    pub metrics_address: SocketAddr,
    /// Kubeconfig of the API server [default: the pod's service account, or else the user's]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The webhook's own namespace: of its Secret, ConfigMap and Lease
    #[arg(long, env = "POD_NAMESPACE", default_value = "gatewatch")]
    pub namespace: String,
    /// This replica's name, for the Lease and in Events [default: the host's]
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// Certificates from this folder (tls.crt, tls.key), which somebody else fills, in place of the webhook's own
    #[arg(long, value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,
    /// The Secret that replicas share their own CA and certificate in
    #[arg(long, value_name = "NAME", default_value = "gatewatch-webhook-tls")]
    pub tls_secret: String,
    /// DNS names and addresses that the certificate is for [default: those of the service]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub tls_names: Vec<String>,
    /// The service by which the API server reaches the webhook
    #[arg(long, value_name = "NAME", default_value = "gatewatch-webhook")]
    pub service: String,
    /// Life of the webhook's own CA
    #[arg(long, value_parser = duration, default_value = "1825d")]
    pub ca_life: Duration,
    /// Life of the webhook's own certificate
    #[arg(long, value_parser = duration, default_value = "90d")]
    pub leaf_life: Duration,
    /// From when a new CA is in caBundle to when it signs
    #[arg(long, value_parser = duration, default_value = "1h")]
    pub ca_settle: Duration,
    /// How often certificates are looked at
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub tls_poll: Duration,
    /// The ValidatingWebhookConfigurations whose caBundle follows the webhook's own CA
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = crate::registration::NAME)]
    pub registrations: Vec<String>,
    /// The ConfigMap with the modes
    #[arg(long, value_name = "NAME", default_value = "gatewatch-modes")]
    pub modes: String,
    /// The Lease of the replica that writes PolicyCoverage and Events
    #[arg(long, value_name = "NAME", default_value = "gatewatch-webhook")]
    pub lease: String,
    /// How often every policy's coverage is looked at again, changed or not
    #[arg(long, value_parser = duration, default_value = "10m")]
    pub recheck: Duration,
    /// The folder of the pages about diagnostics
    #[arg(long, value_name = "URL", default_value = DOCS)]
    pub docs_url: String,
    /// From SIGTERM to when no more connections are taken: the time in which the cluster learns of the end
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub drain: Duration,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// Where the pages are.
const DOCS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/tree/main/docs/codes");

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line
    Json,
    /// For people
    Text,
}

/// `manifests`.
#[derive(Debug, Args)]
pub struct Manifests {
    /// Name of the registration
    #[arg(long, default_value = crate::registration::NAME)]
    pub name: String,
    /// Reach the webhook by this URL in place of a service: https://HOST:PORT
    #[arg(long)]
    pub url: Option<String>,
    /// The webhook's own namespace
    #[arg(long, default_value = "gatewatch")]
    pub namespace: String,
    /// The webhook's service
    #[arg(long, default_value = "gatewatch-webhook")]
    pub service: String,
    /// The service's port
    #[arg(long, default_value_t = 443)]
    pub port: u16,
    /// What holds for policies while no webhook answers
    #[arg(long, value_enum, default_value_t = Failure::Fail)]
    pub policies: Failure,
    /// What holds for workloads while no webhook answers
    #[arg(long, value_enum, default_value_t = Failure::Ignore)]
    pub workloads: Failure,
    /// File of the certificates to trust, where the webhook doesn't set them itself
    #[arg(long, value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,
}

/// `failurePolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Failure {
    /// Nothing is admitted
    Fail,
    /// Everything is admitted
    Ignore,
}

impl Failure {
    /// As Kubernetes writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fail => "Fail",
            Self::Ignore => "Ignore",
        }
    }
}

/// A number with a unit: `500ms`, `10s`, `5m`, `2h`, `90d`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_| format!("{text:?} is no time; write a number and a unit, as 10s"))?;
    let seconds = |unit: u64| {
        number.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| format!("{text:?} is too long"))
    };
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(60 * 60),
        "d" => seconds(24 * 60 * 60),
        _ => Err(format!("{text:?} has no unit that is known: ms, s, m, h or d")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_are_read() {
        assert_eq!(duration("90d"), Ok(Duration::from_hours(90 * 24)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "s", "10", "10x", "99999999999999999999s", "9999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
