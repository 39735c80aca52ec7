//! A song in one row: statistics of a network's values over the song's patches.

/// What is taken of tag probabilities before statistics: their logarithms spread out the small
/// ones, in which tags that are rare, yet telling, live.
const FLOOR: f32 = 1e-4;

/// Number of statistics a value: mean of the logarithm, mean, standard deviation.
pub const STATISTICS: usize = 3;

/// The row of a song: for each of `width` values the mean of ln(value + 1e-4), the mean, then the
/// population standard deviation over the `rows` (`[patch, width]`, non-negative): `[3 · width]`.
///
/// No rows give zeros.
pub fn song_row(rows: &[f32], width: usize) -> Vec<f32> {
    let count = (rows.len() / width.max(1)).max(1) as f64;
    let mut log = vec![0f64; width];
    let mut sum = vec![0f64; width];
    let mut square = vec![0f64; width];
    for row in rows.chunks_exact(width) {
        for (i, &x) in row.iter().enumerate() {
            log[i] += f64::from(x.max(0.0) + FLOOR).ln();
            sum[i] += f64::from(x);
            square[i] += f64::from(x) * f64::from(x);
        }
    }
    let mean = sum.iter().map(|s| s / count);
    let deviation =
        sum.iter().zip(&square).map(|(s, q)| (q / count - (s / count).powi(2)).max(0.0).sqrt());
    log.iter().map(|l| l / count).chain(mean).chain(deviation).map(|x| x as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_rows() {
        let row = song_row(&[0.0, 1.0, 0.0, 3.0], 2);
        let expected = [1e-4f64.ln(), (1.0001f64.ln() + 3.0001f64.ln()) / 2.0, 0.0, 2.0, 0.0, 1.0];
        for (x, y) in row.iter().zip(expected) {
            assert!((f64::from(*x) - y).abs() < 1e-5, "{row:?}");
        }
    }
}
