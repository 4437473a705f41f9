//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use gatewatch_coverage::templates::Template;

/// Gatewatch's validating admission webhook for `TracingPolicies` and for the workloads that they select.
#[derive(Debug, Parser)]
#[command(name = "gatewatch-webhook", version)]
pub struct Arguments {
    /// The task.
    #[command(subcommand)]
    pub task: Task,
}

/// The tasks of the program.
#[derive(Debug, Subcommand)]
#[expect(clippy::doc_markdown, reason = "the comments are what --help prints")]
pub enum Task {
    /// Serve
    Serve(Box<Serve>),
    /// Print the ValidatingWebhookConfiguration
    Manifests(Manifests),
    /// Print a ValidatingAdmissionPolicy that enforces the rules about labels while no webhook answers
    Vap,
}

/// `serve`.
#[derive(Debug, Args)]
#[expect(clippy::doc_markdown, reason = "the comments are what --help prints")]
pub struct Serve {
    /// Address for the API server's admission requests, with TLS
    #[arg(long, env = "GATEWATCH_LISTEN", default_value = "0.0.0.0:9443")]
    pub listen: SocketAddr,
    /// Address for /metrics, /healthz and /readyz, without TLS
    #[arg(long, env = "GATEWATCH_METRICS_ADDRESS", default_value = "0.0.0.0:9090")]
    pub metrics_address: SocketAddr,
    /// Kubeconfig of the API server [default: the pod's service account, or else the user's]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the webhook's Secret, ConfigMap and Lease
    #[arg(long, env = "POD_NAMESPACE", default_value = "gatewatch")]
    pub namespace: String,
    /// This replica's name, for the Lease and in Events [default: the host name]
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// Read the certificate from this directory (tls.crt, tls.key) instead of issuing one
    #[arg(long, value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,
    /// Secret in which replicas share the secret of the registered path and, without --tls-dir, CA and certificate
    #[arg(long, value_name = "NAME", default_value = "gatewatch-webhook-tls")]
    pub tls_secret: String,
    /// DNS names and addresses of the certificate [default: those of the service]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub tls_names: Vec<String>,
    /// Service that the API server calls
    #[arg(long, value_name = "NAME", default_value = "gatewatch-webhook")]
    pub service: String,
    /// Lifetime of the webhook's own CA
    #[arg(long, value_parser = duration, default_value = "1825d")]
    pub ca_life: Duration,
    /// Lifetime of the webhook's own certificate
    #[arg(long, value_parser = duration, default_value = "90d")]
    pub leaf_life: Duration,
    /// Time between adding a new CA to caBundle and signing with it, and between accepting a new path and registering it
    #[arg(long, value_parser = duration, default_value = "1h")]
    pub ca_settle: Duration,
    /// Interval for checking certificates
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub tls_poll: Duration,
    /// ValidatingWebhookConfigurations whose path and, without --tls-dir, caBundle the webhook sets
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = crate::registration::NAME)]
    pub registrations: Vec<String>,
    /// ConfigMap with the modes
    #[arg(long, value_name = "NAME", default_value = "gatewatch-modes")]
    pub modes: String,
    /// Lease of the replica that writes PolicyCoverage and Events
    #[arg(long, value_name = "NAME", default_value = "gatewatch-webhook")]
    pub lease: String,
    /// Labels of the agent's pods in the webhook's namespace. A node without a ready one counts as not watched
    #[arg(long, value_name = "SELECTOR", default_value = "app.kubernetes.io/component=agent")]
    pub agent_selector: String,
    /// Interval for evaluating the coverage of all policies again
    #[arg(long, value_parser = duration, default_value = "10m")]
    pub recheck: Duration,
    /// Base URL of the pages about diagnostics
    #[arg(long, value_name = "URL", default_value = DOCS)]
    pub docs_url: String,
    /// Path to the pod template in objects of another kind, for example Workload.example.com=spec.workload.template.
    /// The registration needs a rule for that kind
    #[arg(long = "template", value_name = "KIND.GROUP=PATH")]
    pub templates: Vec<Template>,
    /// Time between SIGTERM and rejecting connections, for the cluster to remove this replica from its endpoints
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub drain: Duration,
    /// Format of log lines
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// Default base URL of the pages about diagnostics.
const DOCS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/tree/main/docs/codes");

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line
    Json,
    /// Plain text
    Text,
}

/// `manifests`.
#[derive(Debug, Args)]
pub struct Manifests {
    /// Name of the registration
    #[arg(long, default_value = crate::registration::NAME)]
    pub name: String,
    /// URL of the webhook instead of a service: https://HOST:PORT
    #[arg(long)]
    pub url: Option<String>,
    /// Namespace of the webhook
    #[arg(long, default_value = "gatewatch")]
    pub namespace: String,
    /// Service of the webhook
    #[arg(long, default_value = "gatewatch-webhook")]
    pub service: String,
    /// Port of the service
    #[arg(long, default_value_t = 443)]
    pub port: u16,
    /// failurePolicy for policies
    #[arg(long, value_enum, default_value_t = FailurePolicy::Fail)]
    pub policies: FailurePolicy,
    /// failurePolicy for workloads
    #[arg(long, value_enum, default_value_t = FailurePolicy::Ignore)]
    pub workloads: FailurePolicy,
    /// File of the CA certificates to trust, if the webhook does not set caBundle
    #[arg(long, value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,
}

/// `failurePolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum FailurePolicy {
    /// Reject while no webhook answers
    Fail,
    /// Admit while no webhook answers
    Ignore,
}

impl FailurePolicy {
    /// The value as Kubernetes spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fail => "Fail",
            Self::Ignore => "Ignore",
        }
    }
}

/// A number with a unit, or several: `500ms`, `10s`, `5m`, `2h`, `90d`, `1h 30m`.
fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("invalid duration {text:?}: expected a number and a unit, for example 10s"))
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
    fn durations_are_read() {
        assert_eq!(duration("90d"), Ok(Duration::from_hours(90 * 24)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "s", "10", "10x", "99999999999999999999s", "9999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(
            duration("10").unwrap_err(),
            "invalid duration \"10\": expected a number and a unit, for example 10s"
        );
    }
}
