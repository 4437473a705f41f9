//! "Did you mean": the known word that a mistyped one is nearest to.

/// The candidate that `word` was probably meant to be: the one that differs in case or punctuation only, or else the
/// one the fewest slips away, where these are no more than a third of its length. Of equals the first.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A distance takes time in proportion to the product of lengths, and no known word is that long.
    if word.len() > 64 {
        return None;
    }
    let folded = fold(word);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other = fold(candidate);
        let distance = if other == folded { 0 } else { strsim::damerau_levenshtein(&folded, &other) };
        if distance <= other.len().max(folded.len()) / 3 && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn fold(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_nothing_far_away() {
        let words = ["matchArgs", "matchData", "matchBinaries", "char_buf"];
        assert_eq!(nearest("matchargs", words), Some("matchArgs"));
        assert_eq!(nearest("matchBinarys", words), Some("matchBinaries"));
        assert_eq!(nearest("charBuf", words), Some("char_buf"));
        assert_eq!(nearest("selectors", words), None);
        assert_eq!(nearest("", words), None);
        assert_eq!(nearest(&"m".repeat(1000), words), None);
    }
}
