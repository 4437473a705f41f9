//! The names of hooks' folders in the bpf file system: where a hook attaches, how, and for which lane if it isn't the first.

use gatewatch_policy::plan::HookPoint;

use super::{attach_type::AttachType, lane::Lane};

/// `NAME_MAX`, include/uapi/linux/limits.h.
const NAME_MAX: usize = 255;

/// The name of a hook's folder; none where there is no name that a file may have: such a hook can't be kept.
pub(super) fn name(lane: &Lane, by: AttachType) -> Option<String> {
    let name = format!("{}~{}{}", lane.point.file_name(), by.name(), lane.suffix());
    (name.len() <= NAME_MAX).then_some(name)
}

/// What a folder's name says.
pub(super) fn parse(name: &str) -> Option<(Lane, AttachType)> {
    let (rest, number, many) = Lane::split(name);
    let (point, by) = split(rest)?;
    Some((Lane { point: HookPoint::from_file_name(point)?, number, many }, by))
}

fn split(name: &str) -> Option<(&str, AttachType)> {
    let (rest, by) = name.rsplit_once('~')?;
    Some((rest, AttachType::ALL.into_iter().find(|one| one.name() == by)?))
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::plan::When;

    use super::{AttachType, HookPoint, Lane, name, parse};

    #[test]
    fn a_folder_names_its_hook() {
        let of = |symbol: &str, when| HookPoint::Function { symbol: symbol.to_owned(), when };
        for (point, by) in [
            (of("__sys_setuid", When::Entry), AttachType::Fentry),
            (of("foo.isra.0", When::Return), AttachType::Kretprobe),
            (
                HookPoint::Syscall { symbol: "__x64_sys_dup".to_owned(), when: When::Return },
                AttachType::Fexit,
            ),
        ] {
            for number in [0, 1, 7] {
                let lane = Lane::numbered(point.clone(), number);
                let name = name(&lane, by).unwrap();
                assert!(!name.contains('.'), "{name}");
                assert_eq!(parse(&name), Some((lane, by)));
            }
        }
        assert_eq!(parse("function~entry~x~nothing"), None);
        assert_eq!(parse("function~entry~x~fentry~0"), None);
        assert_eq!(name(&Lane::first(of(&"x".repeat(250), When::Entry)), AttachType::Fentry), None);
    }
}
