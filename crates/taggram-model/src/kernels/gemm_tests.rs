use super::*;

/// Reproducible values in −1…1.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// The textbook product `a [m, k] · b [k, n]`.
fn plain(a: &[f32], b: &[f32], m: usize, k: usize, n: usize) -> Vec<f32> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            let sum: f64 = (0..k).map(|p| f64::from(a[i * k + p]) * f64::from(b[p * n + j])).sum();
            c[i * n + j] = sum as f32;
        }
    }
    c
}

fn finish(x: f32, bias: f32, function: Option<Activation>, affine: Option<(f32, f32)>) -> f32 {
    let mut x = [x + bias];
    if let Some(function) = function {
        elementwise::activate(function, &mut x);
    }
    affine.map_or(x[0], |(scale, shift)| x[0] * scale + shift)
}

fn close(got: &[f32], expected: &[f32], k: usize, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= 1e-6 * (k as f32 + 4.0), "{what}: value {i} is {g}, not {e}");
    }
}

#[test]
fn both_products_agree_with_the_textbook_on_every_instruction_set() {
    let sizes = [
        (1, 1, 1),
        (8, 16, 48),
        (3, 5, 7),
        (9, 33, 50),
        (17, 2, 97),
        (1, 131, 100),
        (4, 64, 13),
        (7, 9, 31),
        (16, 40, 144),
    ];
    let functions = [None, Some(Activation::Relu), Some(Activation::Elu)];
    for isa in Isa::available() {
        for (case, &(m, k, n)) in sizes.iter().enumerate() {
            let function = functions[case % 3];
            let with_affine = case % 2 == 0;
            let what = format!("{isa:?} {m}×{k}×{n} {function:?} affine {with_affine}");
            let (a, b) = (noise(m * k, 1), noise(k * n, 2));
            let mut transposed = vec![0.0; n * k];
            for p in 0..k {
                for j in 0..n {
                    transposed[j * k + p] = b[p * n + j];
                }
            }
            let sums = plain(&a, &b, m, k, n);
            let gap = 3; // Rows of `c` farther apart than they are long.
            for per_row in [true, false] {
                let channels = if per_row { m } else { n };
                let (bias, scale, shift) =
                    (noise(channels, 3), noise(channels, 4), noise(channels, 5));
                let affine = with_affine.then_some((scale.as_slice(), shift.as_slice()));
                let epilogue = Epilogue::new(channels, Some(&bias), function, affine);
                let mut c = vec![9.0; m * (n + gap)];
                if per_row {
                    PackedLeft::new(&a, m, k, isa).multiply(&b, n, &mut c, n + gap, &epilogue);
                } else {
                    PackedRight::new(&transposed, n, k, isa).multiply(
                        &a,
                        k,
                        m,
                        &mut c,
                        n + gap,
                        &epilogue,
                    );
                }
                let mut got = Vec::new();
                for row in c.chunks(n + gap) {
                    got.extend_from_slice(&row[..n]);
                    assert_eq!(row[n..], [9.0; 3], "{what}: wrote between the rows");
                }
                let expected: Vec<f32> = sums
                    .iter()
                    .enumerate()
                    .map(|(i, &x)| {
                        let channel = if per_row { i / n } else { i % n };
                        let affine = with_affine.then(|| (scale[channel], shift[channel]));
                        finish(x, bias[channel], function, affine)
                    })
                    .collect();
                close(&got, &expected, k, &format!("{what} per row {per_row}"));
            }
        }
    }
}

#[test]
fn overlapping_rows_are_a_convolution_over_time() {
    let (time, features, kernel, filters) = (23, 5, 4, 19);
    let (x, w) = (noise(time * features, 6), noise(filters * kernel * features, 7));
    let steps = time - kernel + 1;
    let mut unfolded = Vec::new();
    for t in 0..steps {
        unfolded.extend_from_slice(&x[t * features..(t + kernel) * features]);
    }
    let depth = kernel * features;
    let epilogue = Epilogue::new(filters, None, None, None);
    let packed = PackedRight::new(&w, filters, depth, Isa::detect());
    let (mut direct, mut long) = (vec![0.0; steps * filters], vec![0.0; steps * filters]);
    packed.multiply(&x, features, steps, &mut direct, filters, &epilogue);
    packed.multiply(&unfolded, depth, steps, &mut long, filters, &epilogue);
    assert_eq!(direct, long);
}
