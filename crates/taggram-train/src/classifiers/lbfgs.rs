//! Minimises smooth functions: limited-memory BFGS (J. Nocedal, 1980; two-loop recursion
//! and line search by backtracking and doubling, as in Nocedal and Wright, "Numerical
//! Optimization", chapters 3 and 7).

use std::collections::VecDeque;

/// Steps remembered.
const MEMORY: usize = 12;

/// Walks from `x` to where no entry of the gradient exceeds `tolerance`, or the function
/// falls no further. `f` returns its value and writes its gradient.
pub(super) fn minimise(
    mut f: impl FnMut(&[f64], &mut [f64]) -> f64,
    mut x: Vec<f64>,
    tolerance: f64,
    most_steps: usize,
) -> Vec<f64> {
    let n = x.len();
    let mut gradient = vec![0.0; n];
    let mut value = f(&x, &mut gradient);
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    let (mut next, mut next_gradient) = (vec![0.0; n], vec![0.0; n]);
    for _ in 0..most_steps {
        if gradient.iter().all(|g| g.abs() <= tolerance) {
            break;
        }
        let mut direction = direction(&memory, &gradient);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            // The memory misleads: start anew, downhill.
            memory.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -dot(&gradient, &gradient);
        }
        let length = dot(&direction, &direction).sqrt();
        let mut step = if memory.is_empty() { 1.0f64.min(1.0 / length) } else { 1.0 };
        let (mut low, mut high) = (0.0, f64::INFINITY);
        let mut found = false;
        // Weak Wolfe conditions by bisection.
        for _ in 0..50 {
            for ((n, x), d) in next.iter_mut().zip(&x).zip(&direction) {
                *n = x + step * d;
            }
            let next_value = f(&next, &mut next_gradient);
            if next_value.is_nan() || next_value > value + 1e-4 * step * slope {
                high = step;
            } else if dot(&next_gradient, &direction) < 0.9 * slope {
                low = step;
                found = true;
            } else {
                found = true;
                break;
            }
            step = if high.is_finite() { (low + high) / 2.0 } else { 2.0 * low };
        }
        if !found {
            break;
        }
        let next_value = f(&next, &mut next_gradient);
        let s: Vec<f64> = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        let sy = dot(&s, &y);
        if sy > 1e-12 * dot(&y, &y).sqrt() * dot(&s, &s).sqrt() {
            memory.push_back((s, y, 1.0 / sy));
            if memory.len() > MEMORY {
                memory.pop_front();
            }
        }
        std::mem::swap(&mut x, &mut next);
        std::mem::swap(&mut gradient, &mut next_gradient);
        let gain = value - next_value;
        value = next_value;
        if gain <= f64::EPSILON * value.abs().max(1.0) {
            break;
        }
    }
    x
}

/// Minus the inverse Hessian, as far as it is remembered, times the gradient.
fn direction(memory: &VecDeque<(Vec<f64>, Vec<f64>, f64)>, gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(memory.len());
    for (s, y, rho) in memory.iter().rev() {
        let alpha = rho * dot(s, &q);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= alpha * y);
        alphas.push(alpha);
    }
    if let Some((_, y, rho)) = memory.back() {
        let scale = 1.0 / (rho * dot(y, y));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y, rho), alpha) in memory.iter().zip(alphas.into_iter().rev()) {
        let beta = rho * dot(y, &q);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += (alpha - beta) * s);
    }
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds_the_bottom_of_rosenbrocks_valley() {
        let f = |x: &[f64], g: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
            a * a + 100.0 * b * b
        };
        let x = super::minimise(f, vec![-1.2, 1.0], 1e-9, 500);
        assert!((x[0] - 1.0).abs() < 1e-6 && (x[1] - 1.0).abs() < 1e-6, "{x:?}");
    }
}
