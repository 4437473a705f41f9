//! Lanes: a hook point has one attached program and one matcher for each, see [`gatewatch_policy::lanes`].

use std::fmt;

use gatewatch_abi::consts::MAX_LANES;
use gatewatch_policy::plan::HookPoint;
use serde::{Deserialize, Serialize};

/// One lane of a hook point.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Lane {
    /// Where its program is attached.
    pub point: HookPoint,
    /// Its number at this point. Most points have lane 0 alone.
    pub number: u8,
}

/// As it is saved: lane 0 by its point, as agents did that knew no other lanes.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Saved {
    First(HookPoint),
    Other { point: HookPoint, lane: u8 },
}

impl Lane {
    /// The lane that every point has.
    pub fn first(point: HookPoint) -> Self {
        Self { point, number: 0 }
    }

    /// What its name in a file system ends with.
    pub(super) fn suffix(&self) -> String {
        if self.number == 0 { String::new() } else { format!("~{}", self.number) }
    }

    /// Splits a name that [`suffix`](Self::suffix) was appended to.
    pub(super) fn split(name: &str) -> (&str, u8) {
        let number = |text: &str| text.parse().ok().filter(|number| (1..MAX_LANES).contains(number));
        match name.rsplit_once('~') {
            Some((rest, end)) => number(end).map_or((name, 0), |number| (rest, number)),
            None => (name, 0),
        }
    }
}

impl From<Saved> for Lane {
    fn from(saved: Saved) -> Self {
        match saved {
            Saved::First(point) => Self::first(point),
            Saved::Other { point, lane } => Self { point, number: lane },
        }
    }
}

impl From<Lane> for Saved {
    fn from(lane: Lane) -> Self {
        match lane {
            Lane { point, number: 0 } => Self::First(point),
            Lane { point, number } => Self::Other { point, lane: number },
        }
    }
}

/// The label of the point, and the number of another lane than the first.
impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => write!(f, "{}", self.point),
            number => write!(f, "{} lane {number}", self.point),
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
        for lane in [first, Lane { point, number: 3 }] {
            let text = serde_json::to_string(&lane).unwrap();
            assert_eq!(serde_json::from_str::<Lane>(&text).unwrap(), lane, "{text}");
            let name = format!("function~entry~f~fentry{}", lane.suffix());
            assert_eq!(Lane::split(&name), ("function~entry~f~fentry", lane.number));
        }
        assert_eq!(Lane::split("x~fentry~8"), ("x~fentry~8", 0), "there is no such lane");
    }
}
