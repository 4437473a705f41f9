//! An image as one tar file: the OCI image layout (image-spec, image-layout.md), and beside it the `manifest.json` of
//! `docker save`, which points to the same blobs.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::layer;
use crate::image::Tree;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What an image is made of: one layer, and how its program is run.
#[derive(Debug)]
pub(crate) struct Image {
    /// Registry, name and tag: `ghcr.io/gatewatch/agent:0.1.0`.
    pub(crate) reference: String,
    pub(crate) tree: Tree,
    pub(crate) entrypoint: Vec<String>,
    /// `UID:GID`.
    pub(crate) user: &'static str,
    /// The TCP ports that its program serves on.
    pub(crate) ports: &'static [u16],
    /// One line for people.
    pub(crate) about: &'static str,
}

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The manifest's digest, which is the image's name in a registry.
    pub(crate) digest: String,
    /// The size of its layer.
    pub(crate) size: usize,
}

/// A piece of an image, by its content's digest.
struct Blob {
    digest: String,
    data: Vec<u8>,
}

/// The SHA-256 of some bytes, in hexadecimal digits.
pub(crate) fn digest(data: &[u8]) -> String {
    Sha256::digest(data).iter().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Blob {
    fn new(data: Vec<u8>) -> Self {
        Self { digest: digest(&data), data }
    }

    fn json(value: &Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.data.len() })
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }
}

impl Image {
    /// Writes the image to a file.
    pub(crate) fn write_file(&self, path: &Path) -> Result<Written> {
        let about = || format!("cannot write {}", path.display());
        let mut file = BufWriter::new(File::create(path).with_context(about)?);
        let written = self.write(&mut file).with_context(about)?;
        file.flush().with_context(about)?;
        Ok(written)
    }

    /// Writes the image. Equal images give equal bytes.
    pub(crate) fn write(&self, out: impl Write) -> Result<Written> {
        let mut layer_bytes = Vec::new();
        layer::write(&self.tree, &mut layer_bytes)?;
        let layer = Blob::new(layer_bytes);
        let config = Blob::json(&self.config(&layer));
        let manifest = Blob::json(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(CONFIG),
            "layers": [layer.descriptor(LAYER)],
        }));
        let mut descriptor = manifest.descriptor(MANIFEST);
        descriptor["platform"] = json!({ "architecture": "amd64", "os": "linux" });
        descriptor["annotations"] = json!({
            "io.containerd.image.name": self.reference,
            "org.opencontainers.image.ref.name": tag(&self.reference),
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [descriptor],
        });
        let docker =
            json!([{ "Config": config.path(), "RepoTags": [self.reference], "Layers": [layer.path()] }]);
        let written = Written { digest: format!("sha256:{}", manifest.digest), size: layer.data.len() };

        let mut tree = Tree::default();
        tree.file("oci-layout", 0o644, json!({ "imageLayoutVersion": "1.0.0" }).to_string());
        tree.file("index.json", 0o644, index.to_string());
        tree.file("manifest.json", 0o644, docker.to_string());
        for blob in [layer, config, manifest] {
            tree.file(&blob.path(), 0o644, blob.data);
        }
        layer::write(&tree, out)?;
        Ok(written)
    }

    fn config(&self, layer: &Blob) -> Value {
        let created = created();
        let ports: BTreeMap<String, Value> =
            self.ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
        json!({
            "architecture": "amd64",
            "os": "linux",
            "created": created,
            "config": {
                "User": self.user,
                "Entrypoint": self.entrypoint,
                "Env": ["PATH=/usr/local/bin:/usr/bin"],
                "WorkingDir": "/",
                "ExposedPorts": ports,
                "Labels": {
                    "org.opencontainers.image.title": self.about,
                    "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                    "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
                    "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
                },
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)] },
            "history": [{ "created": created, "created_by": "cargo xtask image" }],
        })
    }
}

/// The time that the image says it was made: `$SOURCE_DATE_EPOCH`, whatever the clock says, or the beginning of time.
fn created() -> String {
    let seconds = env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    rfc3339(seconds)
}

/// Seconds since 1970 as a date and a time in UTC. (Days to date: Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`.)
fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What comes after the last colon of a reference.
fn tag(reference: &str) -> &str {
    reference.rsplit_once(':').map_or(reference, |(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let mut tree = Tree::default();
        tree.file("usr/local/bin/agent", 0o755, "program");
        Image {
            reference: "example.org/agent:1.2".into(),
            tree,
            entrypoint: vec!["/usr/local/bin/agent".into()],
            user: "65532:65532",
            ports: &[2112],
            about: "An agent",
        }
    }

    fn files(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut data = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut data).unwrap();
            (entry.path().unwrap().display().to_string(), data)
        });
        entries.collect()
    }

    #[test]
    fn every_digest_leads_to_its_blob() {
        let mut bytes = Vec::new();
        let written = image().write(&mut bytes).unwrap();
        let files = files(&bytes);
        let parse = |data: &[u8]| serde_json::from_slice::<Value>(data).unwrap();
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let data = files[&format!("blobs/sha256/{digest}")].clone();
            assert_eq!(Blob::new(data.clone()).digest, digest);
            assert_eq!(descriptor["size"], data.len());
            data
        };
        let index = parse(&files["index.json"]);
        let descriptor = &index["manifests"][0];
        assert_eq!(descriptor["digest"], written.digest);
        assert_eq!(descriptor["annotations"]["org.opencontainers.image.ref.name"], "1.2");
        let manifest = parse(&blob(descriptor));
        let (config, layer) = (parse(&blob(&manifest["config"])), blob(&manifest["layers"][0]));
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["ExposedPorts"], json!({ "2112/tcp": {} }));
        assert_eq!(self::files(&layer)["usr/local/bin/agent"], b"program");
        let docker = parse(&files["manifest.json"]);
        assert_eq!(parse(&files[docker[0]["Config"].as_str().unwrap()]), config);
        assert_eq!(docker[0]["RepoTags"], json!(["example.org/agent:1.2"]));
    }

    #[test]
    fn the_same_image_gives_the_same_bytes() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        image().write(&mut one).unwrap();
        image().write(&mut other).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
    }
}
