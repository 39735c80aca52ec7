//! How well scores rank the songs of a genre above the rest, whatever the threshold.

/// Counts at each distinct threshold, from the highest score down: `(score, true positives,
/// false positives)` among the songs that score at least this.
fn thresholds(truth: &[bool], scores: &[f64]) -> Vec<(f64, usize, usize)> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut steps: Vec<(f64, usize, usize)> = Vec::new();
    let (mut hits, mut misses) = (0, 0);
    for song in order {
        if truth[song] {
            hits += 1;
        } else {
            misses += 1;
        }
        match steps.last_mut() {
            Some(last) if last.0 == scores[song] => *last = (scores[song], hits, misses),
            _ => steps.push((scores[song], hits, misses)),
        }
    }
    steps
}

/// Average precision: Σ (Rₙ − Rₙ₋₁) Pₙ over thresholds, without interpolation (scikit-learn's
/// `average_precision_score`). None when no song is positive.
pub fn average_precision(truth: &[bool], scores: &[f64]) -> Option<f64> {
    let positives = truth.iter().filter(|&&t| t).count();
    if positives == 0 {
        return None;
    }
    let mut before = 0;
    let mut sum = 0.0;
    for (_, hits, misses) in thresholds(truth, scores) {
        sum += (hits - before) as f64 * hits as f64 / (hits + misses) as f64;
        before = hits;
    }
    Some(sum / positives as f64)
}

/// Area under the ROC curve: the chance that a song of the genre scores above another one, ties
/// counting half. None unless there are songs of both kinds.
pub fn roc_auc(truth: &[bool], scores: &[f64]) -> Option<f64> {
    let positives = truth.iter().filter(|&&t| t).count();
    let negatives = truth.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut hits_before, mut misses_before) = (0, 0);
    let mut area = 0.0;
    for (_, hits, misses) in thresholds(truth, scores) {
        area += (misses - misses_before) as f64 * (hits + hits_before) as f64 / 2.0;
        (hits_before, misses_before) = (hits, misses);
    }
    Some(area / (positives as f64 * negatives as f64))
}

/// The ROC curve, `(false positive rate, true positive rate)` from (0, 0) to (1, 1). Empty
/// unless there are songs of both kinds.
pub fn roc_curve(truth: &[bool], scores: &[f64]) -> Vec<(f64, f64)> {
    let positives = truth.iter().filter(|&&t| t).count();
    let negatives = truth.len() - positives;
    if positives == 0 || negatives == 0 {
        return Vec::new();
    }
    let steps = thresholds(truth, scores);
    let points = steps.into_iter().map(|(_, hits, misses)| {
        (misses as f64 / negatives as f64, hits as f64 / positives as f64)
    });
    std::iter::once((0.0, 0.0)).chain(points).collect()
}

/// The precision–recall curve, `(recall, precision)`, from recall 0 (precision 1 by
/// convention) to recall 1. Empty when no song is positive.
pub fn pr_curve(truth: &[bool], scores: &[f64]) -> Vec<(f64, f64)> {
    let positives = truth.iter().filter(|&&t| t).count();
    if positives == 0 {
        return Vec::new();
    }
    let mut points = vec![(0.0, 1.0)];
    for (_, hits, misses) in thresholds(truth, scores) {
        points.push((hits as f64 / positives as f64, hits as f64 / (hits + misses) as f64));
        if hits == positives {
            break;
        }
    }
    points
}

/// Means over genres of average precision and ROC area, of those genres that have them; 0
/// when none has.
pub(super) fn macro_scores(genres: usize, labels: &[usize], rows: &[&[f64]]) -> (f64, f64) {
    let (mut precision, mut roc) = (Vec::new(), Vec::new());
    for g in 0..genres {
        let truth: Vec<bool> = labels.iter().map(|&l| l == g).collect();
        let scores: Vec<f64> = rows.iter().map(|r| r[g]).collect();
        precision.extend(average_precision(&truth, &scores));
        roc.extend(roc_auc(&truth, &scores));
    }
    let mean = |v: Vec<f64>| v.iter().sum::<f64>() / v.len().max(1) as f64;
    (mean(precision), mean(roc))
}
