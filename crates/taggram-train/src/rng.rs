//! Random numbers by address: a generator is made from what it is for (seed, epoch, example), so
//! nothing has to be saved to continue a run exactly, and threads cannot change the order.

/// A small generator (SplitMix64, Steele et al. 2014): passes BigCrush, one multiply-xor chain a number.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator for this address, e.g. `[seed, purpose, epoch, example]`. Addresses that
    /// differ anywhere give unrelated sequences.
    pub fn at(address: &[u64]) -> Self {
        let mut state = 0x243f_6a88_85a3_08d3;
        for &part in address {
            state = mix(state ^ mix(part.wrapping_add(0x9e37_79b9_7f4a_7c15)));
        }
        Self(state)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform in 0 … 1, 1 excluded.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in `low` … `high`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0 … `count` − 1; 0 when `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        // The bias of the multiply method is below 2^-32 for any count used here.
        ((self.bits() >> 32).wrapping_mul(count as u64) >> 32) as usize
    }

    /// Normal with mean 0 and deviation 1 (Box–Muller).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * f64::from(1.0 - self.unit()).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(self.unit());
        (radius * angle.cos()) as f32
    }

    /// Gamma with this shape and scale 1 (Marsaglia and Tsang 2000).
    fn gamma(&mut self, shape: f32) -> f64 {
        if shape < 1.0 {
            let boost = f64::from(1.0 - self.unit()).powf(1.0 / f64::from(shape));
            return self.gamma(shape + 1.0) * boost;
        }
        let d = f64::from(shape) - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = f64::from(self.normal());
            let v = (1.0 + c * x).powi(3);
            let u = f64::from(1.0 - self.unit());
            if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Beta(`alpha`, `alpha`), 0 … 1: the mixing weights of mixup.
    pub fn beta(&mut self, alpha: f32) -> f32 {
        let (a, b) = (self.gamma(alpha), self.gamma(alpha));
        if a + b > 0.0 { (a / (a + b)) as f32 } else { f32::from(u8::from(self.unit() < 0.5)) }
    }

    /// Puts `items` in random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut rng = Rng::at(&[1, 2, 3]);
        let n = 40_000;
        let moments = |values: Vec<f32>| {
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n as f64;
            let var = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n as f64;
            (mean, var)
        };
        let (mean, var) = moments((0..n).map(|_| rng.unit()).collect());
        assert!(
            (mean - 0.5).abs() < 0.01 && (var - 1.0 / 12.0).abs() < 0.003,
            "unit: {mean} {var}"
        );
        let (mean, var) = moments((0..n).map(|_| rng.normal()).collect());
        assert!(mean.abs() < 0.02 && (var - 1.0).abs() < 0.03, "normal: {mean} {var}");
        for alpha in [0.2f32, 0.4, 2.0] {
            // Beta(a, a) has variance 1 / (4 (2a + 1)).
            let expected = 1.0 / (4.0 * (2.0 * f64::from(alpha) + 1.0));
            let (mean, var) = moments((0..n).map(|_| rng.beta(alpha)).collect());
            assert!(
                (mean - 0.5).abs() < 0.01 && (var - expected).abs() < 0.005,
                "beta {alpha}: {mean} {var}"
            );
        }
    }

    #[test]
    fn addresses_are_unrelated_and_repeatable() {
        let first = |address: &[u64]| Rng::at(address).bits();
        assert_eq!(first(&[7, 0, 1]), first(&[7, 0, 1]));
        assert_ne!(first(&[7, 0, 1]), first(&[7, 1, 0]));
        assert_ne!(first(&[0]), first(&[0, 0]));
    }
}
