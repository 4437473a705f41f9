//! A certificate from a folder with `tls.crt` and `tls.key`: a mounted Secret, of cert-manager or made by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use sha2::{Digest as _, Sha256};

use super::{BadPair, Certificates, Pair};

/// Most bytes of a file. A chain of certificates has a few thousand.
const MAX_BYTES: u64 = 1 << 20;

/// Why a folder gives no certificate.
#[derive(Debug, thiserror::Error)]
pub enum BadFolder {
    /// A file can't be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is in them can't be used.
    #[error("{folder}: {source}")]
    Pair {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: BadPair,
    },
}

/// A folder that is looked at by content.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    provider: Arc<CryptoProvider>,
    /// What was there when it was last looked at, whether it was taken up or not.
    seen: Option<[u8; 32]>,
}

impl Folder {
    /// A folder.
    pub fn new(path: PathBuf, provider: Arc<CryptoProvider>) -> Self {
        Self { path, provider, seen: None }
    }

    /// Looks; takes up what is new. Says whether there was anything new.
    pub fn look(&mut self, certificates: &Certificates, now: SystemTime) -> Result<bool, BadFolder> {
        let certificate = read(&self.path.join("tls.crt"))?;
        let key = read(&self.path.join("tls.key"))?;
        let content: [u8; 32] =
            Sha256::new().chain_update(Sha256::digest(&certificate)).chain_update(&key).finalize().into();
        if self.seen == Some(content) {
            return Ok(false);
        }
        self.seen = Some(content);
        let pair = Pair::read(&certificate, &key, &self.provider, now).map_err(|source| {
            certificates.refuse();
            BadFolder::Pair { folder: self.path.clone(), source }
        })?;
        certificates.show(pair);
        Ok(true)
    }

    /// Looks again and again, for ever. The same complaint is made once.
    pub async fn follow(mut self, certificates: Arc<Certificates>, every: Duration) {
        let mut complaint = String::new();
        loop {
            tokio::time::sleep(every).await;
            match self.look(&certificates, SystemTime::now()) {
                Ok(true) => {
                    tracing::info!(folder = %self.path.display(), "new certificate");
                    complaint.clear();
                }
                Ok(false) => {}
                Err(error) => {
                    let text = error.to_string();
                    if text != complaint {
                        tracing::error!("the previous certificate stays in use: {text}");
                        complaint = text;
                    }
                }
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BadFolder> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|source| BadFolder::Unreadable { path: path.to_owned(), source })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::authority::{Material, Settings, Signed};
    use crate::tls::provider;

    fn pair() -> Signed {
        let hour = Duration::from_hours(1);
        let settings =
            Settings { ca_life: hour, leaf_life: hour, settle: hour, names: vec!["gate".to_owned()] };
        Material::new(&settings, SystemTime::now()).unwrap().leaf
    }

    /// What the kubelet does with a Secret: a new folder, a link to it beside the old one, and one rename over it.
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
    fn a_mounted_secret_is_followed_over_the_swap_of_its_link() {
        let mount = tempfile::tempdir().unwrap();
        let certificates = Certificates::default();
        let mut folder = Folder::new(mount.path().to_owned(), provider());
        assert!(folder.look(&certificates, SystemTime::now()).unwrap_err().to_string().contains("tls.crt"));

        publish(mount.path(), "..1", &pair());
        assert!(folder.look(&certificates, SystemTime::now()).unwrap());
        assert!(!folder.look(&certificates, SystemTime::now()).unwrap());
        publish(mount.path(), "..2", &pair());
        assert!(folder.look(&certificates, SystemTime::now()).unwrap());
        assert_eq!(certificates.counts(), (2, 0));
    }

    #[test]
    fn a_bad_pair_is_refused_once_and_the_old_one_stays() {
        let mount = tempfile::tempdir().unwrap();
        let certificates = Certificates::default();
        let mut folder = Folder::new(mount.path().to_owned(), provider());
        publish(mount.path(), "..1", &pair());
        folder.look(&certificates, SystemTime::now()).unwrap();
        let before = certificates.not_after();
        let mixed = Signed { certificate: pair().certificate, key: pair().key };
        publish(mount.path(), "..2", &mixed);
        let error = folder.look(&certificates, SystemTime::now()).unwrap_err();
        assert!(error.to_string().contains("do not work together"), "{error}");
        assert!(!folder.look(&certificates, SystemTime::now()).unwrap());
        assert_eq!((certificates.counts(), certificates.not_after()), ((1, 1), before));
        publish(mount.path(), "..3", &pair());
        assert!(folder.look(&certificates, SystemTime::now()).unwrap());
    }
}
