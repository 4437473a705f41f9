//! The built-in patterns. docs/export.md has the same table; a test compares them.

/// A pattern of what looks like a secret.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    /// What it finds.
    pub what: &'static str,
    /// Its groups are the secret.
    pub expression: &'static str,
    /// The programs that it is about; `None`: all.
    pub binary: Option<&'static str>,
    /// A text that it matches, and the same text redacted.
    pub example: (&'static str, &'static str),
}

const fn pattern(
    what: &'static str,
    example: (&'static str, &'static str),
    expression: &'static str,
) -> Pattern {
    Pattern { what, expression, binary: None, example }
}

/// All of them.
pub const PATTERNS: &[Pattern] = &[
    pattern(
        "options named after a secret",
        ("--db-password hunter2 -v", "--db-password ***** -v"),
        r#"(?i)(?:^|\s)--?[\w-]*(?:password|passwd|passphrase|secret|token|api-?key|access-?key|private-?key|credentials?)(?:=|\s+)("[^"]*"?|[^\s"-]\S*)"#,
    ),
    pattern(
        "variables and fields named after a secret",
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=***** psql"),
        r#"(?i)(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|private[_-]?key|credentials?)["']?\s?[=:]\s?["']?([^\s&;,"'}]+)"#,
    ),
    pattern(
        "passwords in URLs",
        ("postgres://app:hunter2@db/x", "postgres://app:*****@db/x"),
        r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*:([^\s/@]+)@",
    ),
    pattern(
        "HTTP credentials",
        ("-H \"Authorization: Basic YWxhZGRpbg==\"", "-H \"Authorization: Basic *****\""),
        r#"(?i)\b(?:authorization|x-[\w-]*(?:token|key))\s?:\s?(?:(?:basic|bearer|token|digest|negotiate)\s+)?([^\s"']+)"#,
    ),
    pattern(
        "bearer tokens",
        ("Bearer abcdef0123456789", "Bearer *****"),
        r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{8,})",
    ),
    pattern(
        "`-u USER:PASSWORD`",
        ("-s -u admin:hunter2 https://a", "-s -u admin:***** https://a"),
        r"(?:^|\s)(?:-u|--user|--proxy-user)[=\s]?[^\s:=/]+:([^\s/]\S*)",
    ),
    pattern(
        "JSON Web Tokens",
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "*****"),
        r"\b(eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*)",
    ),
    pattern("keys of AWS", ("AKIAIOSFODNN7EXAMPLE", "*****"), r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b"),
    pattern(
        "tokens with a known prefix (GitHub, GitLab, Slack, Stripe, Google, npm, Vault, OpenAI, PyPI)",
        ("x ghp_0123456789abcdefghijABCDEFGHIJ012345 y", "x ***** y"),
        r"\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}|[rs]k_live_\w{16,}|AIza[\w-]{35}|npm_[A-Za-z0-9]{30,}|hv[sb]\.[\w-]{20,}|sk-[\w-]{20,}|pypi-[\w-]{20,})",
    ),
    pattern(
        "private keys",
        (
            "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----",
            "-----BEGIN EC PRIVATE KEY-----*****-----END EC PRIVATE KEY-----",
        ),
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----([^-]+)",
    ),
    Pattern {
        what: "`-pPASSWORD` of MySQL, MariaDB and sshpass",
        expression: r"(?:^|\s)-p\s?([^\s-]\S*)",
        binary: Some(r"(?:^|/)(?:mysql|mariadb|sshpass)[^/]*$"),
        example: ("-u root -phunter2 shop", "-u root -p***** shop"),
    },
];
