//! The hash that names a program's path. The BPF programs compute it at exec, the agent for
//! the values of `matchBinaries` and for the processes that run before it starts.

/// One step: takes a word into the hash. Multiplication spreads upwards, the shift brings it down again.
#[inline]
pub const fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    product ^ (product >> 32)
}

/// The id of the program at `path`, as the BPF programs compute it. `key` is secret and drawn at each start,
/// so that no program can prepare two paths of one id. A path is hashed as it is stored: cut to
/// [`BINARY_PATH_BYTES`](crate::consts::BINARY_PATH_BYTES), as little-endian words, the last one filled with
/// zeros, its (uncut) length first. The id is never 0, which stands for "no program known".
pub fn binary_id(key: u64, path: &[u8]) -> u64 {
    let mut hash = mix(key, path.len() as u64);
    let kept = if path.len() > crate::consts::BINARY_PATH_BYTES {
        &path[..crate::consts::BINARY_PATH_BYTES]
    } else {
        path
    };
    for chunk in kept.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    hash | 1
}

#[cfg(test)]
mod tests {
    use super::binary_id;

    #[test]
    fn depends_on_key_length_and_every_byte() {
        let id = binary_id(7, b"/usr/bin/sudo");
        assert_ne!(id, binary_id(8, b"/usr/bin/sudo"));
        assert_ne!(id, binary_id(7, b"/usr/bin/sudp"));
        assert_ne!(id, binary_id(7, b"/usr/bin/sudo\0"));
        assert_eq!(id, binary_id(7, b"/usr/bin/sudo"));
    }
}
