//! Random forests (L. Breiman, 2001): trees grown on rows drawn with replacement, each
//! question the best (Gini) of a few columns drawn anew.

use rayon::prelude::*;
use taggram_model::classifier::{Forest, Node, Tree};

use super::Rows;
use super::bins::Binned;
use super::recipe::ForestOptions;
use crate::rng::Rng;

pub(super) fn fit(rows: &Rows, classes: usize, options: &ForestOptions, seed: u64) -> Forest {
    let binned = Binned::new(rows);
    let few = (rows.columns as f64).sqrt() as usize;
    let tried = options.columns.unwrap_or(few).clamp(1, rows.columns);
    let grower = Grower { rows, binned: &binned, classes, options, tried };
    let trees = (0..options.trees as u64)
        .into_par_iter()
        .map(|t| grower.grow(Rng::at(&[seed, 0xf0_4e57, t])))
        .collect();
    Forest { inputs: rows.columns, classes, trees }
}

struct Grower<'a> {
    rows: &'a Rows,
    binned: &'a Binned,
    classes: usize,
    options: &'a ForestOptions,
    tried: usize,
}

impl Grower<'_> {
    fn grow(&self, mut rng: Rng) -> Tree {
        let n = self.rows.len();
        let mut drawn: Vec<u32> = (0..n).map(|_| rng.below(n) as u32).collect();
        // Rows in the order of the table are read faster.
        drawn.sort_unstable();
        let mut tree = Tree { nodes: vec![Node::leaf(0)], values: Vec::new() };
        let mut columns: Vec<usize> = (0..self.rows.columns).collect();
        let mut waiting = vec![(0usize, drawn, 0usize)];
        while let Some((place, drawn, depth)) = waiting.pop() {
            let counts = self.counts(&drawn);
            let deeper = self.options.depth.is_none_or(|most| depth < most);
            let mixed = counts.iter().filter(|&&c| c > 0).count() > 1;
            let split = if deeper && mixed {
                self.best(&drawn, &counts, &mut columns, &mut rng)
            } else {
                None
            };
            let Some((column, border)) = split else {
                tree.nodes[place] = Node::leaf((tree.values.len() / self.classes) as u32);
                tree.values.extend(counts.iter().map(|&c| c as f32 / drawn.len() as f32));
                continue;
            };
            let left_place = tree.nodes.len();
            tree.nodes[place] = Node {
                column: column as u32,
                threshold: self.binned.borders[column][border],
                missing_left: false,
                left: left_place as u32,
                right: left_place as u32 + 1,
                answer: 0,
            };
            tree.nodes.extend([Node::leaf(0), Node::leaf(0)]);
            let codes = self.binned.column(column);
            let (left, right): (Vec<u32>, Vec<u32>) =
                drawn.iter().partition(|&&i| usize::from(codes[i as usize]) <= border);
            waiting.push((left_place + 1, right, depth + 1));
            waiting.push((left_place, left, depth + 1));
        }
        tree
    }

    fn counts(&self, drawn: &[u32]) -> Vec<u32> {
        let mut counts = vec![0; self.classes];
        drawn.iter().for_each(|&i| counts[self.rows.labels[i as usize]] += 1);
        counts
    }

    /// The column and border that leave the purest sides. Columns are drawn until the wanted
    /// number is tried and one of them divides the rows.
    fn best(
        &self,
        drawn: &[u32],
        counts: &[u32],
        columns: &mut [usize],
        rng: &mut Rng,
    ) -> Option<(usize, usize)> {
        let mut best: Option<(f64, usize, usize)> = None;
        let d = columns.len();
        for k in 0..d {
            if k >= self.tried && best.is_some() {
                break;
            }
            columns.swap(k, k + rng.below(d - k));
            let column = columns[k];
            if let Some((purity, border)) = self.best_border(drawn, counts, column)
                && best.is_none_or(|b| purity > b.0)
            {
                best = Some((purity, column, border));
            }
        }
        best.map(|(_, column, border)| (column, border))
    }

    /// The best border of a column and its purity: Σ count²/rows over both sides, which is
    /// largest where the Gini impurity is smallest.
    fn best_border(&self, drawn: &[u32], counts: &[u32], column: usize) -> Option<(f64, usize)> {
        let codes = self.binned.column(column);
        let mut order: Vec<(u8, u32)> = drawn
            .iter()
            .map(|&i| (codes[i as usize], self.rows.labels[i as usize] as u32))
            .collect();
        order.sort_unstable_by_key(|o| o.0);
        let n = order.len();
        let mut left = vec![0u32; self.classes];
        let mut right = counts.to_vec();
        let square = |c: u32| f64::from(c) * f64::from(c);
        let (mut left_sum, mut right_sum) = (0.0, counts.iter().map(|&c| square(c)).sum::<f64>());
        let mut best: Option<(f64, usize)> = None;
        for (taken, pair) in order.windows(2).enumerate() {
            let class = pair[0].1 as usize;
            left_sum += 2.0 * f64::from(left[class]) + 1.0;
            right_sum -= 2.0 * f64::from(right[class]) - 1.0;
            left[class] += 1;
            right[class] -= 1;
            let taken = taken + 1;
            let least = self.options.leaf_rows;
            if pair[0].0 == pair[1].0 || taken < least || n - taken < least {
                continue;
            }
            let purity = left_sum / taken as f64 + right_sum / (n - taken) as f64;
            if best.is_none_or(|b| purity > b.0) {
                best = Some((purity, usize::from(pair[0].0)));
            }
        }
        best
    }
}
