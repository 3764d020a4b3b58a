//! Sorts lists and fills sorted sets and maps with one copy of the algorithm; knows nothing of what it sorts.
//!
//! The standard library's sorts are made anew for each type and each way to compare, at five to ten kilobytes each, and
//! what collects into a `BTreeMap` sorts so too. Here numbers of places are sorted, by a comparison that is called
//! through a pointer: for lists of some hundred things nobody notices. The entries of folders are sorted by the
//! standard library's (`Host::list`), for there are many.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Sorts; what compares equal stays in its order.
pub(crate) fn by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let mut from = order(items.len(), &|a, b| compare(&items[a], &items[b]));
    // Along each cycle of places, each thing is swapped to where it belongs.
    for start in 0..items.len() {
        let mut at = start;
        while from[at] != start {
            let next = from[at];
            items.swap(at, next);
            from[at] = at;
            at = next;
        }
        from[at] = at;
    }
}

/// Sorts by a key; what has the same one stays in its order.
pub(crate) fn by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    by(items, |a, b| key(a).cmp(&key(b)));
}

/// Sorts.
pub(crate) fn plain<T: Ord>(items: &mut [T]) {
    by(items, T::cmp);
}

/// What `collect` does, for sorted sets and maps.
pub(crate) trait Sorted: Iterator + Sized {
    /// A set of these.
    fn sorted_set(self) -> BTreeSet<Self::Item>
    where
        Self::Item: Ord,
    {
        let mut set = BTreeSet::new();
        for item in self {
            set.insert(item);
        }
        set
    }

    /// A map of these; of equal keys the last one counts.
    fn sorted_map<K: Ord, V>(self) -> BTreeMap<K, V>
    where
        Self: Iterator<Item = (K, V)>,
    {
        let mut map = BTreeMap::new();
        for (key, value) in self {
            map.insert(key, value);
        }
        map
    }
}

impl<I: Iterator> Sorted for I {}

/// From which place each thing comes.
fn order(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by(|a, b| compare(*a, *b).then(a.cmp(b)));
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_sorts_as_the_standard_library_does(items in proptest::collection::vec((0..9u8, any::<u8>()), 0..60)) {
            let (mut ours, mut theirs) = (items.clone(), items.clone());
            by_key(&mut ours, |item| item.0);
            theirs.sort_by_key(|item| item.0);
            prop_assert_eq!(&ours, &theirs);
            plain(&mut ours);
            theirs.sort_unstable();
            prop_assert_eq!(ours, theirs);
            prop_assert_eq!(items.iter().copied().sorted_map(), items.iter().copied().collect());
            prop_assert_eq!(items.iter().sorted_set(), items.iter().collect());
        }
    }
}
