//! Placeholders that a template engine or a shell should have replaced: `{{ … }}`, `${NAME}`,
//! `$(NAME)`, `$NAME`, `%s`, `%(name)s`, `<…>`, `@NAME@`, `@@NAME@@`, `__NAME__`, `CHANGEME`.

/// The longest placeholder in bytes. The end of each possible one is looked for no further, so that a long text takes time in
/// proportion.
const LONGEST: usize = 256;

/// The placeholder in a text, if there is one.
pub fn find(text: &str) -> Option<&str> {
    let mut before = None;
    let from = |at: usize| {
        let mut end = text.len().min(at + LONGEST);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        &text[at..end]
    };
    text.char_indices().find_map(|(at, c)| {
        // Inside of a word, an underscore or a letter begins nothing.
        let begins = match c {
            '{' | '$' | '%' | '<' | '@' => true,
            '_' | 'c' | 'C' | 'r' | 'R' => !before.is_some_and(is_of_word),
            _ => false,
        };
        before = Some(c);
        if begins { placeholder(from(at)) } else { None }
    })
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What to do about it.
pub fn help(placeholder: &str) -> String {
    format!("`{placeholder}` looks like an unrendered placeholder: replace it with its value")
}

/// The placeholder at the beginning of a text.
fn placeholder(text: &str) -> Option<&str> {
    let until = |close: &str| text.find(close).map(|end| &text[..end + close.len()]);
    if text.starts_with("{{") {
        return until("}}");
    }
    if text.starts_with("${") {
        return until("}").filter(|found| found.len() > 3);
    }
    if text.starts_with("$(") {
        return until(")").filter(|found| found.len() > 3);
    }
    if text.starts_with("%(") {
        return until(")s").filter(|found| found.len() > 4);
    }
    if let Some(name) = text.strip_prefix('$') {
        let length = name.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        return named.then(|| &text[..=length]);
    }
    if let Some(rest) = text.strip_prefix('%') {
        return rest.starts_with(['s', 'd', 'v', 'q']).then(|| &text[..2]);
    }
    if text.starts_with(['@', '_']) {
        return ["@@", "@", "__"].iter().find_map(|fence| fenced(text, fence));
    }
    if let Some(found) = ["changeme", "replaceme"].iter().find_map(|words| imperative(text, words)) {
        return Some(found);
    }
    let found = until(">").filter(|_| text.starts_with('<'))?;
    let inside = &found[1..found.len() - 1];
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ' | '.');
    (inside.starts_with(|c: char| c.is_ascii_alphabetic()) && inside.chars().all(word)).then_some(found)
}

/// A name between two fences at the beginning of a text. A kernel function such as `__x64_sys_dup` has one alone.
fn fenced<'a>(text: &'a str, fence: &str) -> Option<&'a str> {
    let inside = text.strip_prefix(fence)?;
    let name = &inside[..inside.find(fence)?];
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let after = &inside[name.len() + fence.len()..];
    let is_whole = !after.starts_with(is_of_word) || fence.starts_with('@');
    (is_name && is_whole).then(|| &text[..name.len() + 2 * fence.len()])
}

/// `CHANGEME`, `change-me`, `REPLACE_ME` at the beginning of a text. `words` are in small letters.
fn imperative<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let word = &text[..text.find(|c| !is_part(c)).unwrap_or(text.len())];
    let folded = word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase);
    folded.eq(words.chars()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_every_kind() {
        for (text, expected) in [
            ("${PODCIDR}", "${PODCIDR}"),
            ("10.0.0.0/$BITS", "$BITS"),
            ("{{ .Values.cidr }}", "{{ .Values.cidr }}"),
            ("/opt/{{name}}/bin", "{{name}}"),
            ("$(POD_CIDR)/16", "$(POD_CIDR)"),
            ("%(cidr)s", "%(cidr)s"),
            ("%s", "%s"),
            ("/home/%s/x", "%s"),
            ("<your-cidr>", "<your-cidr>"),
            ("<POD CIDR>/16", "<POD CIDR>"),
            ("@@POD_CIDR@@/16", "@@POD_CIDR@@"),
            ("/opt/@name@/bin", "@name@"),
            ("__POD_CIDR__", "__POD_CIDR__"),
            ("/opt/__NAME__/bin", "__NAME__"),
            ("CHANGEME", "CHANGEME"),
            ("10.0.0.0/change-me", "change-me"),
            ("Replace_Me", "Replace_Me"),
        ] {
            assert_eq!(find(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "plain",
            "10.0.0.0/8",
            "$",
            "$5",
            "100%",
            "a<b",
            "<>",
            "<1>",
            "{",
            "${}",
            "$()",
            "%()s",
            "%",
            "é<ü",
            "user@example.com",
            "@@",
            "@@@@",
            "@1@",
            "__",
            "____",
            "__x64_sys_setuid",
            "__init__x",
            "a__init__",
            "changed",
            "exchange-me",
            "change-media",
        ] {
            assert_eq!(find(text), None, "{text}");
        }
    }

    #[test]
    fn a_long_text_takes_time_in_proportion() {
        for part in ["{{a: 1},", "${ü", "$(", "<a ", "@a ", "__a ", "changemes-"] {
            let text = part.repeat((1 << 20) / part.len());
            assert_eq!(find(&text), None, "{part}");
        }
    }
}
