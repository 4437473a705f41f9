//! A certificate authority for one cluster, and what it signs.

use std::{
    fs,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};

/// The authority. Its key is kept in memory only: nothing is signed once the cluster is up.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its certificate, in the folder that it was made for.
    pub(crate) certificate: PathBuf,
    folder: PathBuf,
}

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Identity {
    /// The same by the names of its files, for a kubeconfig in the same folder.
    pub(crate) fn beside(&self) -> Self {
        let name = |path: &Path| path.file_name().map_or_else(|| path.to_owned(), PathBuf::from);
        Self { certificate: name(&self.certificate), key: name(&self.key) }
    }
}

impl Authority {
    /// Makes a new authority, whose files go to `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("cannot close {} to others", folder.display()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("gatewatch-test-ca", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().context("cannot create a key")?)
                .context("cannot create a certificate authority")?;
        let certificate = folder.join("ca.crt");
        write_secret(&certificate, &issuer.pem())?;
        Ok(Self { issuer, certificate, folder: folder.to_owned() })
    }

    /// Makes `FILE.crt` and `FILE.key` for a server and client of this common name, this organization (Kubernetes
    /// takes it for a group) and these host names and addresses.
    pub(crate) fn issue(
        &self,
        file: &str,
        common_name: &str,
        group: Option<&str>,
        hosts: &[&str],
    ) -> Result<Identity> {
        let about = || format!("cannot create a certificate for {common_name}");
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).with_context(about)?;
        params.distinguished_name = name(common_name, group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().with_context(about)?;
        let certificate = params.signed_by(&key, &self.issuer).with_context(about)?;
        let identity = Identity {
            certificate: self.folder.join(format!("{file}.crt")),
            key: self.folder.join(format!("{file}.key")),
        };
        write_secret(&identity.certificate, &certificate.pem())?;
        write_secret(&identity.key, &key.serialize_pem())?;
        Ok(identity)
    }

    /// Makes the key pair that service accounts' tokens are signed with: `sa.key` and `sa.pub`.
    pub(crate) fn service_account_key(&self) -> Result<Identity> {
        let key = KeyPair::generate().context("cannot create a key for service accounts")?;
        let (public, private) = (self.folder.join("sa.pub"), self.folder.join("sa.key"));
        write_secret(&public, &key.public_key_pem())?;
        write_secret(&private, &key.serialize_pem())?;
        Ok(Identity { certificate: public, key: private })
    }
}

fn name(common_name: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name
}

/// Writes a file that only its owner reads.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let about = || format!("cannot write {}", path.display());
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).with_context(about)?.write_all(text.as_bytes()).with_context(about)
}
