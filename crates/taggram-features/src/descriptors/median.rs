//! Running medians, many series at once.

/// Length of the window, odd.
pub(crate) const WIDTH: usize = 31;
/// Series worked on side by side: enough to fill vector registers.
pub(crate) const LANES: usize = 16;

type Row = [f32; LANES];

/// Index `i` (from −WIDTH on) into a series of `n` mirrored at its ends with the end doubled: … b a | a b c | c b …
fn mirrored(i: isize, n: usize) -> usize {
    let period = 2 * n as isize;
    let at = i.rem_euclid(period);
    (if at < n as isize { at } else { period - 1 - at }) as usize
}

/// Medians over windows of 31 values centred on each of `n` rows of 16 independent series;
/// the ends are mirrored (scipy `median_filter(mode="reflect")`). No NaN.
///
/// The window is kept sorted: a step inserts the coming row and removes the going one, in one
/// pass without a branch, so that all 16 series go through the same vector instructions.
pub(crate) fn running_median(n: usize, row: impl Fn(usize) -> Row, emit: impl FnMut(usize, &Row)) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has just been found to have AVX2, the only demand of `with_avx2`.
        return unsafe { with_avx2(n, row, emit) };
    }
    plain(n, row, emit);
}

/// [`plain`], compiled with eight instead of four numbers to an instruction: measured, 20 ms
/// instead of 30 for both medians of a 30-s clip.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(n: usize, row: impl Fn(usize) -> Row, emit: impl FnMut(usize, &Row)) {
    plain(n, row, emit);
}

#[inline(always)]
fn plain(n: usize, row: impl Fn(usize) -> Row, mut emit: impl FnMut(usize, &Row)) {
    const HALF: isize = WIDTH as isize / 2;
    // One cell more than the window holds, always infinite: the neighbour of the last.
    let mut sorted = [[f32::INFINITY; LANES]; WIDTH + 1];
    for i in -HALF..=HALF {
        replace(&mut sorted, &[f32::INFINITY; LANES], &row(mirrored(i, n)));
    }
    for t in 0..n {
        emit(t, &sorted[WIDTH / 2]);
        let (going, coming) = (mirrored(t as isize - HALF, n), mirrored(t as isize + HALF + 1, n));
        replace(&mut sorted, &row(going), &row(coming));
    }
}

/// Removes `going` from, and inserts `coming` into, each sorted series.
#[inline(always)]
fn replace(sorted: &mut [Row; WIDTH + 1], going: &Row, coming: &Row) {
    // inserted[i] = max(sorted[i − 1], min(sorted[i], coming)) is the series with `coming` in it;
    // from the place of `going` on, the result is its right neighbour.
    let min = |a: f32, b: f32| if a < b { a } else { b };
    let max = |a: f32, b: f32| if a > b { a } else { b };
    let mut left = sorted[0];
    let mut inserted: Row = std::array::from_fn(|l| min(sorted[0][l], coming[l]));
    for i in 0..WIDTH {
        let here = sorted[i + 1];
        for l in 0..LANES {
            let next = max(left[l], min(here[l], coming[l]));
            sorted[i][l] = if inserted[l] < going[l] { inserted[l] } else { next };
            inserted[l] = next;
        }
        left = here;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_sorting_every_window() {
        let mut state = 7u32;
        for n in [1, 2, 5, 14, 15, 31, 32, 100] {
            let rows: Vec<Row> = (0..n)
                .map(|_| {
                    std::array::from_fn(|l| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        // Coarse values in some lanes, so that there are ties and zeros.
                        if l % 2 == 0 { (state >> 30) as f32 } else { (state >> 8) as f32 }
                    })
                })
                .collect();
            let mut seen = 0;
            running_median(
                n,
                |i| rows[i],
                |t, found| {
                    seen += 1;
                    for (l, value) in found.iter().enumerate() {
                        let window = (t as isize - 15..=t as isize + 15).map(|i| {
                            let mut i = i;
                            while !(0..n as isize).contains(&i) {
                                i = if i < 0 { -1 - i } else { 2 * n as isize - 1 - i };
                            }
                            rows[i as usize][l]
                        });
                        let mut window: Vec<f32> = window.collect();
                        window.sort_by(f32::total_cmp);
                        assert_eq!(*value, window[15], "row {t} of {n}, series {l}");
                    }
                },
            );
            assert_eq!(seen, n);
            let mut same = Vec::new();
            plain(n, |i| rows[i], |_, found| same.push(*found));
            running_median(
                n,
                |i| rows[i],
                |t, found| assert_eq!(*found, same[t], "vector and plain code differ"),
            );
        }
    }
}
