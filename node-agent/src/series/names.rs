//! The texts of labels, each kept once.
//!
//! A node has some hundred names (pods, workloads, policies, programs) and ten thousand series made of them: a series
//! holds six numbers, and here is what they stand for.

use std::sync::Arc;

use foldhash::HashMap;

/// Stands for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(pub(super) u32);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Arc<str>, Name>,
    /// By number; `None` where the number is free.
    texts: Vec<Option<Arc<str>>>,
    free: Vec<Name>,
}

impl Names {
    /// The name of a text, which gets one if it has none. It is good until the next [`keep`](Self::keep) that does
    /// not name it.
    pub(super) fn name(&mut self, text: &str) -> Name {
        if let Some(name) = self.numbers.get(text) {
            return *name;
        }
        let text: Arc<str> = text.into();
        let name = self.free.pop().unwrap_or_else(|| {
            self.texts.push(None);
            // Four thousand million texts have no room in a process's memory before they have none here.
            Name(u32::try_from(self.texts.len() - 1).unwrap_or(u32::MAX))
        });
        if let Some(place) = self.texts.get_mut(name.0 as usize) {
            *place = Some(text.clone());
        }
        self.numbers.insert(text, name);
        name
    }

    /// The name of a text that has one.
    pub(super) fn find(&self, text: &str) -> Option<Name> {
        self.numbers.get(text).copied()
    }

    /// What a name stands for.
    pub(super) fn text(&self, name: Name) -> Option<&str> {
        self.texts.get(name.0 as usize)?.as_deref()
    }

    /// All texts by their numbers; empty for a number that is free.
    pub(super) fn texts(&self) -> impl ExactSizeIterator<Item = &str> {
        self.texts.iter().map(|text| text.as_deref().unwrap_or_default())
    }

    /// The texts that there are, sorted, and the place among them of each number.
    pub(super) fn sorted(&self) -> (Vec<Arc<str>>, Vec<u32>) {
        let mut sorted: Vec<(&Arc<str>, Name)> =
            self.numbers.iter().map(|(text, name)| (text, *name)).collect();
        sorted.sort_unstable();
        let mut places = vec![0; self.texts.len()];
        for (place, (_, name)) in (0..).zip(&sorted) {
            if let Some(of) = places.get_mut(name.0 as usize) {
                *of = place;
            }
        }
        (sorted.into_iter().map(|(text, _)| text.clone()).collect(), places)
    }

    /// Forgets all names but these.
    pub(super) fn keep(&mut self, used: impl Iterator<Item = Name>) {
        let mut kept = vec![false; self.texts.len()];
        for name in used {
            if let Some(kept) = kept.get_mut(name.0 as usize) {
                *kept = true;
            }
        }
        let (texts, free) = (&mut self.texts, &mut self.free);
        self.numbers.retain(|_, name| {
            let index = name.0 as usize;
            let stays = kept.get(index).copied().unwrap_or(false);
            if !stays && let Some(place) = texts.get_mut(index) {
                *place = None;
                free.push(*name);
            }
            stays
        });
        // What many names needed isn't held for few.
        if self.numbers.len() < self.numbers.capacity() / 4 {
            while self.texts.pop_if(|text| text.is_none()).is_some() {}
            let end = self.texts.len();
            self.free.retain(|name| (name.0 as usize) < end);
            self.numbers.shrink_to_fit();
            self.texts.shrink_to_fit();
            self.free.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_each_until_it_is_not_used() {
        let mut names = Names::default();
        let first = ["b", "a", "c"].map(|text| names.name(text));
        assert_eq!(["b", "a", "c"].map(|text| names.name(text)), first);
        assert_eq!(names.find("d"), None);
        let (sorted, places) = names.sorted();
        assert_eq!(sorted.iter().map(|text| &**text).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(first.map(|name| places[name.0 as usize]), [1, 0, 2]);
        names.keep([first[0]].into_iter());
        assert_eq!(["a", "b", "c"].map(|text| names.find(text)), [None, Some(first[0]), None]);
        // Numbers are used again, and each still has one text.
        let texts = ["b", "d", "e", "f"];
        let all = texts.map(|text| names.name(text));
        assert_eq!(names.texts().len(), 4);
        assert_eq!(all.map(|name| names.text(name)), texts.map(Some));
    }

    #[test]
    fn many_are_let_go_of() {
        let mut names = Names::default();
        let first = names.name("first");
        for i in 0..10_000 {
            names.name(&i.to_string());
        }
        names.keep([first].into_iter());
        assert!(names.numbers.capacity() < 10 && names.texts.capacity() < 10 && names.free.capacity() < 10);
        assert_eq!(names.name("first"), first);
        assert_ne!(names.name("second"), first);
    }
}
