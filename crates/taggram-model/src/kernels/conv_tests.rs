use super::super::gemm::tests::noise;
use super::*;

/// The textbook convolution, one value at a time.
fn plain(shape: &ConvShape, x: &[f32], weight: &[f32], batch: usize) -> Vec<f32> {
    let ([h, w], [kh, kw]) = (shape.size, shape.kernel);
    let [out_h, out_w] = shape.out_size();
    let (per_group, out_per_group) = (shape.channels / shape.groups, shape.out / shape.groups);
    let mut y = Vec::new();
    for image in 0..batch {
        for o in 0..shape.out {
            for oy in 0..out_h {
                for ox in 0..out_w {
                    let mut sum = 0.0f64;
                    for c in 0..per_group {
                        let channel = o / out_per_group * per_group + c;
                        for i in 0..kh {
                            for j in 0..kw {
                                let iy = (oy * shape.stride[0] + i) as isize
                                    - shape.padding[0][0] as isize;
                                let ix = (ox * shape.stride[1] + j) as isize
                                    - shape.padding[1][0] as isize;
                                if iy < 0 || ix < 0 || iy >= h as isize || ix >= w as isize {
                                    continue;
                                }
                                let at = ((image * shape.channels + channel) * h + iy as usize) * w
                                    + ix as usize;
                                let tap = ((o * per_group + c) * kh + i) * kw + j;
                                sum += f64::from(x[at]) * f64::from(weight[tap]);
                            }
                        }
                    }
                    y.push(sum as f32);
                }
            }
        }
    }
    y
}

#[test]
fn convolutions_agree_with_the_textbook_on_every_instruction_set() {
    let shape = |channels, size, out, kernel, stride, padding, groups| ConvShape {
        channels,
        size,
        out,
        kernel,
        stride,
        padding,
        groups,
    };
    let none = [[0; 2]; 2];
    let one = [[1; 2]; 2];
    let cases = [
        shape(1, [7, 5], 3, [3, 3], [1, 1], one, 1),
        shape(3, [16, 20], 10, [3, 3], [1, 1], one, 1),
        shape(3, [15, 17], 8, [7, 7], [2, 2], [[3; 2]; 2], 1),
        shape(16, [9, 50], 17, [1, 1], [1, 1], none, 1),
        shape(8, [9, 9], 12, [1, 1], [2, 2], none, 1),
        shape(2, [11, 13], 4, [2, 2], [1, 1], [[0, 1], [0, 1]], 1),
        shape(2, [11, 13], 4, [2, 4], [3, 1], [[2, 0], [1, 3]], 1),
        shape(4, [10, 21], 6, [3, 2], [1, 3], none, 2),
        shape(6, [8, 33], 6, [3, 3], [1, 1], one, 6),
        shape(5, [9, 14], 10, [3, 5], [2, 2], [[1, 0], [2, 2]], 5),
        shape(1, [30, 12], 9, [7, 12], [1, 1], [[3, 3], [0, 0]], 1),
        shape(600, [6, 9], 16, [3, 3], [1, 1], one, 1),
        shape(2, [20, 31], 3, [1, 4], [1, 4], none, 1),
    ];
    for isa in Isa::available() {
        for (i, shape) in cases.iter().enumerate() {
            let batch = 1 + i % 3;
            let x = noise(batch * shape.channels * area(shape.size), 1);
            let weight = noise(shape.out * shape.channels / shape.groups * area(shape.kernel), 2);
            let (bias, scale, shift) =
                (noise(shape.out, 3), noise(shape.out, 4), noise(shape.out, 5));
            let function = [None, Some(Activation::Relu), Some(Activation::Elu)][i % 3];
            let conv =
                Conv::new(*shape, &weight, Some(&bias), function, Some((&scale, &shift)), isa);
            let positions = area(shape.out_size());
            let mut y = vec![f32::NAN; batch * shape.out * positions];
            let mut space = Workspace::default();
            conv.run(&x, batch, &mut y, &mut space);
            let expected = plain(shape, &x, &weight, batch);
            let taps = (shape.channels / shape.groups * area(shape.kernel)) as f32;
            for (at, (got, sum)) in y.iter().zip(expected).enumerate() {
                let channel = at / positions % shape.out;
                let mut value = [sum + bias[channel]];
                if let Some(function) = function {
                    elementwise::activate(function, &mut value);
                }
                let e = value[0] * scale[channel] + shift[channel];
                assert!(
                    (got - e).abs() <= 1e-6 * (taps + 4.0),
                    "{isa:?} {shape:?}: value {at} is {got}, not {e}"
                );
            }
        }
    }
}
