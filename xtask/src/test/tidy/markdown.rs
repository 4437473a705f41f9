//! Markdown is wrapped, and its links lead somewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use pulldown_cmark::{Event, Tag, TagEnd};

use super::prose::{Lines, events};

/// How many columns a line may have.
const COLUMNS: usize = 100;

/// The lines that could be wrapped and are not. Tables, code, links and HTML are as long as they have to be.
pub(super) fn unwrapped(name: &str, text: &str) -> Vec<String> {
    let whole = events(text).filter_map(|(event, place)| {
        let is_whole = matches!(
            event,
            Event::Start(
                Tag::Table(_) | Tag::CodeBlock(_) | Tag::HtmlBlock | Tag::Link { .. } | Tag::Image { .. }
            ) | Event::Code(_)
                | Event::InlineHtml(_)
        );
        is_whole.then_some(place)
    });
    let whole: Vec<_> = whole.collect();
    let mut faults = Vec::new();
    let mut begin = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let trimmed = line.trim_end();
        let columns = trimmed.chars().count();
        if columns > COLUMNS && !is_definition(trimmed) {
            // A space before the border is as good as one beyond it: the word across the border belongs on the next line.
            let mut spaces = trimmed.match_indices(' ').map(|(place, _)| place);
            let can_break = |place: usize| {
                place >= marker(trimmed) && !whole.iter().any(|range| range.contains(&(begin + place)))
            };
            if spaces.any(can_break) {
                faults.push(format!("{name}:{number}: {columns} columns; wrap the line at {COLUMNS}"));
            }
        }
        begin += line.len();
    }
    faults
}

/// The length of what a line begins with: its indentation, and the markers of quotes, items and numbers. The space after
/// them is none to wrap at.
fn marker(line: &str) -> usize {
    let mut rest = line.trim_start();
    loop {
        let digits = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let numbered = rest.len() > digits.len() && digits.starts_with(". ");
        let after = if numbered { Some(&digits[1..]) } else { rest.strip_prefix(['>', '*', '-', '+']) };
        match after.filter(|after| after.starts_with(' ')) {
            Some(after) => rest = after.trim_start(),
            None => return line.len() - rest.len(),
        }
    }
}

/// Whether a line defines the target of links: `[name]: target`.
fn is_definition(line: &str) -> bool {
    line.starts_with('[') && line.contains("]: ")
}

/// The places that links of these files name and that do not exist. `exists` is whether the tree has a file or a folder.
pub(super) fn dead_links(files: &BTreeMap<&str, &str>, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        files.iter().map(|(name, text)| (*name, anchors(text))).collect();
    let mut faults = Vec::new();
    for (name, text) in files {
        let lines = Lines::of(text);
        for (event, place) in events(text) {
            let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event else {
                continue;
            };
            // Other pages of the web are not fetched.
            if dest_url.contains(':') {
                continue;
            }
            let (path, anchor) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
            let target = if path.is_empty() { Some((*name).to_owned()) } else { resolve(name, path) };
            let fault = match target {
                Some(target) if exists(&target) => {
                    let known = anchors.get(target.as_str());
                    let found = anchor.is_empty() || known.is_none_or(|known| known.contains(anchor));
                    (!found).then(|| format!("no heading of {target} has the anchor #{anchor}"))
                }
                _ => Some(format!("there is no {dest_url}")),
            };
            if let Some(fault) = fault {
                faults.push(format!("{name}:{}: dead link: {fault}", lines.number(place.start)));
            }
        }
    }
    faults
}

/// A relative path of a file, from the tree's root; nothing for one that leaves the tree.
fn resolve(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<Component<'_>> = Vec::new();
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    let joined = folder.join(path.trim_end_matches('/'));
    for part in joined.components() {
        match part {
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(_) => parts.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    parts.iter().collect::<PathBuf>().to_str().map(ToOwned::to_owned)
}

/// The anchors of a file's headings, by the rules of GitHub: lower case, hyphens for spaces, no punctuation, and a number
/// behind one that was there before.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut found, mut heading) = (BTreeSet::new(), None::<String>);
    for (event, _) in events(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(words) | Event::Code(words) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&words);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let unique = (0..)
                    .map(|number| if number == 0 { anchor.clone() } else { format!("{anchor}-{number}") });
                found.extend(unique.into_iter().find(|anchor| !found.contains(anchor)));
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                let ids = ["id=\"", "name=\""].into_iter().filter_map(|mark| html.split_once(mark));
                found.extend(ids.filter_map(|(_, rest)| Some(rest.split_once('"')?.0.to_owned())));
            }
            _ => {}
        }
    }
    found
}

fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.flat_map(char::to_lowercase).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_wrapped_is_found() {
        let words = "word ".repeat(25);
        let link = format!("[{}](x.md)", "a ".repeat(60));
        for (text, faults) in [
            (format!("{words}\n"), 1),
            (format!("* {words}\n"), 1),
            (format!("```\n{words}\n```\n"), 0),
            (format!("| a |\n|---|\n| {words} |\n"), 0),
            (format!("{}\n", "x".repeat(150)), 0),
            (format!("{link}\n"), 0),
            (format!("`{words}`\n"), 0),
            (format!("{link} and more\n"), 1),
            // A word across the border.
            (format!("{} {}\n", "a".repeat(95), "b".repeat(10)), 1),
            (format!("{} {link}\n", "a".repeat(10)), 1),
            (format!("* {}\n", "x".repeat(150)), 0),
            (format!("  10. > {link}\n"), 0),
        ] {
            assert_eq!(unwrapped("a.md", &text).len(), faults, "{text}");
        }
    }

    #[test]
    fn dead_links_are_found() {
        let a = "# One `two`, three!\n\n# x\n\n# x\n\n[a](b.md) [b](b.md#head) [c](#one-two-three) [d](#x-1) [e](../c) <https://x.y>\n";
        let b = "# Head\n\n[a](a.md#no) [b](c.md) ![c](../../out.png)\n\n<a id=\"here\"></a>\n\n[d](#here)\n";
        let files = BTreeMap::from([("docs/a.md", a), ("docs/b.md", b)]);
        let faults = dead_links(&files, &|path| ["docs/a.md", "docs/b.md", "c"].contains(&path));
        assert_eq!(
            faults,
            [
                "docs/b.md:3: dead link: no heading of docs/a.md has the anchor #no",
                "docs/b.md:3: dead link: there is no c.md",
                "docs/b.md:3: dead link: there is no ../../out.png",
            ]
        );
    }
}
