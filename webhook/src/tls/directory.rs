//! A certificate from a folder with `tls.crt` and `tls.key`: a mounted Secret, of cert-manager or made by hand.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::crypto::CryptoProvider;
use sha2::{Digest as _, Sha256};

use super::{Certificates, Pair, PairError};

/// Maximum bytes of a file. A certificate chain has a few thousand.
const MAX_BYTES: u64 = 1 << 20;

/// The reason why a directory has no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The pair is invalid.
    #[error("{directory}: {source}")]
    Pair {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: PairError,
    },
}

/// A directory whose content is polled.
#[derive(Debug)]
pub struct CertificateDirectory {
    path: PathBuf,
    provider: Arc<CryptoProvider>,
    /// Hash of the content at the last poll, valid or not.
    seen: Option<[u8; 32]>,
}

impl CertificateDirectory {
    /// A directory with `tls.crt` and `tls.key`.
    pub fn new(path: PathBuf, provider: Arc<CryptoProvider>) -> Self {
        Self { path, provider, seen: None }
    }

    /// Reads the directory and uses a new pair. Returns whether the content has changed.
    pub fn poll(&mut self, certificates: &Certificates, now: SystemTime) -> Result<bool, DirectoryError> {
        let certificate = read(&self.path.join("tls.crt"))?;
        let key = read(&self.path.join("tls.key"))?;
        let content: [u8; 32] =
            Sha256::new().chain_update(Sha256::digest(&certificate)).chain_update(&key).finalize().into();
        if self.seen == Some(content) {
            return Ok(false);
        }
        self.seen = Some(content);
        let pair = Pair::read(&certificate, &key, &self.provider, now).map_err(|source| {
            certificates.count_invalid();
            DirectoryError::Pair { directory: self.path.clone(), source }
        })?;
        certificates.replace(pair);
        Ok(true)
    }

    /// Polls the directory and never returns. A repeated error is logged once.
    pub async fn run(mut self, certificates: Arc<Certificates>, every: Duration) {
        let mut last_error = String::new();
        loop {
            tokio::time::sleep(every).await;
            match self.poll(&certificates, SystemTime::now()) {
                Ok(true) => {
                    tracing::info!(folder = %self.path.display(), "new certificate");
                    last_error.clear();
                }
                Ok(false) => {}
                Err(error) => {
                    let text = error.to_string();
                    if text != last_error {
                        tracing::error!("the previous certificate stays in use: {text}");
                        last_error = text;
                    }
                }
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, DirectoryError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|source| DirectoryError::Unreadable { path: path.to_owned(), source })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{
        authority::{Material, Settings, Signed},
        provider,
    };

    fn pair() -> Signed {
        let hour = Duration::from_hours(1);
        let settings =
            Settings { ca_life: hour, leaf_life: hour, settle: hour, names: vec!["gate".to_owned()] };
        Material::new(&settings, SystemTime::now()).unwrap().leaf
    }

    /// Updates the directory as the kubelet does with a Secret: a new directory, a new link to it, and one rename.
    fn publish(mount: &Path, version: &str, pair: &Signed) {
        let folder = mount.join(version);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("tls.crt"), &pair.certificate).unwrap();
        std::fs::write(folder.join("tls.key"), &pair.key).unwrap();
        std::os::unix::fs::symlink(version, mount.join("..data_tmp")).unwrap();
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        for name in ["tls.crt", "tls.key"] {
            let link = mount.join(name);
            if !link.exists() {
                std::os::unix::fs::symlink(Path::new("..data").join(name), link).unwrap();
            }
        }
    }

    #[test]
    fn a_mounted_secret_is_read_again_after_its_link_is_swapped() {
        let mount = tempfile::tempdir().unwrap();
        let certificates = Certificates::default();
        let mut directory = CertificateDirectory::new(mount.path().to_owned(), provider());
        assert!(
            directory.poll(&certificates, SystemTime::now()).unwrap_err().to_string().contains("tls.crt")
        );

        publish(mount.path(), "..1", &pair());
        assert!(directory.poll(&certificates, SystemTime::now()).unwrap());
        assert!(!directory.poll(&certificates, SystemTime::now()).unwrap());
        publish(mount.path(), "..2", &pair());
        assert!(directory.poll(&certificates, SystemTime::now()).unwrap());
        assert_eq!(certificates.counts(), (2, 0));
    }

    #[test]
    fn a_bad_pair_is_refused_once_and_the_old_one_stays() {
        let mount = tempfile::tempdir().unwrap();
        let certificates = Certificates::default();
        let mut directory = CertificateDirectory::new(mount.path().to_owned(), provider());
        publish(mount.path(), "..1", &pair());
        directory.poll(&certificates, SystemTime::now()).unwrap();
        let before = certificates.not_after();
        let mixed = Signed { certificate: pair().certificate, key: pair().key };
        publish(mount.path(), "..2", &mixed);
        let error = directory.poll(&certificates, SystemTime::now()).unwrap_err();
        assert!(error.to_string().contains("do not work together"), "{error}");
        assert!(!directory.poll(&certificates, SystemTime::now()).unwrap());
        assert_eq!((certificates.counts(), certificates.not_after()), ((1, 1), before));
        publish(mount.path(), "..3", &pair());
        assert!(directory.poll(&certificates, SystemTime::now()).unwrap());
    }
}
