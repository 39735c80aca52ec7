//! Eigenvalues of symmetric matrices by Jacobi's method (1846): rotations in one plane
//! after another until nothing is left beside the diagonal. Slower than tridiagonal
//! methods (753 columns: about half a minute) and more accurate, in a page of code.

/// Eigenvalues in falling order, and the eigenvectors as rows, of a symmetric `d × d` matrix.
pub(super) fn symmetric(mut a: Vec<f64>, d: usize) -> (Vec<f64>, Vec<f64>) {
    let mut v = vec![0.0; d * d];
    for i in 0..d {
        v[i * d + i] = 1.0;
    }
    let total: f64 = a.iter().map(|x| x * x).sum();
    for _sweep in 0..60 {
        let beside: f64 = (0..d)
            .flat_map(|p| (0..p).map(move |q| (p, q)))
            .map(|(p, q)| 2.0 * a[p * d + q].powi(2))
            .sum();
        if beside <= 1e-28 * total {
            break;
        }
        // Entries far below the average are left for a later sweep.
        let small = beside.sqrt() / (d * d) as f64 * 1e-3;
        for q in 1..d {
            for p in 0..q {
                if a[p * d + q].abs() > small {
                    rotate(&mut a, &mut v, d, p, q);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|&i, &j| a[j * d + j].total_cmp(&a[i * d + i]).then(i.cmp(&j)));
    let values = order.iter().map(|&i| a[i * d + i]).collect();
    let vectors = order.iter().flat_map(|&i| v[i * d..(i + 1) * d].to_vec()).collect();
    (values, vectors)
}

/// The rotation in the plane (p, q), p < q, that makes `a[p, q]` zero.
fn rotate(a: &mut [f64], v: &mut [f64], d: usize, p: usize, q: usize) {
    let apq = a[p * d + q];
    let theta = (a[q * d + q] - a[p * d + p]) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    let (app, aqq) = (a[p * d + p] - t * apq, a[q * d + q] + t * apq);
    turn(a, d, p, q, c, s);
    turn(v, d, p, q, c, s);
    // The matrix stays symmetric: its columns are its rows.
    for k in 0..d {
        a[k * d + p] = a[p * d + k];
        a[k * d + q] = a[q * d + k];
    }
    a[p * d + p] = app;
    a[q * d + q] = aqq;
    a[p * d + q] = 0.0;
    a[q * d + p] = 0.0;
}

/// Turns rows p and q into each other.
fn turn(m: &mut [f64], d: usize, p: usize, q: usize, c: f64, s: f64) {
    let (head, tail) = m.split_at_mut(q * d);
    for (x, y) in head[p * d..(p + 1) * d].iter_mut().zip(&mut tail[..d]) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn eigenvectors_are_stretched_by_their_eigenvalues() {
        let d = 23;
        let mut a = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..d {
                let (x, y) = ((i.min(j) * 7 + i.max(j) * 3) as f64, (i * j) as f64);
                a[i * d + j] = (x * 0.7).sin() + (y * 0.1).cos();
            }
        }
        let (values, vectors) = super::symmetric(a.clone(), d);
        assert!(values.windows(2).all(|w| w[0] >= w[1]));
        for k in 0..d {
            let v = &vectors[k * d..(k + 1) * d];
            for i in 0..d {
                let product: f64 = (0..d).map(|j| a[i * d + j] * v[j]).sum();
                assert!((product - values[k] * v[i]).abs() < 1e-10, "{k} {i}");
            }
            for l in 0..=k {
                let dot: f64 = (0..d).map(|j| v[j] * vectors[l * d + j]).sum();
                assert!((dot - f64::from(u8::from(l == k))).abs() < 1e-12, "{k} {l}: {dot}");
            }
        }
    }
}
