//! The version in the name of a kernel's release.

/// Major and minor number of a release as `uname -r` gives it: 6 and 12 of `6.12.117+deb13-cloud-amd64`. `None` if it
/// does not begin with two numbers.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn two_numbers_at_the_beginning() {
        assert_eq!(version("6.12.117+deb13-cloud-amd64"), Some((6, 12)));
        assert_eq!(version("5.10.0-36-cloud-amd64"), Some((5, 10)));
        assert_eq!(version("5.11-rc1"), Some((5, 11)));
        assert_eq!((version(""), version("6"), version("linux-6.1")), (None, None, None));
    }
}
