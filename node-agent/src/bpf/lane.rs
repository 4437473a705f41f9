//! Lanes: a hook point has one attached program and one matcher for each, see [`gatewatch_policy::lanes`].

use std::fmt;

use gatewatch_abi::consts::MAX_LANES;
use gatewatch_policy::plan::HookPoint;
use serde::{Deserialize, Serialize};

use crate::fingerprint::fingerprint;

/// The prefix of a name that has a fingerprint of many points.
const MANY: &str = "many-";

/// One lane of a hook point, or of many points that share a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Lane {
    /// Where its program is attached; the first of them, if these are many.
    pub point: HookPoint,
    /// Its number at this point. Most points have lane 0 alone.
    pub number: u8,
    /// A fingerprint of the points, if these are many.
    pub many: Option<u64>,
}

/// As it is saved: lane 0 by its point, as agents did that knew no other lanes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Saved {
    First(HookPoint),
    Other {
        point: HookPoint,
        lane: u8,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        many: Option<u64>,
    },
}

impl Lane {
    /// The lane that every point has.
    pub fn first(point: HookPoint) -> Self {
        Self::numbered(point, 0)
    }

    /// A lane of one point.
    pub fn numbered(point: HookPoint, number: u8) -> Self {
        Self { point, number, many: None }
    }

    /// A lane of one point whose program can make the function return an error: it is attached to the LSM hook of the
    /// function. `number` counts these lanes alone.
    pub fn overriding(point: HookPoint, number: u8) -> Self {
        Self::numbered(point, MAX_LANES + number)
    }

    /// Whether a number is that of such a lane.
    pub const fn is_overriding(number: u8) -> bool {
        number >= MAX_LANES
    }

    /// A lane of many points, which are in order.
    pub fn of_many(points: &[HookPoint], number: u8) -> Option<Self> {
        Some(Self { point: points.first()?.clone(), number, many: Some(fingerprint(&points)) })
    }

    /// What its name in a file system ends with.
    pub(super) fn suffix(&self) -> String {
        let many = self.many.map_or_else(String::new, |many| format!("~{MANY}{many:016x}"));
        if self.number == 0 { many } else { format!("{many}~{}", self.number) }
    }

    /// Splits a name that [`suffix`](Self::suffix) was appended to: into the rest, the number, and what `many` is.
    pub(super) fn split(name: &str) -> (&str, u8, Option<u64>) {
        let number = |text: &str| text.parse().ok().filter(|number| (1..2 * MAX_LANES).contains(number));
        let many = |text: &str| u64::from_str_radix(text.strip_prefix(MANY)?, 16).ok();
        let last = |name| str::rsplit_once(name, '~');
        let (name, number) =
            last(name).and_then(|(rest, end)| Some((rest, number(end)?))).unwrap_or((name, 0));
        let (name, many) =
            last(name).and_then(|(rest, end)| Some((rest, Some(many(end)?)))).unwrap_or((name, None));
        (name, number, many)
    }
}

impl From<Saved> for Lane {
    fn from(saved: Saved) -> Self {
        match saved {
            Saved::First(point) => Self::first(point),
            Saved::Other { point, lane, many } => Self { point, number: lane, many },
        }
    }
}

impl From<Lane> for Saved {
    fn from(lane: Lane) -> Self {
        match lane {
            Lane { point, number: 0, many: None } => Self::First(point),
            Lane { point, number, many } => Self::Other { point, lane: number, many },
        }
    }
}

/// The label of the point, and the number of another lane than the first.
impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.point)?;
        if self.many.is_some() {
            f.write_str(" and other functions")?;
        }
        match self.number {
            0 => Ok(()),
            MAX_LANES => f.write_str(" by LSM"),
            number if Self::is_overriding(number) => write!(f, " by LSM, lane {}", number - MAX_LANES),
            number => write!(f, " lane {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use gatewatch_policy::plan::When;

    use super::*;

    #[test]
    fn the_first_lane_is_saved_as_its_point() {
        let point = HookPoint::Function { symbol: "f".to_owned(), when: When::Entry };
        let first = Lane::first(point.clone());
        assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&point).unwrap());
        let many = Lane { many: Some(7), ..first.clone() };
        let other = Lane { number: 2, ..many.clone() };
        let overriding = Lane::overriding(point.clone(), 0);
        for lane in [first, Lane::numbered(point, 3), many, other, overriding] {
            let text = serde_json::to_string(&lane).unwrap();
            assert_eq!(serde_json::from_str::<Lane>(&text).unwrap(), lane, "{text}");
            let name = format!("function~entry~f~fentry{}", lane.suffix());
            assert_eq!(Lane::split(&name), ("function~entry~f~fentry", lane.number, lane.many));
        }
        assert_eq!(Lane::split("x~fentry~16"), ("x~fentry~16", 0, None), "there is no such lane");
    }
}
