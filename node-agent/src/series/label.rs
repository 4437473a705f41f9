//! A binary's path as the value of a label.

use std::fmt::Write as _;

/// The path as text. Paths are bytes: bytes that are not UTF-8 become `\xNN`, and so do control characters, which could
/// act on the terminal of whoever reads the metrics. Newlines stay, since the exposition format writes them
/// as `\n`; quotes and backslashes are escaped there too.
pub fn binary_label(path: &[u8]) -> String {
    let mut label = String::with_capacity(path.len());
    let escape = |label: &mut String, byte: u8| {
        // Writing to a string doesn't fail.
        let _ = write!(label, "\\x{byte:02x}");
    };
    for chunk in path.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() && character != '\n' {
                let mut buffer = [0; 4];
                character.encode_utf8(&mut buffer).bytes().for_each(|byte| escape(&mut label, byte));
            } else {
                label.push(character);
            }
        }
        chunk.invalid().iter().for_each(|byte| escape(&mut label, *byte));
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names() {
        for (path, want) in [
            (&b"/usr/bin/sudo"[..], "/usr/bin/sudo"),
            (b"", ""),
            ("/opt/größe/見る".as_bytes(), "/opt/größe/見る"),
            (b"/tmp/\xff\xfe", r"/tmp/\xff\xfe"),
            // Cut in the middle of a character.
            (b"/tmp/\xe8\xa6", r"/tmp/\xe8\xa6"),
            // A surrogate and an overlong slash are no UTF-8.
            (b"/\xed\xa0\x80/\xc0\xaf", r"/\xed\xa0\x80/\xc0\xaf"),
            (b"/tmp/\x1b[31m\x07\r\x7f\x00", r"/tmp/\x1b[31m\x07\x0d\x7f\x00"),
            ("/\u{9b}31m".as_bytes(), r"/\xc2\x9b31m"),
            (b"/a\nb\"c\\d", "/a\nb\"c\\d"),
        ] {
            assert_eq!(binary_label(path), want);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes(path: Vec<u8>) {
            let label = binary_label(&path);
            proptest::prop_assert!(label.chars().all(|c| c == '\n' || !c.is_control()));
        }
    }
}
