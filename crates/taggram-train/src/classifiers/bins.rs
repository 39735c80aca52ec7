//! Columns cut into at most 255 bins, so that trees count instead of sorting.

use super::Rows;

/// Most bins of a column.
pub(super) const BINS: usize = 255;

/// A table whose values are replaced by the numbers of their bins.
pub(super) struct Binned {
    rows: usize,
    /// `[column, row]`.
    codes: Vec<u8>,
    /// For each column the borders between bins, rising: bin b holds the values from
    /// border b−1 (included) to border b (excluded).
    pub borders: Vec<Vec<f32>>,
}

impl Binned {
    pub fn new(rows: &Rows) -> Self {
        let (n, d) = (rows.len(), rows.columns);
        let mut codes = Vec::with_capacity(n * d);
        let mut borders = Vec::with_capacity(d);
        for column in 0..d {
            let values: Vec<f32> = (0..n).map(|i| rows.row(i)[column]).collect();
            let cuts = cuts(values.clone());
            codes.extend(values.iter().map(|v| cuts.partition_point(|cut| cut <= v) as u8));
            borders.push(cuts);
        }
        Self { rows: n, codes, borders }
    }

    pub fn columns(&self) -> usize {
        self.borders.len()
    }

    /// The bin of every row in a column.
    pub fn column(&self, column: usize) -> &[u8] {
        &self.codes[column * self.rows..(column + 1) * self.rows]
    }
}

/// Borders halfway between distinct values; where there are too many of these, only those
/// that divide the rows most evenly.
fn cuts(mut values: Vec<f32>) -> Vec<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let steps = values.windows(2).enumerate().filter(|(_, w)| w[0] < w[1]);
    // Halfway may round down to the lower value, which then would lie on the wrong side.
    let halfway = |w: &[f32]| {
        let middle = w[0] / 2.0 + w[1] / 2.0;
        if middle > w[0] { middle } else { w[1] }
    };
    let all: Vec<(usize, f32)> = steps.map(|(i, w)| (i + 1, halfway(w))).collect();
    if all.len() < BINS {
        return all.into_iter().map(|(_, cut)| cut).collect();
    }
    let mut kept = Vec::with_capacity(BINS - 1);
    let mut share = 1;
    for (below, cut) in all {
        if below * BINS >= share * values.len() && share < BINS {
            kept.push(cut);
            share = below * BINS / values.len() + 1;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_agree_with_borders() {
        let data: Vec<f32> = (0..4000).map(|i| ((i * 7919) % 4001) as f32 * 0.37 - 300.0).collect();
        let rows = Rows { data, columns: 2, labels: vec![0; 2000], groups: Vec::new() };
        let binned = Binned::new(&rows);
        for column in 0..2 {
            let borders = &binned.borders[column];
            assert!(borders.len() > 200 && borders.len() < BINS);
            for (i, &code) in binned.column(column).iter().enumerate() {
                let x = rows.row(i)[column];
                let code = usize::from(code);
                assert!(code == 0 || x >= borders[code - 1]);
                assert!(code == borders.len() || x < borders[code]);
            }
        }
        assert_eq!(cuts(vec![3.0, 1.0, 1.0, 3.0]), [2.0]);
        assert_eq!(cuts(vec![1.0; 5]), [] as [f32; 0]);
        assert_eq!(cuts(vec![1.0, 1.0 + f32::EPSILON]), [1.0 + f32::EPSILON]);
    }
}
