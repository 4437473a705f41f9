//! Words that the texts for our readers do without, and what to write instead.

use super::prose::Block;

/// Words that have one plain meaning less than the reader needs, and the term of the field for them.
struct Rule {
    /// Ways to write it, in lower case and between the borders of words.
    words: &'static [&'static str],
    /// What a failure tells to write.
    instead: &'static str,
    /// What may come before it after all, at its end, or follow it.
    but_after: &'static [&'static str],
    but_before: &'static [&'static str],
}

const fn rule(words: &'static [&'static str], instead: &'static str) -> Rule {
    Rule { words, instead, but_after: &[], but_before: &[] }
}

const RULES: &[Rule] = &[
    rule(
        &["is told", "are told", "was told", "be told", "told of", "tells of"],
        "receives, reports, logs, returns",
    ),
    rule(&["isn't one of those", "is not one of those"], "is not a valid X; expected one of …"),
    Rule {
        words: &["is no"],
        instead: "is not a valid X; expected one of …; is not a …",
        but_after: &["there", "there still"],
        but_before: &["longer", "more", "less"],
    },
    rule(
        &["stands in", "stand in", "stands there", "lies in", "lie in", "lies below", "lies there"],
        "is, is stored in",
    ),
    rule(&["leads to", "lead to a file", "leads nowhere"], "resolves to"),
    Rule {
        words: &["nobody", "somebody", "anybody"],
        instead: "no policy, no pod, the caller, the user",
        // The user of that name.
        but_after: &["-u"],
        but_before: &[],
    },
    rule(&["a slip", "slips", "one letter off"], "a likely typo"),
    rule(&["looked at", "looks at", "look at", "looking at"], "checked, evaluated, read, matched against"),
    rule(&["mend", "mends", "mended", "make whole", "made whole"], "fix, repair"),
    rule(&["goes on", "go on", "going on", "went on", "gone on with"], "continues"),
    rule(
        &["is gone", "are gone", "was gone", "be gone", "has gone", "have gone"],
        "is deleted, has ended, no longer exists",
    ),
    rule(&["taken up", "takes up", "take up"], "is applied"),
    rule(&["takes away", "take away", "taken away"], "removes"),
    rule(&["by itself", "by themselves"], "automatically, alone"),
    rule(&["is had", "are had", "have something counted"], "is available at, count"),
    rule(&["the way out"], "the workaround"),
    rule(&["in the way", "held up", "hold up", "let be"], "blocks, delayed, allow"),
    rule(&["kernel half", "user half"], "BPF programs, agent"),
    rule(&["out of sight", "in sight"], "no longer selected, selected by"),
    rule(&["spoilt", "spoiled"], "corrupted, invalid"),
    Rule {
        words: &["refuse", "refuses", "refused", "refusing", "refusal", "refusals"],
        instead: "reject, rejection",
        // As operating systems say it, of connections; and the value of a label, which users' queries have.
        but_after: &["connection", "connections", "state=\"", "state=\\\""],
        but_before: &["connection", "connections"],
    },
];

/// Openers of a clause that is the subject of its sentence.
const OPENERS: &[&str] = &["What", "Who", "Whoever", "Whatever"];

/// What is wrong with a block of a file.
pub(super) fn faults(name: &str, block: &Block) -> Vec<String> {
    let text = block.text.to_lowercase();
    let mut faults = Vec::new();
    for rule in RULES {
        for words in rule.words {
            for (place, _) in text.match_indices(words) {
                let (before, after) = (&text[..place], &text[place + words.len()..]);
                let whole = !before.ends_with(is_letter) && !after.starts_with(is_letter);
                let allowed = rule.but_after.iter().any(|but| before.trim_end().ends_with(but))
                    || rule.but_before.iter().any(|but| after.trim_start().starts_with(but));
                // A word alone is a value, such as that of a label.
                if whole && !allowed && text.trim() != *words {
                    faults.push(format!(
                        "{name}:{}: \"{words}\": write {}",
                        block.line_of(place),
                        rule.instead
                    ));
                }
            }
        }
    }
    faults
}

/// Sentences that make a reader wait for their subject. Labels, such as headings and cells, have no full stop.
pub(super) fn late_subjects(name: &str, block: &Block) -> Vec<String> {
    let mut faults = Vec::new();
    for (place, sentence) in sentences(&block.text) {
        let opener = sentence.split_whitespace().next().unwrap_or_default();
        if OPENERS.contains(&opener) && sentence.ends_with('.') {
            let line = block.line_of(place);
            faults.push(format!("{name}:{line}: a sentence opens with \"{opener}\": begin with its subject"));
        }
    }
    faults
}

fn is_letter(letter: char) -> bool {
    // After a brace: the placeholder of a message.
    letter.is_alphanumeric() || matches!(letter, '_' | '`' | '{')
}

/// The sentences of a text, each with its place.
fn sentences(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut place = 0;
    std::iter::from_fn(move || {
        let rest = text.get(place..).filter(|rest| !rest.trim().is_empty())?;
        let end = [". ", "? ", "! ", ": "].iter().filter_map(|end| rest.find(end)).min();
        let end = end.map_or(rest.len(), |end| end + 1);
        let indentation = rest[..end].len() - rest[..end].trim_start().len();
        let found = (place + indentation, rest[..end].trim());
        place += end;
        Some(found)
    })
}

#[cfg(test)]
mod tests {
    use super::{super::prose::of_markdown, *};

    fn of(text: &str) -> Vec<String> {
        of_markdown(text).iter().flat_map(|block| faults("a.md", block)).collect()
    }

    #[test]
    fn each_rule_says_where_and_what_to_write() {
        let found = of(
            "First\nline. Everybody is\ntold of it.\n\nThe file `is gone` is fine, a demand is, this is gone.\n",
        );
        assert_eq!(
            found,
            [
                "a.md:2: \"is told\": write receives, reports, logs, returns",
                "a.md:3: \"told of\": write receives, reports, logs, returns",
                "a.md:5: \"is gone\": write is deleted, has ended, no longer exists",
            ]
        );
    }

    #[test]
    fn exceptions_are_none_of_it() {
        assert!(of("There is no policy. It is no longer here, and recommend it.\n").is_empty());
        assert_eq!(of("10 is no time.\n").len(), 1);
    }

    #[test]
    fn sentences_begin_with_their_subject() {
        let late = |text: &str| -> Vec<String> {
            of_markdown(text).iter().flat_map(|block| late_subjects("a.md", block)).collect()
        };
        assert_eq!(
            late("Read this.\nWhat is wrong is in the log.\n"),
            ["a.md:2: a sentence opens with \"What\": begin with its subject"]
        );
        assert!(late("# What it does\n\nWhat is a policy? Whoopers do. A policy is what runs.\n").is_empty());
    }
}
