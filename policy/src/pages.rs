//! The pages on diagnostics, as they are written: `docs/codes/GWnnn.md`.
//!
//! ```text
//! # GW303: filter on an undeclared argument
//! Usually: an error.
//! ## What it says
//! ## Why it matters
//! ## Bad example
//! ## Corrected example
//! ```
//!
//! The examples are fenced blocks, `yaml KIND`, and are run by tests: the bad one gives the code and no error of another
//! code (an older name is also an error for Tetragon, GW019), the corrected one gives neither an error nor a warning, nor
//! the code. The kinds:
//!
//! * `policy`: one or more policies
//! * `workloads`: objects that are assessed together with the policies
//! * `applied`: what `kubectl apply` was given, the policy being the object that came of it
//! * `definition`: a `CustomResourceDefinition` that the policy is checked against

/// The sections, in their order.
pub const SECTIONS: [&str; 4] = ["What it says", "Why it matters", "Bad example", "Corrected example"];

/// A page, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// The code in its title.
    pub id: &'a str,
    /// The rest of its title.
    pub title: &'a str,
    /// Names of the sections, in their order.
    pub sections: Vec<&'a str>,
    /// What gives the diagnostic.
    pub bad: Example<'a>,
    /// What doesn't.
    pub corrected: Example<'a>,
}

/// An example: the documents that are assessed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example<'a> {
    /// Kind and text of each block.
    pub blocks: Vec<(&'a str, &'a str)>,
}

impl<'a> Example<'a> {
    /// The texts of one kind.
    pub fn of(&self, kind: &str) -> impl Iterator<Item = &'a str> {
        self.blocks.iter().filter(move |(of, _)| *of == kind).map(|(_, text)| *text)
    }

    /// Whether it has blocks of a kind.
    pub fn has(&self, kind: &str) -> bool {
        self.of(kind).next().is_some()
    }
}

/// Takes a page apart; `None` where it has no title with a code.
pub fn parse(text: &str) -> Option<Page<'_>> {
    let (id, title) = text.lines().next()?.strip_prefix("# ")?.split_once(": ")?;
    let section = |name: &str| {
        let (_, rest) = text.split_once(&format!("\n## {name}\n"))?;
        Some(rest.split("\n## ").next().unwrap_or(rest))
    };
    let example = |name| section(name).map(example).unwrap_or_default();
    Some(Page {
        id,
        title,
        sections: text.lines().filter_map(|line| line.strip_prefix("## ")).collect(),
        bad: example(SECTIONS[2]),
        corrected: example(SECTIONS[3]),
    })
}

fn example(section: &str) -> Example<'_> {
    let mut blocks = Vec::new();
    let mut rest = section;
    while let Some((_, fenced)) = rest.split_once("```yaml ") {
        let Some((kind, text)) = fenced.split_once('\n') else { break };
        let Some((text, after)) = text.split_once("\n```") else { break };
        blocks.push((kind.trim(), text));
        rest = after;
    }
    Example { blocks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_taken_apart() {
        let text = "# GW999: a title\n\n## What it says\n\n```yaml policy\nno: example\n```\n\n## Bad example\n\n\
                    ```yaml workloads\na: 1\n```\n\n```yaml policy\nb: 2\nc: 3\n```\n\n## Corrected example\n\nnone\n";
        let page = parse(text).unwrap();
        assert_eq!((page.id, page.title), ("GW999", "a title"));
        assert_eq!(page.sections, ["What it says", "Bad example", "Corrected example"]);
        assert_eq!(page.bad.blocks, [("workloads", "a: 1"), ("policy", "b: 2\nc: 3")]);
        assert!(page.bad.has("workloads") && !page.corrected.has("policy"));
        assert!(parse("GW999").is_none());
    }
}
