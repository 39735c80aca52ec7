//! Summaries: one number that stands for a series.

/// A statistic of a series. All are 0 for a series of nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// Arithmetic mean.
    Mean,
    /// Population variance.
    Variance,
    /// Population standard deviation.
    Deviation,
    /// Median; the mean of the middle two of an even number.
    Median,
    /// Smallest value.
    Minimum,
    /// Largest value.
    Maximum,
    /// Skewness: third standardised moment; 0 for a constant series.
    Skewness,
    /// Excess kurtosis: fourth standardised moment − 3; 0 for a constant series.
    Kurtosis,
    /// The value below which this percentage (0…100) lies, interpolated linearly.
    Percentile(f64),
}

impl Statistic {
    /// Suffix of a column: `mean`, `var`, `std`, `median`, `min`, `max`, `skew`, `kurtosis`, `p90`.
    pub fn name(self) -> String {
        match self {
            Self::Mean => "mean".into(),
            Self::Variance => "var".into(),
            Self::Deviation => "std".into(),
            Self::Median => "median".into(),
            Self::Minimum => "min".into(),
            Self::Maximum => "max".into(),
            Self::Skewness => "skew".into(),
            Self::Kurtosis => "kurtosis".into(),
            Self::Percentile(percent) => format!("p{percent}"),
        }
    }

    /// The statistic that [`Statistic::name`] names, or `None`.
    pub fn from_name(name: &str) -> Option<Self> {
        let plain = [
            Self::Mean,
            Self::Variance,
            Self::Deviation,
            Self::Median,
            Self::Minimum,
            Self::Maximum,
            Self::Skewness,
            Self::Kurtosis,
        ];
        plain.into_iter().find(|s| s.name() == name).or_else(|| {
            let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
            (0.0..=100.0).contains(&percent).then_some(Self::Percentile(percent))
        })
    }
}

/// The `statistics` of `values`, in that order; computed in f64.
pub fn summarise(values: &[f32], statistics: &[Statistic]) -> Vec<f64> {
    if values.is_empty() {
        return vec![0.0; statistics.len()];
    }
    let n = values.len() as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let moment =
        |power: i32| values.iter().map(|&x| (f64::from(x) - mean).powi(power)).sum::<f64>() / n;
    let variance = moment(2);
    let sorted =
        if statistics.iter().any(|s| matches!(s, Statistic::Median | Statistic::Percentile(_))) {
            let mut sorted = values.to_vec();
            sorted.sort_unstable_by(f32::total_cmp);
            sorted
        } else {
            Vec::new()
        };
    let percentile = |percent: f64| {
        let at = percent.clamp(0.0, 100.0) / 100.0 * (n - 1.0);
        let (below, above) =
            (f64::from(sorted[at.floor() as usize]), f64::from(sorted[at.ceil() as usize]));
        below + (above - below) * at.fract()
    };
    // Rounding leaves a constant series a variance of about (1e-16 · mean)².
    let flat = variance.sqrt() <= 1e-12 * mean.abs() || variance == 0.0;
    let standardised = |power: i32| moment(power) / variance.powf(f64::from(power) / 2.0);
    let value = |statistic: &Statistic| match *statistic {
        Statistic::Mean => mean,
        Statistic::Variance => variance,
        Statistic::Deviation => variance.sqrt(),
        Statistic::Median => percentile(50.0),
        Statistic::Minimum => f64::from(values.iter().fold(f32::INFINITY, |a, &b| a.min(b))),
        Statistic::Maximum => f64::from(values.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b))),
        Statistic::Skewness if flat => 0.0,
        Statistic::Skewness => standardised(3),
        Statistic::Kurtosis if flat => 0.0,
        Statistic::Kurtosis => standardised(4) - 3.0,
        Statistic::Percentile(percent) => percentile(percent),
    };
    statistics.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Statistic::*;

    const ALL: [Statistic; 9] =
        [Mean, Variance, Deviation, Median, Minimum, Maximum, Skewness, Kurtosis, Percentile(25.0)];

    #[test]
    fn known_values() {
        let found = summarise(&[1.0, 2.0, 3.0, 10.0], &ALL);
        // scipy.stats.skew 1.0182, kurtosis −0.7696.
        let expected = [4.0, 12.5, 3.535_534, 2.5, 1.0, 10.0, 1.018_234, -0.7696, 1.75];
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-5, "{found:?}");
        }
        assert_eq!(summarise(&[0.1; 7], &[Skewness, Kurtosis]), [0.0, 0.0]);
        assert_eq!(summarise(&[], &ALL), [0.0; 9]);
    }

    #[test]
    fn names_go_there_and_back() {
        for statistic in ALL {
            assert_eq!(Statistic::from_name(&statistic.name()), Some(statistic));
        }
        assert_eq!(Statistic::from_name("p101"), None);
        assert_eq!(Statistic::from_name("average"), None);
    }
}
