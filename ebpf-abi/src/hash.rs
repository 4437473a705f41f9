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
///
/// This is the id of a program that a container runs, or another process that has ever been in a mount namespace of its own.
/// The host's own have [`HOST_PROGRAM`] beside it.
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
    named(hash)
}

/// Makes an id of a hash.
#[inline]
pub const fn named(hash: u64) -> u64 {
    hash & !HOST_PROGRAM | 1
}

/// A bit of a program's id: the process executed it in the host's mount namespace, and so did the process that it descends
/// from, up to the host's first. Nothing that a container runs has it, whatever it does: the first program of a container is
/// executed in the container's mount namespace, and no descendant gets the bit back.
pub const HOST_PROGRAM: u64 = 2;

/// Both ids of the program at `path`: that of containers, and that of the host.
pub fn binary_ids(key: u64, path: &[u8]) -> [u64; 2] {
    let id = binary_id(key, path);
    [id, id | HOST_PROGRAM]
}

#[cfg(test)]
mod tests {
    use super::{HOST_PROGRAM, binary_id, binary_ids};

    #[test]
    fn depends_on_key_length_and_every_byte() {
        let id = binary_id(7, b"/usr/bin/sudo");
        assert_ne!(id, binary_id(8, b"/usr/bin/sudo"));
        assert_ne!(id, binary_id(7, b"/usr/bin/sudp"));
        assert_ne!(id, binary_id(7, b"/usr/bin/sudo\0"));
        assert_eq!(id, binary_id(7, b"/usr/bin/sudo"));
    }

    #[test]
    fn only_the_host_s_have_the_bit() {
        for path in [&b"/a"[..], b"/b", b"/c", b"/d", b"/e", b"/f"] {
            let [container, host] = binary_ids(7, path);
            assert!(container & HOST_PROGRAM == 0 && host & HOST_PROGRAM != 0 && container & 1 == 1);
            assert_eq!(container, host & !HOST_PROGRAM);
        }
    }
}
