//! The names that are most like one that doesn't exist, out of tens of thousands.

use std::cmp::Reverse;

/// Longest name that is looked for: no kernel symbol is longer (`KSYM_NAME_LEN` is 512; the longest in use has less
/// than 100 bytes), and the time for one comparison grows with the square.
const LONGEST: usize = 128;

/// Up to `max` of the candidates, the most similar first: those that are at most a third of the name's length away
/// (insertions, deletions, replacements and swaps of neighbours), then those that contain it. Of equals, the one
/// with the longer common beginning is first.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>, max: usize) -> Vec<&'a str> {
    if name.is_empty() || name.len() > LONGEST {
        return Vec::new();
    }
    let limit = (name.len() / 3).max(1);
    let letters = Letters::of(name);
    let mut found = Vec::new();
    for candidate in candidates {
        let mut distance = if candidate.len().abs_diff(name.len()) <= limit
            && Letters::of(candidate).difference(&letters) <= limit
        {
            strsim::osa_distance(name, candidate)
        } else {
            usize::MAX
        };
        if distance > limit && name.len() > 4 && candidate.contains(name) {
            distance = limit + (candidate.len() - name.len());
        } else if distance > limit {
            continue;
        }
        let common = name.bytes().zip(candidate.bytes()).take_while(|(a, b)| a == b).count();
        found.push((distance, Reverse(common), candidate));
    }
    found.sort_unstable();
    found.into_iter().take(max).map(|(.., candidate)| candidate).collect()
}

/// How often each letter occurs. Two names differ by at least as many edits as the one has letters that the other
/// hasn't, which is much quicker to find than the edits.
struct Letters([u8; 32]);

impl Letters {
    fn of(name: &str) -> Self {
        let mut counts = [0_u8; 32];
        for byte in name.bytes() {
            if let Some(count) = counts.get_mut(usize::from(byte & 31)) {
                *count = count.saturating_add(1);
            }
        }
        Self(counts)
    }

    fn difference(&self, other: &Self) -> usize {
        let (mut more, mut less) = (0, 0);
        for (a, b) in self.0.iter().zip(&other.0) {
            more += usize::from(a.saturating_sub(*b));
            less += usize::from(b.saturating_sub(*a));
        }
        more.max(less)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 6] =
        ["tcp_connect", "tcp_close", "security_file_open", "security_file_permission", "do_exit", "x"];

    #[test]
    fn finds_slips() {
        for (name, expected) in [
            ("tcp_conect", "tcp_connect"),
            ("tpc_connect", "tcp_connect"),
            ("security_file_premission", "security_file_permission"),
            ("secure_file_open", "security_file_open"),
            ("file_perm", "security_file_permission"),
        ] {
            assert_eq!(nearest(name, NAMES.into_iter(), 1), [expected], "{name}");
        }
        assert_eq!(nearest("nothing_like_it", NAMES.into_iter(), 3), Vec::<&str>::new());
        assert_eq!(nearest(&"x".repeat(1000), NAMES.into_iter(), 3), Vec::<&str>::new());
        assert_eq!(nearest("tcp_connect", NAMES.into_iter(), 0), Vec::<&str>::new());
    }

    proptest! {
        #[test]
        fn the_filter_by_letters_loses_nothing(a in "[a-d_]{1,12}", b in "[a-d_]{1,12}") {
            prop_assert!(Letters::of(&a).difference(&Letters::of(&b)) <= strsim::osa_distance(&a, &b));
        }
    }
}
