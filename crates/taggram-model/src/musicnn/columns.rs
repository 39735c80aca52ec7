//! How the filters of several layers lie side by side in one row of results.

/// The columns of a row: the filters of each layer, filled up to whole vectors or blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// First column and number of filters of each layer.
    layers: Vec<(usize, usize)>,
    total: usize,
}

impl Columns {
    /// For layers of `counts` filters, each filled up to a multiple of `block`.
    pub fn new(counts: &[usize], block: usize) -> Self {
        let mut total = 0;
        let mut layers = Vec::with_capacity(counts.len());
        for &count in counts {
            layers.push((total, count));
            total += count.next_multiple_of(block);
        }
        Self { layers, total }
    }

    /// Columns of a row.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Filters of all layers.
    pub fn filters(&self) -> usize {
        self.layers.iter().map(|(_, count)| count).sum()
    }

    /// First column and number of filters of each layer.
    pub fn layers(&self) -> &[(usize, usize)] {
        &self.layers
    }

    /// The columns of the filters, in their order.
    pub fn of_filters(&self) -> impl Iterator<Item = usize> {
        self.layers.iter().flat_map(|(first, count)| *first..first + count)
    }

    /// The layer that has a filter in the `lanes` columns from `first` on; none where all are filling.
    pub fn layer_of(&self, first: usize, lanes: usize) -> Option<usize> {
        self.layers.iter().position(|(at, count)| first < at + count && *at < first + lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_filled_up_and_filling_belongs_to_none() {
        let columns = Columns::new(&[24, 14], 16);
        assert_eq!((columns.total(), columns.filters()), (48, 38));
        assert_eq!(columns.layers(), [(0, 24), (32, 14)]);
        assert_eq!(columns.of_filters().collect::<Vec<_>>()[23..25], [23, 32]);
        let layers: Vec<Option<usize>> =
            (0..48).step_by(8).map(|first| columns.layer_of(first, 8)).collect();
        assert_eq!(layers, [Some(0), Some(0), Some(0), None, Some(1), Some(1)]);
    }
}
