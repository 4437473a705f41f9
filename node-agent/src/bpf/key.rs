//! The key that ids of programs are made with, so that no pod can make two programs with one id.

use super::{LoadError, blob, bpffs::Pins};

/// Name under which it is kept.
const KEY: &str = "key";

/// Keeps it for the next agent.
pub(super) fn save(pins: &Pins, key: u64) -> Result<(), LoadError> {
    blob::save(pins.dir(), KEY, &key.to_le_bytes())
}

/// The key that ids of programs are made with: an earlier agent's, whose ids are in the maps, or a new one.
pub(super) fn take(pins: &mut Pins) -> Result<u64, LoadError> {
    if pins.taken {
        let known = blob::load(pins.dir(), KEY).ok().flatten().and_then(|bytes| bytes.try_into().ok());
        if let Some(known) = known {
            return Ok(u64::from_le_bytes(known));
        }
        // An agent that ended before it had begun.
        pins.clear()?;
    }
    random_key()
}

/// A key that cannot be guessed.
fn random_key() -> Result<u64, LoadError> {
    let mut key = [0; 8];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| LoadError::Random(errno.into()))?;
    Ok(u64::from_ne_bytes(key))
}
