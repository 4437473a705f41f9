//! Tables of a matcher that is attached to several hook points.

use super::Tables;

impl Tables {
    /// Replaces the numbers of hooks, which were given as 0, 1, 2 …, by the places of the numbers that each hook has at the
    /// points: `numbers[hook][point]`.
    pub fn at_points(&mut self, numbers: &[Vec<u32>]) {
        let mut places = Vec::with_capacity(numbers.len());
        for of_hook in numbers {
            places.push(u32::try_from(self.direct.len()).unwrap_or(u32::MAX));
            self.direct.extend(of_hook);
        }
        let actions = self.actions.iter_mut().chain([&mut self.config.only]).map(|action| &mut action.hook);
        for hook in actions.chain(self.record_bits.iter_mut().map(|bit| &mut bit.hook)) {
            *hook = places.get(*hook as usize).copied().unwrap_or(u32::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use gatewatch_abi::BitAction;

    use super::Tables;

    #[test]
    fn each_hook_has_a_number_at_each_point() {
        let action = |hook| BitAction { siblings: 0, hook, flags: 1 };
        let mut tables = Tables {
            direct: vec![9, 9],
            actions: vec![action(0), action(1), action(1)],
            ..Tables::default()
        };
        tables.at_points(&[vec![30, 31], vec![7, 8]]);
        let number = |bit: usize, point: usize| tables.direct[tables.actions[bit].hook as usize + point];
        assert_eq!([number(0, 0), number(0, 1), number(1, 0), number(2, 1)], [30, 31, 7, 8]);
        assert_eq!(tables.direct[..2], [9, 9]);
    }
}
