//! Operations that only move values: concatenation, stacking, permutation, repetition.

use rayon::prelude::*;

/// For every element of `shape` in order, the sum of its indices times `steps`.
pub(crate) fn addresses(shape: &[usize], steps: &[usize]) -> Vec<u32> {
    let mut found = vec![0u32];
    for (&length, &step) in shape.iter().zip(steps) {
        found = found
            .iter()
            .flat_map(|&base| (0..length).map(move |i| base + (i * step) as u32))
            .collect();
    }
    found
}

/// For every output value of a permutation, the input value it is.
pub(crate) fn permutation(shape: &[usize], order: &[usize]) -> Vec<u32> {
    let mut steps = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        steps[axis] = steps[axis + 1] * shape[axis + 1];
    }
    let out: Vec<usize> = order.iter().map(|&a| shape[a]).collect();
    let out_steps: Vec<usize> = order.iter().map(|&a| steps[a]).collect();
    addresses(&out, &out_steps)
}

/// `y[i] = x[source[i]]` for every sample.
pub(crate) fn gather(x: &[f32], source: &[u32], y: &mut [f32]) {
    y.par_chunks_mut(source.len()).zip(x.par_chunks(source.len())).for_each(|(y, x)| {
        y.iter_mut().zip(source).for_each(|(y, &s)| *y = x[s as usize]);
    });
}

/// The reverse of [`gather`] for a permutation.
pub(crate) fn scatter(dy: &[f32], source: &[u32], dx: &mut [f32]) {
    dx.par_chunks_mut(source.len()).zip(dy.par_chunks(source.len())).for_each(|(dx, dy)| {
        dy.iter().zip(source).for_each(|(d, &s)| dx[s as usize] = *d);
    });
}

/// Lays `parts`, each in runs of the given length, side by side: run 0 of each, run 1 of each, …
pub(crate) fn interleave(parts: &[(&[f32], usize)], y: &mut [f32]) {
    let row: usize = parts.iter().map(|p| p.1).sum();
    for (i, y) in y.chunks_exact_mut(row).enumerate() {
        let mut at = 0;
        for &(part, run) in parts {
            y[at..at + run].copy_from_slice(&part[i * run..][..run]);
            at += run;
        }
    }
}

/// The reverse of [`interleave`] for the part whose runs start at `at` in rows of `row` values.
pub(crate) fn take_part(dy: &[f32], row: usize, at: usize, run: usize, dx: &mut [f32]) {
    dx.chunks_exact_mut(run)
        .zip(dy.chunks_exact(row))
        .for_each(|(dx, dy)| dx.copy_from_slice(&dy[at..at + run]));
}

/// The gradient of [`take_part`] taken forward: zeros around the part.
pub(crate) fn put_part(dy: &[f32], row: usize, at: usize, run: usize, dx: &mut [f32]) {
    dx.chunks_exact_mut(row).zip(dy.chunks_exact(run)).for_each(|(dx, dy)| {
        dx.fill(0.0);
        dx[at..at + run].copy_from_slice(dy);
    });
}

/// Every sample repeated `count` times.
pub(crate) fn repeat(x: &[f32], sample: usize, count: usize, y: &mut [f32]) {
    y.chunks_exact_mut(sample * count).zip(x.chunks_exact(sample)).for_each(|(y, x)| {
        y.chunks_exact_mut(sample).for_each(|y| y.copy_from_slice(x));
    });
}

/// The sum of the gradients of the copies.
pub(crate) fn unrepeat(dy: &[f32], sample: usize, count: usize, dx: &mut [f32]) {
    dx.chunks_exact_mut(sample).zip(dy.chunks_exact(sample * count)).for_each(|(dx, dy)| {
        dx.fill(0.0);
        dy.chunks_exact(sample).for_each(|d| super::conv::add(dx, d));
    });
}
