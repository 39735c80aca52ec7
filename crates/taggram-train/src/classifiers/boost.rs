//! Gradient-boosted trees after T. Chen and C. Guestrin, "XGBoost: A scalable tree boosting
//! system", 2016: second-order gains, shrinkage, histograms; softmax objective with one
//! tree a class in every round.

use rayon::prelude::*;
use taggram_model::classifier::{BoostedTrees, Link, Node, Tree};

use super::Rows;
use super::bins::Binned;
use super::recipe::BoostOptions;
use crate::rng::Rng;

/// Sums of first and second derivatives.
type Sums = [f64; 2];

/// Gains up to this count as none, as in XGBoost.
const LEAST_GAIN: f64 = 1e-6;

pub(super) fn fit(rows: &Rows, classes: usize, options: &BoostOptions, seed: u64) -> BoostedTrees {
    let n = rows.len();
    let binned = Binned::new(rows);
    let mut scores = vec![0.5f32; n * classes];
    let mut model = BoostedTrees {
        inputs: rows.columns,
        classes,
        link: Link::Softmax,
        base: vec![0.5; classes],
        trees: Vec::with_capacity(options.rounds * classes),
        targets: Vec::with_capacity(options.rounds * classes),
    };
    for round in 0..options.rounds as u64 {
        let mut chances = scores.clone();
        chances.par_chunks_mut(classes).for_each(crate::grad::softmax);
        let mut kept: Vec<u32> = (0..n as u32).collect();
        if options.subsample < 1.0 {
            Rng::at(&[seed, 0xb0057, round]).shuffle(&mut kept);
            kept.truncate(((n as f64 * options.subsample) as usize).max(1));
            kept.sort_unstable();
        }
        let grown: Vec<(Tree, Vec<f32>)> = (0..classes)
            .into_par_iter()
            .map(|class| {
                let derivatives: Vec<[f32; 2]> = (0..n)
                    .map(|i| {
                        let p = chances[i * classes + class];
                        let hit = if rows.labels[i] == class { 1.0 } else { 0.0 };
                        [p - hit, (2.0 * p * (1.0 - p)).max(1e-16)]
                    })
                    .collect();
                let mut columns: Vec<usize> = (0..binned.columns()).collect();
                if options.colsample < 1.0 {
                    Rng::at(&[seed, 0xc01, round, class as u64]).shuffle(&mut columns);
                    columns.truncate(((columns.len() as f64 * options.colsample) as usize).max(1));
                    columns.sort_unstable();
                }
                let tree = Grower {
                    binned: &binned,
                    derivatives: &derivatives,
                    columns: &columns,
                    options,
                }
                .grow(kept.clone());
                let added = (0..n).map(|i| tree.values[tree.answer(rows.row(i))]).collect();
                (tree, added)
            })
            .collect();
        for (class, (tree, added)) in grown.into_iter().enumerate() {
            for (i, v) in added.iter().enumerate() {
                scores[i * classes + class] += v;
            }
            model.trees.push(tree);
            model.targets.push(class as u32);
        }
    }
    model
}

/// Grows one tree.
struct Grower<'a> {
    binned: &'a Binned,
    derivatives: &'a [[f32; 2]],
    columns: &'a [usize],
    options: &'a BoostOptions,
}

/// A node that may still be divided.
struct Open {
    place: usize,
    rows: Vec<u32>,
    depth: usize,
    sums: Sums,
    /// `[column, bin]`.
    histogram: Vec<Sums>,
}

struct Split {
    gain: f64,
    column: usize,
    border: usize,
    left: Sums,
}

impl Grower<'_> {
    fn grow(&self, rows: Vec<u32>) -> Tree {
        let histogram = self.histogram(&rows);
        let sums = rows.iter().fold([0.0; 2], |s, &i| add(s, self.derivatives[i as usize]));
        let mut tree = Tree { nodes: vec![Node::leaf(0)], values: Vec::new() };
        let mut waiting = vec![Open { place: 0, rows, depth: 0, sums, histogram }];
        while let Some(open) = waiting.pop() {
            let split = if open.depth < self.options.depth { self.best(&open) } else { None };
            let Some(split) = split else {
                tree.nodes[open.place] = Node::leaf(tree.values.len() as u32);
                let answer = -open.sums[0] / (open.sums[1] + self.options.lambda);
                tree.values.push((answer * self.options.learning_rate) as f32);
                continue;
            };
            let left_place = tree.nodes.len();
            tree.nodes[open.place] = Node {
                column: split.column as u32,
                threshold: self.binned.borders[split.column][split.border],
                missing_left: false,
                left: left_place as u32,
                right: left_place as u32 + 1,
                answer: 0,
            };
            tree.nodes.extend([Node::leaf(0), Node::leaf(0)]);
            let codes = self.binned.column(split.column);
            let (left, right): (Vec<u32>, Vec<u32>) =
                open.rows.iter().partition(|&&i| usize::from(codes[i as usize]) <= split.border);
            let right_sums = [open.sums[0] - split.left[0], open.sums[1] - split.left[1]];
            // Only the smaller child is counted; the other is what remains of the parent.
            let (small, swap) =
                if left.len() <= right.len() { (&left, false) } else { (&right, true) };
            let (mut a, mut b) = (Vec::new(), Vec::new());
            if open.depth + 1 < self.options.depth {
                a = self.histogram(small);
                b = open.histogram;
                b.iter_mut().zip(&a).for_each(|(b, a)| *b = [b[0] - a[0], b[1] - a[1]]);
            }
            let (lh, rh) = if swap { (b, a) } else { (a, b) };
            let depth = open.depth + 1;
            waiting.push(Open {
                place: left_place + 1,
                rows: right,
                depth,
                sums: right_sums,
                histogram: rh,
            });
            waiting.push(Open {
                place: left_place,
                rows: left,
                depth,
                sums: split.left,
                histogram: lh,
            });
        }
        tree
    }

    fn histogram(&self, rows: &[u32]) -> Vec<Sums> {
        let mut histogram = vec![[0.0; 2]; self.columns.len() * 256];
        let derivatives: Vec<[f32; 2]> =
            rows.iter().map(|&i| self.derivatives[i as usize]).collect();
        for (&column, bins) in self.columns.iter().zip(histogram.chunks_exact_mut(256)) {
            let codes = self.binned.column(column);
            for (&i, d) in rows.iter().zip(&derivatives) {
                let bin = &mut bins[usize::from(codes[i as usize])];
                *bin = add(*bin, *d);
            }
        }
        histogram
    }

    fn best(&self, open: &Open) -> Option<Split> {
        let score = |s: Sums| s[0] * s[0] / (s[1] + self.options.lambda);
        let before = score(open.sums);
        let mut best: Option<Split> = None;
        for (&column, bins) in self.columns.iter().zip(open.histogram.chunks_exact(256)) {
            let mut left = [0.0; 2];
            let borders = self.binned.borders[column].len();
            for (border, bin) in bins.iter().enumerate().take(borders) {
                left = [left[0] + bin[0], left[1] + bin[1]];
                let right = [open.sums[0] - left[0], open.sums[1] - left[1]];
                // Rounding may leave a trace of derivatives in an empty side.
                let least = self.options.min_child_weight.max(1e-12);
                if left[1] < least || right[1] < least {
                    continue;
                }
                let gain = score(left) + score(right) - before;
                if gain > best.as_ref().map_or(LEAST_GAIN, |b| b.gain) {
                    best = Some(Split { gain, column, border, left });
                }
            }
        }
        best
    }
}

fn add(sums: Sums, d: [f32; 2]) -> Sums {
    [sums[0] + f64::from(d[0]), sums[1] + f64::from(d[1])]
}
