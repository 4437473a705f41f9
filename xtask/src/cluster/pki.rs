//! Who the node's programs are, and how the API server reaches them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::names;
use crate::{
    kube::{ADDRESS_FROM_VM, Authority, write_kubeconfig, write_secret},
    oci::digest,
};

/// Files for `/node/pki` in the VM: name there, and where they are here.
pub(super) type Credentials = Vec<(String, PathBuf)>;

/// The API server's flags that make it reach nodes, pods and services through the proxy in the VM.
pub(super) fn egress(folder: &Path, authority: &Authority, port: u16) -> Result<Vec<String>> {
    authority.issue("egress-proxy", "egress-proxy", None, &["127.0.0.1"])?;
    let client = authority.issue("apiserver-egress", "kube-apiserver", None, &[])?;
    let config = json!({
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [{
            "name": "cluster",
            "connection": {
                "proxyProtocol": "HTTPConnect",
                "transport": { "tcp": {
                    "url": format!("https://127.0.0.1:{port}"),
                    "tlsConfig": {
                        "caBundle": authority.certificate,
                        "clientCert": client.certificate,
                        "clientKey": client.key,
                    },
                } },
            },
        }],
    });
    let path = folder.join("egress.json");
    fs::write(&path, format!("{config:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(vec![format!("--egress-selector-config-file={}", path.display())])
}

/// Makes certificates and kubeconfigs of kubelet, kube-proxy and egress proxy.
pub(super) fn node(folder: &Path, authority: &Authority, api_server_port: u16) -> Result<Credentials> {
    let server = format!("https://{ADDRESS_FROM_VM}:{api_server_port}");
    let pki = folder.join("pki");
    authority.issue("kubelet-server", "kubelet", None, &[names::NAME, names::ADDRESS, "127.0.0.1"])?;
    // As hard to guess as a key.
    let secret = authority.issue("node-secret", "node", None, &[])?.key;
    let secret = digest(&fs::read(&secret).with_context(|| format!("cannot read {}", secret.display()))?);
    write_secret(&pki.join("node.secret"), &secret)?;
    let mut files = vec![
        "ca.crt",
        "egress-proxy.crt",
        "egress-proxy.key",
        "kubelet-server.crt",
        "kubelet-server.key",
        "node.secret",
    ]
    .into_iter()
    .map(|name| (name.to_owned(), pki.join(name)))
    .collect::<Credentials>();
    let kubelet = format!("system:node:{}", names::NAME);
    for (file, user, group) in
        [("kubelet", kubelet.as_str(), Some("system:nodes")), ("kube-proxy", "system:kube-proxy", None)]
    {
        let identity = authority.issue(file, user, group, &[])?;
        let path = pki.join(format!("{file}.kubeconfig"));
        // Its files are in the same folder, here and in the VM.
        write_kubeconfig(&path, &server, user, &identity.beside(), Path::new("ca.crt"))?;
        files.push((format!("{file}.kubeconfig"), path));
        files.push((format!("{file}.crt"), identity.certificate));
        files.push((format!("{file}.key"), identity.key));
    }
    Ok(files)
}
