//! Kubeconfig files.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::pki::{Identity, write_secret};

/// Writes a kubeconfig to `path`: how `user` speaks with the API server at `server`, whose certificate is of
/// `authority`. It names certificates and key by their paths, which may be relative to its own.
pub(crate) fn write(
    path: &Path,
    server: &str,
    user: &str,
    identity: &Identity,
    authority: &Path,
) -> Result<()> {
    // JSON is YAML as well.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "gatewatch",
            "cluster": { "server": server, "certificate-authority": authority },
        }],
        "users": [{
            "name": user,
            "user": { "client-certificate": identity.certificate, "client-key": identity.key },
        }],
        "contexts": [{ "name": "gatewatch", "context": { "cluster": "gatewatch", "user": user } }],
        "current-context": "gatewatch",
    });
    write_secret(path, &format!("{config:#}\n"))
}
