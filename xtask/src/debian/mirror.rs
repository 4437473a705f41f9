//! Which Debian mirror this machine uses, read from its own apt sources.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

/// The keyring that signs Debian's archive, where a source names none.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Names the main archive's suites go by. Those of the security archive end in `-security`.
const SUITES: &[&str] = &[
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// A Debian archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    pub(crate) uri: String,
    pub(crate) keyring: PathBuf,
}

impl Mirror {
    /// `$GATEWATCH_DEBIAN_MIRROR`, else the first source of the machine's apt that is Debian's main archive.
    pub(crate) fn of_this_machine() -> Result<Self> {
        if let Some(uri) = env::var("GATEWATCH_DEBIAN_MIRROR").ok().filter(|uri| !uri.is_empty()) {
            return Ok(Self { uri, keyring: KEYRING.into() });
        }
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
            let mut more: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).collect();
            more.sort();
            files.extend(more);
        }
        for file in files {
            let found = fs::read_to_string(&file).ok().and_then(|text| find(&file, &text));
            if let Some(mirror) = found {
                return Ok(mirror);
            }
        }
        bail!(
            "no Debian archive among this machine's apt sources (/etc/apt/sources.list, sources.list.d); kernels and \
             the VM's programs are taken from one: give its address in GATEWATCH_DEBIAN_MIRROR"
        )
    }
}

/// Debian's main archive in one sources file, in either of apt's two formats.
fn find(file: &Path, text: &str) -> Option<Mirror> {
    match file.extension()?.to_str()? {
        "list" => text.lines().find_map(one_line),
        "sources" => stanzas(text).iter().find_map(|stanza| deb822(stanza)),
        _ => None,
    }
}

/// `deb [option=value …] URI suite component…`, see sources.list(5).
fn one_line(line: &str) -> Option<Mirror> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let keyring = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    (SUITES.contains(&suite) && words.any(|component| component == "main")).then(|| mirror(uri, keyring))
}

/// The fields of each stanza, lower-cased names; continuation lines are joined by a space.
fn stanzas(text: &str) -> Vec<Vec<(String, String)>> {
    let mut stanzas: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some(stanza) = stanzas.last_mut() else { break };
        if line.trim().is_empty() {
            stanzas.push(Vec::new());
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    stanzas
}

fn deb822(stanza: &[(String, String)]) -> Option<Mirror> {
    let field = |name: &str| stanza.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let has = |name: &str, wanted: &[&str]| {
        field(name).is_some_and(|value| value.split_whitespace().any(|word| wanted.contains(&word)))
    };
    let enabled = !field("enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    (enabled && has("types", &["deb"]) && has("suites", SUITES) && has("components", &["main"]))
        .then(|| Some(mirror(field("uris")?.split_whitespace().next()?, field("signed-by"))))?
}

/// A key that is written into the source itself is not taken over: the archive's keyring has it as well.
fn mirror(uri: &str, keyring: Option<&str>) -> Mirror {
    let keyring = keyring.filter(|path| path.starts_with('/')).unwrap_or(KEYRING);
    Mirror { uri: uri.to_owned(), keyring: keyring.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(name: &str, text: &str) -> Option<String> {
        find(Path::new(name), text).map(|mirror| mirror.uri)
    }

    #[test]
    fn one_line_sources() {
        let text = "# deb http://commented.example/debian trixie main\n\
                    deb-src http://source.example/debian trixie main\n\
                    deb http://security.example/ trixie-security main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://main.example/debian trixie main contrib # here\n";
        let found = find(Path::new("sources.list"), text);
        assert_eq!(
            found,
            Some(Mirror { uri: "http://main.example/debian".into(), keyring: "/k.gpg".into() })
        );
    }

    #[test]
    fn deb822_sources() {
        let text = "Types: deb\nURIs: http://security.example/\nSuites: bookworm-security\nComponents: main\n\n\
                    # the one\nTypes: deb deb-src\nURIs:\n http://main.example/debian\n http://second.example/\n\
                    Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n";
        assert_eq!(uri("debian.sources", text).as_deref(), Some("http://main.example/debian"));
        assert_eq!(uri("debian.sources", &text.replace("# the one", "Enabled: no")), None);
    }

    #[test]
    fn other_archives_and_other_files_are_not_taken() {
        assert_eq!(uri("x.list", "deb http://other.example/apt nodistro main"), None);
        assert_eq!(uri("x.list", "deb http://main.example/debian trixie contrib"), None);
        assert_eq!(uri("debian.sources.disabled", "deb http://main.example/debian trixie main"), None);
    }

    #[test]
    fn a_key_in_the_source_falls_back_to_the_keyring() {
        let text = "Types: deb\nURIs: http://m.example/\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN\n .\n";
        let found = find(Path::new("a.sources"), text);
        assert_eq!(found.map(|mirror| mirror.keyring), Some(KEYRING.into()));
    }
}
