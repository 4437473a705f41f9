use super::*;

fn one(text: &str) -> Document {
    let mut documents = parse(text);
    assert_eq!(documents.len(), 1, "{documents:?}");
    documents.remove(0)
}

fn path(text: &str) -> FieldPath {
    text.split('.').fold(FieldPath::root(), |path, step| match step.parse() {
        Ok(i) => path.index(i),
        Err(_) => path.field(step),
    })
}

fn underlined(text: &str, at: &str, at_key: bool) -> String {
    let span = one(text).caret(&path(at), at_key).unwrap();
    text[span.range()].to_owned()
}

#[test]
fn trees_know_their_places() {
    let text = "a:\n  - b: 'x y'   # c\n    c: [1, two]\n\n  - 3\nd: {e: yes}\n";
    for (at, value, key) in [
        ("a", "a", "a"),
        ("a.0", "b", "b"),
        ("a.0.b", "'x y'", "b"),
        ("a.0.c", "[1, two]", "c"),
        ("a.0.c.1", "two", "two"),
        ("a.1", "3", "3"),
        ("d", "{e: yes}", "d"),
        ("d.e", "yes", "e"),
        // Not there: the nearest around it.
        ("a.0.missing", "b", "b"),
        ("a.7", "a", "a"),
        ("d.missing.x", "{e: yes}", "{e: yes}"),
    ] {
        assert_eq!(
            (underlined(text, at, false).as_str(), underlined(text, at, true).as_str()),
            (value, key),
            "{at}"
        );
    }
    let document = one(text);
    assert_eq!(document.get(&path("d.e")).unwrap().value, Value::Bool(true));
    assert_eq!(&*document.get(&path("d.e")).unwrap().written, "yes");
    let block = document.get(&path("a")).unwrap().span;
    assert_eq!(&text[block.range()], "- b: 'x y'   # c\n    c: [1, two]\n\n  - 3");
}

#[test]
fn json_is_read_with_places() {
    let text =
        "{\n\t\"kind\": \"X\\u00e9\\/\\ud83d\\ude00\",\n\t\"n\": [1.0, -2, true, null],\n\t\"o\":{}\n}";
    let document = one(text);
    assert!(document.complete && document.findings.is_empty(), "{document:?}");
    assert_eq!(document.get(&path("kind")).unwrap().as_str(), Some("Xé/😀"));
    assert_eq!(underlined(text, "n.1", false), "-2");
    let same = Document::from_json(&serde_json::from_str(text).unwrap());
    assert_eq!(same.get(&path("n.0")).unwrap().value, document.get(&path("n.0")).unwrap().value);
    assert_eq!(same.caret(&path("n.0"), false), None);
}

#[test]
fn documents_are_apart() {
    let documents = parse("# nothing\n---\na: 1\n---\n---\nb: [\n---\nc: 3\n...\n");
    let complete: Vec<bool> = documents.iter().map(|d| d.complete).collect();
    assert_eq!(complete, [true, false, true]);
    assert_eq!(documents[2].root.get("c").unwrap().value, Value::Int(3));
    assert_eq!(documents[1].findings[0].diagnostic.code.id, "GW001");
    assert!(parse("").is_empty());
    assert!(parse("---\n# only a comment\n").is_empty());
}

#[test]
fn syntax_errors_have_a_place() {
    let text = "a: 1\nb: 'x\n";
    let document = one(text);
    let line = |d: &Document| Lines::new(text).position(d.findings[0].span.unwrap().start as usize).line;
    assert!(!document.complete && line(&document) >= 2, "{document:?}");
    let tab = one("a:\n\tb: 1\n");
    assert_eq!(
        tab.findings[0].diagnostic.help.as_deref(),
        Some("YAML requires spaces for indentation; replace the tab")
    );
    let helm = one("a: {{ .Values.x }}\nb: 1\n");
    assert!(!helm.findings.is_empty());
    assert!(helm.findings[0].diagnostic.help.as_deref().unwrap().contains("helm template"), "{helm:?}");
}

#[test]
fn a_key_twice_is_reported_and_the_first_counts() {
    let text = "spec:\n- a: 1\n  b: 2\n  a: 3\n";
    let document = one(text);
    assert_eq!(document.get(&path("spec.0.a")).unwrap().value, Value::Int(1));
    let Located { diagnostic, span } = &document.findings[0];
    assert_eq!((diagnostic.code.id, diagnostic.path.to_string().as_str()), ("GW010", "spec[0].a"));
    assert_eq!(Lines::new(text).position(span.unwrap().start as usize).line, 4);
    assert_eq!(
        diagnostic.message,
        "duplicate key `a`: kubectl silently ignores the one on line 2, and the agent rejects the policy"
    );
}

#[test]
fn aliases_and_merges() {
    let text = "base: &b {x: 1, z: 2}\nuse: *b\nmore:\n  <<: *b\n  z: 3\nquoted: {\"<<\": 1}\n";
    let document = one(text);
    assert!(document.findings.is_empty());
    assert_eq!(document.get(&path("use.x")).unwrap().value, Value::Int(1));
    assert_eq!(document.get(&path("more.x")).unwrap().value, Value::Int(1));
    assert_eq!(document.get(&path("more.z")).unwrap().value, Value::Int(3));
    assert_eq!(document.get(&path("quoted.<<")).unwrap().value, Value::Int(1));
    assert_eq!(underlined(text, "use", false), "*b");
    assert!(one("a: *nowhere\n").findings[0].diagnostic.message.contains("&nowhere"));
    assert!(!one("a: &a [*a]\n").complete);
}

#[test]
fn bombs_are_defused() {
    use std::fmt::Write as _;
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..30 {
        let _ = writeln!(laughs, "a{i}: &a{i} [{}]", vec![format!("*a{}", i - 1); 10].join(", "));
    }
    assert!(one(&laughs).findings[0].diagnostic.message.contains("100000"));
    for deep in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(50_000), "? ".repeat(50_000)] {
        let document = &parse(&deep)[0];
        assert!(!document.complete);
    }
    let mut chain = String::from("a0: &a0 [x]\n");
    for i in 1..200 {
        let _ = writeln!(chain, "a{i}: &a{i} [*a{}]", i - 1);
    }
    assert!(one(&chain).findings[0].diagnostic.message.contains("nested deeper"));
    assert!(parse(&"x".repeat(MAX_BYTES + 1))[0].findings[0].diagnostic.message.contains("bytes"));
}

#[test]
fn bytes_that_are_no_text() {
    assert!(parse_bytes(b"a: \xff")[0].findings[0].diagnostic.message.contains("byte 3"));
    assert_eq!(
        parse_bytes("\u{feff}a: ü\r\nb: 1\r\n".as_bytes())[0].root.get("b").unwrap().value,
        Value::Int(1)
    );
}
