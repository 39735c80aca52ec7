use super::*;
use crate::kernels::gemm::tests::noise;

/// Sizes that meet every width of panel, rows that do not fill a tile, strides, padding, and
/// windows whose rows are no multiple of four bytes.
fn shapes() -> Vec<(IntShape, usize)> {
    let shape = |channels, size, out, kernel, stride, padding| IntShape {
        channels,
        size,
        out,
        kernel,
        stride,
        padding,
    };
    let same = [[1, 1]; 2];
    vec![
        (shape(1, [9, 11], 16, [7, 7], [2, 2], [[3, 3]; 2]), 2),
        (shape(3, [5, 7], 5, [3, 3], [1, 1], same), 3),
        (shape(64, [6, 5], 64, [3, 3], [1, 1], same), 1),
        (shape(64, [6, 6], 128, [1, 1], [2, 2], [[0; 2]; 2]), 2),
        (shape(10, [4, 4], 48, [3, 2], [2, 1], [[1, 0], [0, 1]]), 1),
        (shape(17, [1, 1], 33, [1, 1], [1, 1], [[0; 2]; 2]), 1),
        (shape(130, [1, 1], 100, [1, 1], [1, 1], [[0; 2]; 2]), 5),
        (shape(8, [3, 16], 24, [1, 16], [1, 1], [[0; 2]; 2]), 2),
    ]
}

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    noise(len + conv::SLACK, seed).iter().map(|v| (128.0 + 127.9 * v) as u8).collect()
}

/// The same sums, one by one.
fn sum(shape: &IntShape, weights: &[i8], x: &[u8], zero: u8, at: [usize; 4]) -> i64 {
    let [image, y, px, f] = at;
    let mut sum = 0;
    for c in 0..shape.channels {
        for ky in 0..shape.kernel[0] {
            for kx in 0..shape.kernel[1] {
                let iy = (y * shape.stride[0] + ky).wrapping_sub(shape.padding[0][0]);
                let ix = (px * shape.stride[1] + kx).wrapping_sub(shape.padding[1][0]);
                let inside = iy < shape.size[0] && ix < shape.size[1];
                let at = ((image * shape.size[0] + iy.min(shape.size[0])) * shape.size[1]
                    + ix.min(shape.size[1]))
                    * shape.channels
                    + c;
                let v = if inside { x[at] } else { zero };
                let w = weights
                    [((f * shape.channels + c) * shape.kernel[0] + ky) * shape.kernel[1] + kx];
                sum += (i64::from(v) - i64::from(zero)) * i64::from(w);
            }
        }
    }
    sum
}

#[test]
fn every_instruction_set_gives_the_same_bits_and_the_right_numbers() {
    for (i, (shape, batch)) in shapes().into_iter().enumerate() {
        let seed = 10 * i as u64;
        let weight = noise(shape.out * shape.depth(), seed);
        let bias = noise(shape.out, seed + 1);
        let (rows, scales) = quantise_rows(&weight, shape.out);
        let input = Params { scale: 0.02, zero: if i % 2 == 0 { 0 } else { 117 } };
        let reach = 0.3 * (shape.depth() as f32).sqrt();
        let output = Params::new([-reach, 2.0 * reach]).unwrap();
        let x = bytes(batch * shape.channels * shape.size[0] * shape.size[1], seed + 2);
        let [h, w] = shape.out_size();
        let len = batch * h * w * shape.out;
        for relu in [false, true] {
            let mut first: Option<(Vec<u8>, Vec<f32>)> = None;
            for isa in IntIsa::available() {
                let mut space = IntSpace::default();
                let (mut quantised, mut floats) = (vec![0; len], vec![0.0; len]);
                let layer =
                    |out| IntConv::new(shape, &weight, &bias, relu, [Some(input), out], isa);
                layer(Some(output)).unwrap().run(&x, batch, &mut quantised, &mut space);
                layer(None).unwrap().run_floats(&x, batch, &mut floats, &mut space);
                match &first {
                    None => first = Some((quantised, floats)),
                    Some((q, f)) => {
                        assert_eq!(*q, quantised, "{isa:?}, {shape:?}");
                        let same = f.iter().zip(&floats).all(|(a, b)| a.to_bits() == b.to_bits());
                        assert!(same, "{isa:?}, {shape:?}");
                    }
                }
            }
            let (quantised, floats) = first.unwrap();
            for at in 0..len {
                let (f, p) = (at % shape.out, at / shape.out);
                let place = [p / (h * w), p / w % h, p % w, f];
                let sum = sum(&shape, &rows, &x, input.zero, place) as f64;
                let exact =
                    sum * f64::from(input.scale) * f64::from(scales[f]) + f64::from(bias[f]);
                let exact = if relu { exact.max(0.0) } else { exact };
                let found = f64::from(floats[at]);
                assert!((found - exact).abs() < 1e-4 * exact.abs().max(1.0), "{found} {exact}");
                let byte =
                    (exact / f64::from(output.scale) + f64::from(output.zero)).clamp(0.0, 255.0);
                assert!((f64::from(quantised[at]) - byte).abs() < 0.51, "{} {byte}", quantised[at]);
            }
        }
    }
}

#[test]
fn extreme_bytes_do_not_overflow() {
    let shape = IntShape {
        channels: 4096,
        size: [1, 1],
        out: 20,
        kernel: [1, 1],
        stride: [1, 1],
        padding: [[0; 2]; 2],
    };
    let weight: Vec<f32> =
        (0..20).flat_map(|f| vec![if f % 2 == 0 { 1.0 } else { -1.0 }; 4096]).collect();
    let x = vec![255; 4096 + conv::SLACK];
    for isa in IntIsa::available() {
        let input = Params { scale: 1.0, zero: 0 };
        let layer = IntConv::new(shape, &weight, &[0.0; 20], false, [Some(input), None], isa);
        let mut out = vec![0.0; 20];
        layer.unwrap().run_floats(&x, 1, &mut out, &mut IntSpace::default());
        for (f, v) in out.iter().enumerate() {
            let exact = if f % 2 == 0 { 255.0 * 4096.0 } else { -255.0 * 4096.0 };
            assert!((v - exact).abs() < 1.0, "{isa:?}: {v}");
        }
    }
    let deep = IntShape { channels: MAX_DEPTH + 1, out: 1, ..shape };
    let input = Params { scale: 1.0, zero: 0 };
    let weight = vec![1.0; MAX_DEPTH + 1];
    assert!(
        IntConv::new(deep, &weight, &[0.0], false, [Some(input), None], IntIsa::Portable).is_none()
    );
}

#[test]
fn rows_survive_being_quantised_twice() {
    let weight = noise(7 * 50, 3);
    let (bytes, scales) = quantise_rows(&weight, 7);
    let again: Vec<f32> =
        bytes.iter().enumerate().map(|(i, b)| f32::from(*b) * scales[i / 50]).collect();
    assert_eq!(quantise_rows(&again, 7).0, bytes);
    assert_eq!(quantise_rows(&[0.0; 6], 2), (vec![0; 6], vec![1.0; 2]));
}

#[test]
fn ranges_hold_zero_exactly_and_senseless_ones_are_refused() {
    for range in [[-1.0, 2.0], [0.5, 3.0], [-4.0, -1.0], [0.0, 1e-6]] {
        let params = Params::new(range).unwrap();
        assert_eq!(params.number(params.byte(0.0)), 0.0);
        for x in [range[0], range[1]] {
            assert!((params.number(params.byte(x)) - x).abs() <= 0.51 * params.scale, "{range:?}");
        }
    }
    for range in [[0.0, 0.0], [f32::NAN, 1.0], [0.0, f32::INFINITY], [0.0, 1e-44]] {
        assert!(Params::new(range).is_none() || range[0].is_nan(), "{range:?}");
    }
}
