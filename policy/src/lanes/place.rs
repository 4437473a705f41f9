//! Gives hooks their lanes.

use std::cmp::Reverse;

use gatewatch_abi::consts::MAX_LANES;

use super::usage::{Needs, Usage};
use crate::{
    match_tables::Excess,
    plan::{HookPlan, Test},
};

/// A hook that needs a lane.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What it looks for.
    pub plan: &'a HookPlan,
    /// The lane that it is in, if it is in one.
    pub lane: Option<u8>,
    /// Whether it looks for the same as when it was placed there.
    pub same: bool,
}

impl<'a> Candidate<'a> {
    /// A hook that is in no lane yet.
    pub const fn new(plan: &'a HookPlan) -> Self {
        Self { plan, lane: None, same: false }
    }
}

/// A hook that fits into no lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// Its index among the candidates.
    pub index: usize,
    /// Why not.
    pub excess: Excess,
}

/// Gives each hook of one point its lane. Hooks that are the same as before come first and keep their lanes. Then come
/// those that were changed, and last the new ones, those with the most fields first.
///
/// The hooks of a lane are numbered in the order of `candidates`.
pub fn place(candidates: &[Candidate<'_>]) -> Result<Vec<u8>, Unplaced> {
    let needs: Vec<Needs<'_>> = candidates.iter().map(|candidate| Needs::of(candidate.plan)).collect();
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&i| {
        let Candidate { lane, same, .. } = candidates[i];
        let fields = if lane.is_some() { 0 } else { needs[i].slots() };
        (lane.is_none(), lane.is_some() && !same, Reverse(fields))
    });
    let mut lanes: Vec<Usage<'_>> = vec![Usage::default(); usize::from(MAX_LANES)];
    let mut placed = vec![0; candidates.len()];
    for index in order {
        let lane = choose(&lanes, candidates[index].lane, index, &needs[index])
            .map_err(|excess| Unplaced { index, excess })?;
        lanes[usize::from(lane)].add(index, &needs[index]);
        placed[index] = lane;
    }
    Ok(placed)
}

/// The sets of programs whose children these hooks follow.
pub fn followed(hooks: &[HookPlan]) -> impl Iterator<Item = &[Vec<u8>]> {
    let selectors = hooks.iter().flat_map(|hook| &hook.selectors);
    selectors.flat_map(|selector| &selector.filters).filter_map(|filter| match &filter.test {
        Test::Text { follow_children: true, values, .. } => Some(values.as_slice()),
        _ => None,
    })
}

/// Whether one hook fits into an empty lane.
pub fn fits_alone(plan: &HookPlan) -> Result<(), Excess> {
    Usage::default().room_for(0, &Needs::of(plan)).map(drop)
}

/// The lane for a hook: its own, else the lane in use that needs the fewest more fields for it, else a new one.
fn choose(lanes: &[Usage<'_>], own: Option<u8>, index: usize, needs: &Needs<'_>) -> Result<u8, Excess> {
    let room = |lane: u8| lanes.get(usize::from(lane)).and_then(|usage| usage.room_for(index, needs).ok());
    if let Some(own) = own.filter(|own| room(*own).is_some()) {
        return Ok(own);
    }
    let used = |lane: &u8| lanes[usize::from(*lane)].is_used();
    let best = (0..MAX_LANES).filter(used).filter_map(|lane| Some((room(lane)?, lane))).min();
    if let Some((_, lane)) = best {
        return Ok(lane);
    }
    // What fits into no empty lane fits into none.
    Usage::default().room_for(index, needs)?;
    (0..MAX_LANES).find(|lane| !used(lane)).ok_or(Excess::Lanes)
}
