//! How weights lie in a model file.
//!
//! A tensor `name` is stored as one or several tensors of the file:
//! - `name`: `F32`, `F16`, or `I8` beside `name#scale` (`F32`, one factor for each index of the first
//!   axis): the value is factor · byte;
//! - without its zeros: `name#bits` (`U8`, one bit a value, the lowest bit of a byte first, set where
//!   the value is not zero), `name#values` (`F16`, or `I8` beside `name#scale`; those that are not
//!   zero, in order) and `name#shape` (`U32`);
//! - all values the same: `name#constant` (`F32`, one value) and `name#shape`.
//!
//! In memory every weight is a float. What was stored as bytes gives the same bytes when it is
//! quantised again ([`crate::kernels::int8::quantise_rows`]), so nothing is lost between file and
//! integer kernels.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::artifact::{ArtifactError, ArtifactErrorKind, MAX_BYTES, malformed};
use crate::kernels::int8::quantise_rows;
use crate::shapes::MAX_RANK;
use crate::{Tensor, Weights};

/// How weights are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// 4 bytes a weight.
    #[default]
    F32,
    /// 2 bytes a weight, 11 significant bits: half the size for a relative error below 1/2048.
    F16,
    /// 1 byte a weight of matrices and filters with one scale a row; other weights as `F16` where
    /// that holds them.
    Int8,
    /// As `F16`, but of matrices and filters with many zeros only the others, with a bit a weight.
    SparseF16,
    /// As `Int8`, but of matrices and filters with many zeros only the others, with a bit a weight.
    SparseInt8,
}

impl Storage {
    /// Whether files are of the compressed format.
    pub(crate) fn is_compressed(self) -> bool {
        matches!(self, Self::Int8 | Self::SparseF16 | Self::SparseInt8)
    }

    fn int8(self) -> bool {
        matches!(self, Self::Int8 | Self::SparseInt8)
    }

    fn sparse(self) -> bool {
        matches!(self, Self::SparseF16 | Self::SparseInt8)
    }
}

/// Fewest values of a tensor that bytes and bits are worth their companions for.
const WORTHWHILE: usize = 256;

/// A tensor of the file.
pub(crate) struct Part {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

/// The tensors of the file that hold `weights`.
///
/// # Errors
/// A weight whose name has a `#`, which separates names from parts.
pub(crate) fn encode(weights: &Weights, storage: Storage) -> Result<Vec<Part>, ArtifactError> {
    let mut parts = Vec::new();
    for (name, tensor) in weights {
        if name.contains('#') {
            return Err(malformed(format!("weight {name} has a # in its name")));
        }
        let rows = tensor.shape.first().copied().unwrap_or(0);
        let matrix = tensor.shape.len() >= 2 && tensor.len() >= WORTHWHILE && rows > 0;
        let mut put = |suffix: &str, dtype, shape: Vec<usize>, data| {
            parts.push(Part { name: format!("{name}{suffix}"), dtype, shape, data });
        };
        let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let shape = || tensor.shape.iter().flat_map(|&n| (n as u32).to_le_bytes()).collect();
        let constant = tensor.data.first().filter(|v| tensor.data.iter().all(|w| w == *v));
        if let (true, true, Some(value)) = (storage.is_compressed(), tensor.len() > 150, constant) {
            put("#constant", Dtype::F32, vec![1], floats(&[*value]));
            put("#shape", Dtype::U32, vec![tensor.shape.len()], shape());
            continue;
        }
        let zeros = tensor.data.iter().filter(|v| **v == 0.0).count();
        // A bit a value must cost less than the zeros do.
        let size = if storage.int8() { 8 } else { 16 };
        let sparse = storage.sparse() && matrix && zeros * size > tensor.len() + 512;
        let kept = |i: &usize| tensor.data[*i] != 0.0;
        if sparse {
            let mut bits = vec![0u8; tensor.len().div_ceil(8)];
            (0..tensor.len()).filter(kept).for_each(|i| bits[i / 8] |= 1 << (i % 8));
            put("#bits", Dtype::U8, vec![bits.len()], bits);
            put("#shape", Dtype::U32, vec![tensor.shape.len()], shape());
        }
        if storage.int8() && matrix {
            let (bytes, scales) = quantise_rows(&tensor.data, rows);
            put("#scale", Dtype::F32, vec![rows], floats(&scales));
            if sparse {
                // A small weight may have become 0 as a byte; it stays among the kept ones.
                let bytes: Vec<u8> =
                    (0..tensor.len()).filter(kept).map(|i| bytes[i] as u8).collect();
                put("#values", Dtype::I8, vec![bytes.len()], bytes);
            } else {
                let bytes = bytes.into_iter().map(|b| b as u8).collect();
                put("", Dtype::I8, tensor.shape.clone(), bytes);
            }
            continue;
        }
        let half = |values: &[f32]| -> Vec<u8> {
            values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect()
        };
        if sparse {
            let values: Vec<f32> = (0..tensor.len()).filter(kept).map(|i| tensor.data[i]).collect();
            put("#values", Dtype::F16, vec![values.len()], half(&values));
        } else if storage == Storage::F32
            || (storage.is_compressed() && !fits_f16(name, &tensor.data))
        {
            put("", Dtype::F32, tensor.shape.clone(), floats(&tensor.data));
        } else {
            put("", Dtype::F16, tensor.shape.clone(), half(&tensor.data));
        }
    }
    Ok(parts)
}

/// Whether halves hold the values well: none too large, the largest of them to 11 bits, the others
/// with no larger an error; variances, which are divided by, all to 11 bits.
fn fits_f16(name: &str, values: &[f32]) -> bool {
    let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let least = if name.ends_with("running_var") {
        values.iter().filter(|v| **v != 0.0).fold(largest, |m, v| m.min(v.abs()))
    } else {
        largest
    };
    largest == 0.0 || (largest < 65_000.0 && least > 6.2e-5)
}

/// The parts of a tensor that were found.
#[derive(Default)]
struct Found<'a> {
    whole: Option<TensorView<'a>>,
    scale: Option<TensorView<'a>>,
    bits: Option<TensorView<'a>>,
    values: Option<TensorView<'a>>,
    shape: Option<TensorView<'a>>,
    constant: Option<TensorView<'a>>,
}

/// The weights that the tensors of a file hold.
///
/// # Errors
/// Parts that do not fit together, types that weights are not stored in, or more values than
/// [`MAX_BYTES`] of floats.
pub(crate) fn decode(tensors: &SafeTensors) -> Result<Weights, ArtifactError> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for (name, view) in tensors.iter() {
        let (base, part) = name.split_once('#').unwrap_or((name, ""));
        let entry = found.entry(base.to_string()).or_default();
        let place = match part {
            "" => &mut entry.whole,
            "scale" => &mut entry.scale,
            "bits" => &mut entry.bits,
            "values" => &mut entry.values,
            "shape" => &mut entry.shape,
            "constant" => &mut entry.constant,
            _ => return Err(malformed(format!("tensor {name}: a weight has no part `{part}`"))),
        };
        *place = Some(view);
    }
    let mut weights = Weights::new();
    let mut total = 0usize;
    for (name, parts) in found {
        let shape = parts.shape(&name)?;
        let size = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        total = size.and_then(|size| total.checked_add(size)).unwrap_or(usize::MAX);
        if total > MAX_BYTES / 4 {
            return Err(ArtifactError {
                kind: ArtifactErrorKind::OverLimit,
                message: format!(
                    "the weights up to {name} are more than the {} values that are read",
                    MAX_BYTES / 4
                ),
            });
        }
        let data = parts.data(&name, &shape)?;
        weights.insert(name, Tensor::new(shape, data));
    }
    Ok(weights)
}

impl Found<'_> {
    fn shape(&self, name: &str) -> Result<Vec<usize>, ArtifactError> {
        let sparse = (&self.bits, &self.values, &self.constant);
        match (&self.whole, sparse, &self.shape) {
            (Some(whole), (None, None, None), None) => Ok(whole.shape().to_vec()),
            (None, (Some(_), Some(_), None) | (None, None, Some(_)), Some(shape)) => {
                if shape.dtype() != Dtype::U32 || shape.data().len() > 4 * MAX_RANK {
                    return Err(malformed(format!("weight {name}: its shape is damaged")));
                }
                let (numbers, _) = shape.data().as_chunks::<4>();
                Ok(numbers.iter().map(|n| u32::from_le_bytes(*n) as usize).collect())
            }
            _ => Err(malformed(format!(
                "weight {name} is stored neither whole nor as bits, values and shape nor as a constant"
            ))),
        }
    }

    fn data(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ArtifactError> {
        let size: usize = shape.iter().product();
        if let Some(whole) = &self.whole {
            return self.numbers(name, whole, |i| (size > 0).then(|| i * shape[0] / size));
        }
        if let Some(constant) = &self.constant {
            return match self.numbers(name, constant, |_| None)?[..] {
                [value] => Ok(vec![value; size]),
                ref values => {
                    let count = values.len();
                    Err(malformed(format!("weight {name} is a constant of {count} values")))
                }
            };
        }
        let (Some(bits), Some(values)) = (&self.bits, &self.values) else {
            return Err(malformed(format!("weight {name} is incomplete")));
        };
        let kept: usize = bits.data().iter().map(|b| b.count_ones() as usize).sum();
        let at_end = bits
            .data()
            .last()
            .map_or(0, |b| if size.is_multiple_of(8) { 0 } else { b >> (size % 8) });
        let count: usize = values.shape().iter().product();
        if bits.dtype() != Dtype::U8
            || bits.data().len() != size.div_ceil(8)
            || kept != count
            || at_end != 0
        {
            return Err(malformed(format!(
                "weight {name}: {} bytes of bits with {kept} set do not fit {count} values of {shape:?}",
                bits.data().len()
            )));
        }
        let set = |i: &usize| bits.data()[i / 8] >> (i % 8) & 1 == 1;
        let places: Vec<usize> = (0..size).filter(set).collect();
        let values = self.numbers(name, values, |i| Some(places[i] * shape[0] / size))?;
        let mut data = vec![0.0; size];
        places.into_iter().zip(values).for_each(|(place, value)| data[place] = value);
        Ok(data)
    }

    /// The numbers of `view`; `row` tells which scale a byte has.
    fn numbers(
        &self,
        name: &str,
        view: &TensorView,
        row: impl Fn(usize) -> Option<usize>,
    ) -> Result<Vec<f32>, ArtifactError> {
        let data = view.data();
        if self.scale.is_some() != (view.dtype() == Dtype::I8) {
            return Err(malformed(format!(
                "weight {name}: scales belong to I8 and to nothing else"
            )));
        }
        match view.dtype() {
            Dtype::F32 => {
                Ok(data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
            }
            Dtype::F16 => Ok(data
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| half::f16::from_le_bytes(*b).to_f32())
                .collect()),
            Dtype::I8 => {
                let scales = self.scales(name)?;
                data.iter()
                    .enumerate()
                    .map(|(i, &byte)| {
                        let scale = row(i).and_then(|row| scales.get(row)).ok_or_else(|| {
                            malformed(format!(
                                "weight {name} has {} scales, fewer than rows",
                                scales.len()
                            ))
                        })?;
                        Ok(f32::from(byte as i8) * scale)
                    })
                    .collect()
            }
            other => Err(ArtifactError {
                kind: ArtifactErrorKind::Unsupported,
                message: format!("weight {name} is stored as {other:?}; F32, F16 and I8 are read"),
            }),
        }
    }

    fn scales(&self, name: &str) -> Result<Vec<f32>, ArtifactError> {
        let scales = match &self.scale {
            Some(view) if view.dtype() == Dtype::F32 => view.data().as_chunks::<4>().0,
            _ => return Err(malformed(format!("weight {name}: its scales are no F32"))),
        };
        let scales: Vec<f32> = scales.iter().map(|b| f32::from_le_bytes(*b)).collect();
        match scales.iter().find(|s| !s.is_finite()) {
            Some(scale) => Err(malformed(format!("weight {name} has the scale {scale}"))),
            None => Ok(scales),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::gemm::tests::noise;

    fn weights() -> Weights {
        let mut sparse = noise(40 * 30, 2);
        sparse.iter_mut().enumerate().for_each(|(i, v)| *v *= f32::from(i % 5 == 0));
        Weights::from([
            ("dense.weight".into(), Tensor::new([20, 10, 3], noise(600, 1))),
            ("holes.weight".into(), Tensor::new([40, 30], sparse)),
            ("holes.bias".into(), Tensor::new([40], noise(40, 3))),
            ("huge.bias".into(), Tensor::new([2], vec![1e6, 1.0])),
            ("norm.running_var".into(), Tensor::new([300], vec![1.0; 300])),
        ])
    }

    fn bytes(parts: &[Part]) -> Vec<u8> {
        let views = parts
            .iter()
            .map(|p| (p.name.clone(), TensorView::new(p.dtype, p.shape.clone(), &p.data).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    fn read(parts: &[Part]) -> Result<Weights, ArtifactError> {
        decode(&SafeTensors::deserialize(&bytes(parts)).unwrap())
    }

    #[test]
    fn what_is_stored_is_read_within_its_precision() {
        let all = weights();
        let storages = [
            (Storage::F32, 0.0, 9200),
            (Storage::F16, 1.0 / 2048.0, 4600),
            (Storage::Int8, 0.5 / 127.0, 2600),
            (Storage::SparseF16, 1.0 / 2048.0, 2400),
            (Storage::SparseInt8, 0.5 / 127.0, 1600),
        ];
        for (storage, error, size) in storages {
            let parts = encode(&all, storage).unwrap();
            let stored: usize = parts.iter().map(|p| p.data.len()).sum();
            assert!(stored < size, "{storage:?}: {stored}");
            let again = read(&parts).unwrap();
            for (name, tensor) in
                all.iter().filter(|(n, _)| storage != Storage::F16 || *n != "huge.bias")
            {
                assert_eq!(again[name].shape, tensor.shape);
                for (a, b) in again[name].data.iter().zip(&tensor.data) {
                    // A row's largest weight is at most 1 here.
                    assert!(
                        (a - b).abs() <= error * b.abs().max(1.0),
                        "{storage:?} {name}: {a} {b}"
                    );
                }
            }
            // A second time nothing is lost any more.
            assert_eq!(read(&encode(&again, storage).unwrap()).unwrap(), again, "{storage:?}");
        }
    }

    #[test]
    fn damaged_parts_are_refused_with_a_sentence() {
        let parts = || encode(&weights(), Storage::SparseInt8).unwrap();
        assert!(read(&parts()).is_ok());
        type Damage = fn(&mut Vec<Part>);
        fn at<'a>(parts: &'a mut [Part], name: &str) -> &'a mut Part {
            parts.iter_mut().find(|p| p.name == name).unwrap()
        }
        let damages: [(Damage, &str); 8] = [
            (|p| p.retain(|p| p.name != "holes.weight#shape"), "neither whole"),
            (|p| p.retain(|p| p.name != "dense.weight#scale"), "scales belong"),
            (|p| at(p, "holes.weight#bits").data[3] ^= 1, "do not fit"),
            (|p| at(p, "holes.weight#shape").data[..4].copy_from_slice(&[255; 4]), "more than"),
            (|p| at(p, "holes.weight#shape").data[0] = 41, "do not fit"),
            (
                |p| at(p, "dense.weight#scale").data[..4].copy_from_slice(&f32::NAN.to_le_bytes()),
                "NaN",
            ),
            (
                |p| {
                    let scale = at(p, "dense.weight#scale");
                    scale.data.truncate(8);
                    scale.shape = vec![2];
                },
                "fewer than rows",
            ),
            (|p| at(p, "holes.bias").name = "holes.bias#other".into(), "no part"),
        ];
        for (damage, says) in damages {
            let mut parts = parts();
            damage(&mut parts);
            let error = read(&parts).unwrap_err();
            assert!(error.message.contains(says), "{error}, not {says}");
        }
    }
}
