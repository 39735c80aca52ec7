//! Small numeric functions that the compiler can vectorise.

/// log10 of a positive, normal number: within 2e-7 · (1 + |log10 x|). Branch-free, so a loop
/// over it becomes vector code; the system's log10 would cost as much as the Fourier transform.
#[inline]
pub(crate) fn log10(x: f32) -> f32 {
    // x = 2^e · m with m in √½…√2, then log2 m = 2/ln 2 · artanh((m − 1) / (m + 1)).
    const SQRT_HALF_BITS: u32 = 0x3f35_04f3;
    let shifted = x.to_bits().wrapping_sub(SQRT_HALF_BITS);
    let exponent = (shifted as i32) >> 23;
    let mantissa = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(SQRT_HALF_BITS));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let series = 1.0 + s2 * (1.0 / 3.0 + s2 * (0.2 + s2 * (1.0 / 7.0 + s2 * (1.0 / 9.0))));
    exponent as f32 * std::f32::consts::LOG10_2 + (2.0 * std::f32::consts::LOG10_E) * s * series
}

/// 10 · log10(max(power, 1e-10)): power as decibels, never below −100 dB.
#[inline]
pub(crate) fn decibel(power: f32) -> f32 {
    10.0 * log10(power.max(1e-10))
}

/// `x` ≥ 0 rounded to the nearest float16, ties to even. Beyond the largest float16 it stays at
/// 65,504 rather than turn into infinity.
#[inline]
pub(crate) fn round_half(x: f32) -> f32 {
    const SMALLEST_NORMAL: f32 = 6.103_515_6e-5;
    const LARGEST: f32 = 65_504.0;
    if x < SMALLEST_NORMAL {
        // Float16 subnormals are 2⁻²⁴ apart, as float32 is between ½ and 1: adding ½ rounds.
        return (x + 0.5) - 0.5;
    }
    let bits = x.to_bits();
    let rounded = (bits + 0x0fff + ((bits >> 13) & 1)) & !0x1fff;
    f32::from_bits(rounded).min(LARGEST)
}

/// Σ a·b with eight partial sums, which the compiler turns into vector instructions.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    fold(sums) + tail
}

/// Σ f(a) with eight partial sums.
pub(crate) fn sum_of(a: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0f32; 8];
    let a8 = a.chunks_exact(8);
    let tail: f32 = a8.remainder().iter().map(|&x| f(x)).sum();
    for x in a8 {
        for i in 0..8 {
            sums[i] += f(x[i]);
        }
    }
    fold(sums) + tail
}

fn fold(sums: [f32; 8]) -> f32 {
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
}

/// Rows of the orthonormal discrete cosine transform of type II, `[coefficient, point]`.
pub(crate) fn dct(coefficients: usize, points: usize) -> Vec<f32> {
    let n = points as f64;
    let value = |k: usize, i: usize| {
        let scale = if k == 0 { (1.0 / n).sqrt() } else { (2.0 / n).sqrt() };
        (scale * (std::f64::consts::PI * k as f64 * (i as f64 + 0.5) / n).cos()) as f32
    };
    (0..coefficients).flat_map(|k| (0..points).map(move |i| value(k, i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log10_agrees_with_the_system() {
        let mut x = 1.2e-38f32;
        while x < 3e38 {
            let expected = f64::from(x).log10();
            let error = (f64::from(log10(x)) - expected).abs();
            assert!(error <= 2e-7 * (1.0 + expected.abs()), "log10({x}) is off by {error}");
            x *= 1.000_37;
        }
        assert_eq!(log10(1.0), 0.0);
    }

    #[test]
    fn half_rounding_known_values() {
        // 1 + 2⁻¹¹ is half-way between 1 and the next float16: even wins.
        let cases = [
            (0.0, 0.0),
            (1.0, 1.0),
            (1.000_488_3, 1.0),
            (1.001_464_8, 1.001_953_1),
            (2049.0, 2048.0),
            (65_504.0, 65_504.0),
            (1e9, 65_504.0),
            (5.960_464_5e-8, 5.960_464_5e-8),
            (2.980_232_2e-8, 0.0),
            (8.940_697e-8, 1.192_092_9e-7),
        ];
        for (x, expected) in cases {
            assert_eq!(round_half(x), expected, "{x}");
        }
    }
}
