//! Inner splits for what must be learned from rows that were not trained on.

use std::collections::BTreeMap;

use super::Rows;
use crate::rng::Rng;

/// A fold 0…`count` − 1 for each row. Groups stay whole and the groups of each class are
/// dealt out evenly; a class with a single group deals out its rows.
pub(super) fn folds(rows: &Rows, classes: usize, count: usize, seed: u64) -> Vec<usize> {
    let group = |i: usize| rows.groups.get(i).copied().unwrap_or(i);
    let mut fold_of_group: BTreeMap<usize, usize> = BTreeMap::new();
    let mut folds = vec![0; rows.len()];
    for class in 0..classes {
        let members: Vec<usize> = (0..rows.len()).filter(|&i| rows.labels[i] == class).collect();
        let mut groups: Vec<usize> = members.iter().map(|&i| group(i)).collect();
        groups.sort_unstable();
        groups.dedup();
        if groups.len() < 2 {
            members.iter().enumerate().for_each(|(k, &i)| folds[i] = k % count);
            continue;
        }
        Rng::at(&[seed, 0xf01d, class as u64]).shuffle(&mut groups);
        for (k, g) in groups.iter().enumerate() {
            fold_of_group.entry(*g).or_insert(k % count);
        }
        members.iter().for_each(|&i| folds[i] = fold_of_group[&group(i)]);
    }
    folds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stay_whole_and_every_class_is_on_both_sides() {
        let rows = Rows {
            labels: (0..60).map(|i| i / 20).collect(),
            groups: (0..60).map(|i| i / 5).collect(),
            ..Rows::default()
        };
        let folds = folds(&rows, 3, 3, 1);
        for i in 0..60 {
            assert_eq!(folds[i], folds[i / 5 * 5]);
        }
        for class in 0..3 {
            let mut seen = folds[class * 20..class * 20 + 20].to_vec();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, [0, 1, 2]);
        }
    }
}
