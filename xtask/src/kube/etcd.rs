//! Etcd, from Debian. The package is unpacked into the cache: installed, it would start a service of the machine's.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::{
    cache::Cache,
    debian::Suite,
    image::{Node, Tree, unpack_package},
    process,
    progress::Step,
};

/// The oldest suite with an etcd that this Kubernetes takes (3.4); its program runs with the C library of all later ones.
const SUITE: &str = "bookworm";

/// The program; fetched when the cache does not have it.
pub(super) fn ready(cache: &Cache) -> Result<PathBuf> {
    let relative = format!("tools/etcd-{SUITE}");
    let program = cache.path(&relative).join("etcd");
    if program.is_file() {
        return Ok(program);
    }
    let _lock = cache.lock()?;
    if program.is_file() {
        return Ok(program);
    }
    let suite = Suite::open(cache, SUITE)?;
    let step = Step::begin(format!("fetching etcd from {suite}"));
    let scratch = tempfile::tempdir().context("cannot create a folder for packages")?;
    let mut tree = Tree::default();
    for deb in suite.download(&["etcd-server"], scratch.path(), &step)? {
        unpack_package(&deb, &mut tree, |path| path.ends_with("/bin/etcd"))?;
    }
    let Some(Node::File(data)) = tree.get("usr/bin/etcd").map(|entry| &entry.node) else {
        bail!("no program etcd in the package etcd-server of {suite}")
    };
    cache.make_folder(&relative, |folder| {
        let path = folder.join("etcd");
        fs::write(&path, data)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        process::text(Command::new(&path).arg("--version"))
            .context("the etcd of the package does not run")?;
        Ok(())
    })?;
    step.done();
    Ok(program)
}

/// Has the etcd at this port of loopback forget all that was before now (etcd's JSON gateway, `/v3/kv/compaction`); gives
/// the revision before which nothing is known any more.
pub(super) fn compact(port: u16) -> Result<String> {
    // Any key will do ("AA==" is one zero byte): the answer's header has the revision.
    let answer = post(port, "/v3/kv/range", &json!({"key": "AA=="}))?;
    let revision = answer["header"]["revision"].as_str().context("etcd does not say its revision")?;
    post(port, "/v3/kv/compaction", &json!({"revision": revision, "physical": true}))?;
    Ok(revision.to_owned())
}

/// HTTP/1.0, so that the answer comes in one piece and ends with the connection.
fn post(port: u16, path: &str, body: &Value) -> Result<Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("etcd does not listen")?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("etcd's answer breaks off")?;
    let (head, body) = text.split_once("\r\n\r\n").context("etcd gives no HTTP answer")?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("etcd rejects {path}: {body}");
    }
    serde_json::from_str(body).context("etcd's answer is not JSON")
}
