//! "Did you mean": the known word that a mistyped one is nearest to. Everything of the kind is here: words of the language
//! in this file, names of kernel functions in [`functions`], keys and values of labels in [`Words`]. How much may differ
//! depends on what is compared: out of a few words the nearest is probably intended, out of ten thousand labels hardly any.

mod names;
mod words;

use gatewatch_kernel::Profile;

pub use words::{Words, typo_distance};

/// The candidate that `word` is probably intended to be: the one that differs in case or punctuation only, the one of
/// the same words in another order, or else the one with the fewest typos between them, if these are no more than a third of its
/// length. Of equals the first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A distance takes time in proportion to the product of lengths, and no known word is that long.
    if word.len() > 64 {
        return None;
    }
    let folded = fold(word);
    let sorted = sorted_words(word);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other = fold(candidate);
        let distance = if other == folded {
            0
        } else if sorted.len() > 1 && sorted == sorted_words(candidate) {
            1
        } else {
            strsim::damerau_levenshtein(&folded, &other)
        };
        if distance <= other.len().max(folded.len()) / 3 && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Up to `max` functions of a kernel whose names are most like this one, the likeliest first. A system call's symbol is
/// compared with those of system calls only.
pub fn functions(kernel: &Profile, name: &str, max: usize) -> Vec<String> {
    let prefix = kernel.arch.syscall_prefix();
    if let Some(call) = name.strip_prefix(prefix) {
        let calls = names::nearest(call, kernel.syscalls(), max);
        return calls.into_iter().map(|call| format!("{prefix}{call}")).collect();
    }
    let functions = kernel.functions().filter(|other| !other.contains('.'));
    names::nearest(name, functions, max).into_iter().map(str::to_owned).collect()
}

/// The words that a name is made of (`TracingPolicyNamespaced`), in the order of the alphabet.
fn sorted_words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if !c.is_uppercase() && !matches!(c, '_' | '-') => word.extend(c.to_lowercase()),
            _ => words.push(c.to_lowercase().filter(|c| !matches!(c, '_' | '-')).collect()),
        }
    }
    words.retain(|word| !word.is_empty());
    words.sort();
    words
}

fn fold(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_functions_find_their_names() {
        let kernel = Profile::shipped("7.3").unwrap();
        let like = |name: &str, max| functions(&kernel, name, max);
        assert_eq!(like("security_file_premission", 1), ["security_file_permission"]);
        assert_eq!(like("tcp_conect", 1), ["tcp_connect"]);
        assert_eq!(like("__x64_sys_exceve", 2), ["__x64_sys_execve", "__x64_sys_execveat"]);
        assert_eq!(like("do_sys_openat", 1), ["do_sys_openat2"]);
        assert_eq!(like("wholly_different_from_all_of_them", 3), Vec::<String>::new());
    }

    #[test]
    fn finds_slips_and_nothing_far_away() {
        let words = ["matchArgs", "matchData", "matchBinaries", "char_buf"];
        assert_eq!(nearest("matchargs", words), Some("matchArgs"));
        assert_eq!(nearest("matchBinarys", words), Some("matchBinaries"));
        assert_eq!(nearest("charBuf", words), Some("char_buf"));
        assert_eq!(nearest("argsMatch", words), Some("matchArgs"));
        assert_eq!(nearest("selectors", words), None);
        assert_eq!(nearest("", words), None);
        assert_eq!(nearest(&"m".repeat(1000), words), None);
    }
}
