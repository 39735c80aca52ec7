//! Golden values from scikit-learn and statsmodels' definitions, and properties.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    name: String,
    genres: usize,
    labels: Vec<usize>,
    probabilities: Vec<Vec<f64>>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    accuracy: f64,
    top3: f64,
    precision: Vec<f64>,
    recall: Vec<f64>,
    f1: Vec<f64>,
    macro_average: [f64; 3],
    weighted_average: [f64; 3],
    confusion: Vec<Vec<u64>>,
    average_precision: Vec<f64>,
    roc_auc: Vec<f64>,
    log_loss: f64,
    brier: f64,
    ece: f64,
    wilson: [f64; 2],
    temperature: f64,
    roc_curve_0: Vec<(f64, f64)>,
    pr_curve_0: Vec<(f64, f64)>,
}

fn close(what: &str, ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance, "{what}: {ours} here, {theirs} in the reference");
}

#[test]
fn figures_are_those_of_scikit_learn() {
    let text = include_str!("../../tests/golden/metrics/cases.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert!(cases.len() >= 3);
    for case in cases {
        let genres: Vec<String> = (0..case.genres).map(|g| format!("genre {g}")).collect();
        let m = Metrics::new(&genres, &case.labels, &case.probabilities, 1);
        let e = &case.expected;
        let at = |what: &str| format!("{} {what}", case.name);
        let pairs = [
            ("accuracy", m.accuracy, e.accuracy),
            ("top 3", m.top3, e.top3),
            ("log loss", m.log_loss, e.log_loss),
            ("brier", m.brier, e.brier),
            ("ece", m.expected_calibration_error, e.ece),
            ("wilson low", m.accuracy_interval.low, e.wilson[0]),
            ("wilson high", m.accuracy_interval.high, e.wilson[1]),
            ("macro precision", m.macro_average.precision, e.macro_average[0]),
            ("macro recall", m.macro_average.recall, e.macro_average[1]),
            ("macro f1", m.macro_average.f1, e.macro_average[2]),
            ("weighted precision", m.weighted_average.precision, e.weighted_average[0]),
            ("weighted recall", m.weighted_average.recall, e.weighted_average[1]),
            ("weighted f1", m.weighted_average.f1, e.weighted_average[2]),
            ("map", m.mean_average_precision, mean(&e.average_precision)),
            ("roc auc", m.roc_auc, mean(&e.roc_auc)),
        ];
        for (what, ours, theirs) in pairs {
            close(&at(what), ours, theirs, 1e-12);
        }
        assert_eq!(m.confusion.counts, e.confusion, "{}", case.name);
        for (g, s) in m.genres.iter().enumerate() {
            close(&at("precision"), s.precision, e.precision[g], 1e-12);
            close(&at("recall"), s.recall, e.recall[g], 1e-12);
            close(&at("f1"), s.f1, e.f1[g], 1e-12);
            close(
                &at("average precision"),
                s.average_precision.unwrap(),
                e.average_precision[g],
                1e-12,
            );
            close(&at("roc auc"), s.roc_auc.unwrap(), e.roc_auc[g], 1e-12);
        }
        close(
            &at("temperature"),
            fit_temperature(&case.labels, &case.probabilities),
            e.temperature,
            1e-4 * e.temperature,
        );
        let truth: Vec<bool> = case.labels.iter().map(|&l| l == 0).collect();
        let scores: Vec<f64> = case.probabilities.iter().map(|p| p[0]).collect();
        for (ours, theirs) in [
            (roc_curve(&truth, &scores), &e.roc_curve_0),
            (pr_curve(&truth, &scores), &e.pr_curve_0),
        ] {
            assert_eq!(ours.len(), theirs.len(), "{}", case.name);
            for (a, b) in ours.iter().zip(theirs) {
                close(&at("curve x"), a.0, b.0, 1e-12);
                close(&at("curve y"), a.1, b.1, 1e-12);
            }
        }
        for (interval, value) in [
            (m.macro_f1_interval, m.macro_average.f1),
            (m.mean_average_precision_interval, m.mean_average_precision),
            (m.roc_auc_interval, m.roc_auc),
        ] {
            assert!(
                interval.low <= value && value <= interval.high,
                "{}: {interval:?} {value}",
                case.name
            );
        }
    }
}

fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len() as f64
}

#[test]
fn mcnemar_is_the_exact_binomial_test() {
    // scipy.stats.binomtest(2, 12).pvalue and (10, 25)
    for (b, c, p) in
        [(2, 10, 0.038574218750000014), (10, 15, 0.42435622215270996), (3, 3, 1.0), (0, 0, 1.0)]
    {
        let mut first = vec![true; b];
        first.extend(vec![false; c]);
        first.extend([true, false]);
        let mut second = vec![false; b];
        second.extend(vec![true; c]);
        second.extend([true, false]);
        let test = mcnemar(&first, &second);
        assert_eq!((test.only_first, test.only_second, test.songs), (b, c, b + c + 2));
        close("p", test.p_value, p, 1e-12);
    }
    let thousands = mcnemar(&[true; 5000], &[false; 5000]);
    assert!(thousands.p_value >= 0.0 && thousands.p_value < 1e-300);
}

#[test]
fn a_bootstrap_repeats_and_covers_the_mean() {
    let values: Vec<f64> = (0..200).map(|i| f64::from(i % 2)).collect();
    let run = |seed| {
        bootstrap(200, 1000, seed, |s| [s.iter().map(|&i| values[i]).sum::<f64>() / 200.0])[0]
    };
    assert_eq!(run(1), run(1));
    let i = run(2);
    // The normal interval of a share of ½ in 200 is 0.5 ± 0.069.
    assert!((i.low - 0.431).abs() < 0.02 && (i.high - 0.569).abs() < 0.02, "{i:?}");
}

#[test]
fn a_genre_without_songs_and_a_set_without_songs_are_survived() {
    let genres = ["a", "b", "c"].map(String::from);
    let m = Metrics::new(&genres, &[0, 1, 1], &vec![vec![0.5, 0.3, 0.2]; 3], 1);
    assert_eq!((m.genres[2].support, m.genres[2].roc_auc), (0, None));
    assert_eq!(m.macro_average.recall, 0.5, "the mean is over the two genres that have songs");
    let none = Metrics::new(&genres, &[], &[], 1);
    assert_eq!((none.songs, none.accuracy), (0, 0.0));
    assert!(serde_json::to_string(&none).unwrap().contains("accuracy"));
}

#[test]
fn temperature_undoes_sharpening() {
    let rows: Vec<Vec<f64>> = (0..400)
        .map(|i| {
            let p = 0.4 + 0.5 * f64::from(i % 20) / 20.0;
            vec![p, 1.0 - p]
        })
        .collect();
    // The label follows the probability, as far as 20 songs a level allow.
    let labels: Vec<usize> = rows
        .iter()
        .enumerate()
        .map(|(i, r)| usize::from((i / 20) as f64 + 0.5 >= r[0] * 20.0))
        .collect();
    let honest = fit_temperature(&labels, &rows);
    assert!((honest - 1.0).abs() < 0.05, "{honest}");
    let sharp: Vec<Vec<f64>> = rows.iter().map(|r| apply_temperature(r, 0.25)).collect();
    let fitted = fit_temperature(&labels, &sharp);
    assert!((fitted / honest - 4.0).abs() < 0.01, "{fitted}");
    let back: Vec<Vec<f64>> = sharp.iter().map(|r| apply_temperature(r, fitted)).collect();
    assert!(ece(&labels, &back) < ece(&labels, &sharp));
}

#[test]
fn chance_alone_has_a_calibration_error() {
    // One bin of `n` songs at 0.7: |right / n − 0.7| is half a normal of deviation √(0.21 / n).
    for n in [100, 400] {
        let rows = vec![vec![0.3, 0.7]; n];
        let found = ece_by_chance(&rows, 4000, 3);
        let deviation = (0.21 / n as f64).sqrt();
        close(
            "mean",
            found.mean,
            deviation * (2.0 / std::f64::consts::PI).sqrt(),
            0.05 * deviation,
        );
        close("upper end", found.range.high, 2.24 * deviation, 0.15 * deviation);
        assert!(found.range.low < 0.1 * deviation, "{found:?}");
    }
    // What is said with certainty is never wrong by chance.
    assert_eq!(ece_by_chance(&vec![vec![1.0, 0.0]; 9], 100, 3), ChanceError::default());
    assert_eq!(ece_by_chance(&[], 100, 3), ChanceError::default());
}
