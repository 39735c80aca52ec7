//! As much of Python's pickle as PyTorch's state dicts use. Nothing is imported and nothing is called:
//! the few functions that such files name are known here by what they mean, any other ends the reading.
//!
//! Opcodes after CPython's `pickletools`; the layout of `data.pkl` after `torch.serialization`.

use std::collections::HashMap;

use crate::weights::Float;

/// Most opcodes that are followed; a state dict of 1000 tensors has some 50,000.
const MAX_STEPS: usize = 5_000_000;
/// Most values on the stack or in the memo.
const MAX_VALUES: usize = 1_000_000;

/// What a pickle builds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Nothing, a truth value, a float, bytes: of no interest here.
    Other,
    Int(i64),
    Text(String),
    Tuple(Vec<Value>),
    /// A list, kept in the machine, as others may refer to it.
    List(usize),
    /// A dict, kept in the machine.
    Dict(usize),
    /// A class or function, by module and name.
    Global(String, String),
    Storage(Storage),
    Tensor(Strided),
    Mark,
}

/// A run of values in a file of the archive.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Storage {
    /// Name of the file.
    pub key: String,
    /// Format of its values; none for integers.
    pub float: Option<Float>,
}

/// A view of a storage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Strided {
    pub storage: Storage,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub stride: Vec<usize>,
}

/// The tensors of a state dict, by name, in the order of the file.
///
/// # Errors
/// A sentence: what the file is or asks for instead.
pub(crate) fn state_dict(bytes: &[u8]) -> Result<Vec<(String, Strided)>, String> {
    let mut machine = Machine { bytes, ..Machine::default() };
    let top = machine.run()?;
    let mut found = Vec::new();
    machine.collect(&top, 0, &mut found);
    Ok(found)
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    lists: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value, String> {
        for _ in 0..MAX_STEPS {
            if self.stack.len() > MAX_VALUES || self.memo.len() > MAX_VALUES {
                return Err(format!("builds more than {MAX_VALUES} values"));
            }
            if self.step()? {
                return self.pop();
            }
        }
        Err(format!("has more than {MAX_STEPS} steps"))
    }

    /// Follows one opcode; true at the end.
    fn step(&mut self) -> Result<bool, String> {
        let opcode = self.take(1)?[0];
        match opcode {
            b'.' => return Ok(true),
            // PROTO; FRAME.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.stack.push(Value::Mark),
            b'0' => drop(self.pop()?),
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
            b'K' => self.int(1)?,
            b'M' => self.int(2)?,
            b'J' => {
                let b = self.take(4)?;
                let value = i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                self.stack.push(Value::Int(value.into()));
            }
            0x8a => {
                let length = usize::from(self.take(1)?[0]);
                let value = little_endian(self.take(length)?);
                self.stack.push(value.map_or(Value::Other, Value::Int));
            }
            b'G' => self.skip(8)?,
            b'C' | b'U' => {
                let length = self.length(1)?;
                self.skip(length)?;
            }
            b'B' | b'T' => {
                let length = self.length(4)?;
                self.skip(length)?;
            }
            b'X' => {
                let length = self.length(4)?;
                self.text(length)?;
            }
            0x8c => {
                let length = self.length(1)?;
                self.text(length)?;
            }
            b'}' => {
                self.dicts.push(Vec::new());
                self.stack.push(Value::Dict(self.dicts.len() - 1));
            }
            b']' => {
                self.lists.push(Vec::new());
                self.stack.push(Value::List(self.lists.len() - 1));
            }
            b')' => self.stack.push(Value::Tuple(Vec::new())),
            b't' => {
                let items = self.since_mark()?;
                self.stack.push(Value::Tuple(items));
            }
            0x85..=0x87 => {
                let from = self.stack.len().checked_sub(usize::from(opcode - 0x84));
                let items = self.stack.split_off(from.ok_or("takes from an empty stack")?);
                self.stack.push(Value::Tuple(items));
            }
            b'q' => {
                let place = self.length(1)?;
                self.remember(place)?;
            }
            b'r' => {
                let place = self.length(4)?;
                self.remember(place)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' => {
                let place = self.length(1)?;
                self.recall(place)?;
            }
            b'j' => {
                let place = self.length(4)?;
                self.recall(place)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Global(module, name));
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => {
                    self.stack.push(Value::Global(module, name));
                }
                _ => return Err("names a class by something that is no text".into()),
            },
            b'Q' => {
                let id = self.pop()?;
                self.stack.push(storage(&id)?);
            }
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let made = self.call(&function, arguments)?;
                self.stack.push(made);
            }
            // The attributes of an object (a dict's `_metadata`) are of no interest.
            b'b' => drop(self.pop()?),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            other => {
                return Err(format!(
                    "uses the pickle opcode {other:#04x}, which no state dict needs"
                ));
            }
        }
        Ok(false)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..count));
        self.at = self.at.saturating_add(count);
        taken.ok_or_else(|| "is cut off".to_string())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| "takes from an empty stack".to_string())
    }

    fn since_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.stack.iter().rposition(|v| *v == Value::Mark).ok_or("has no mark")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn length(&mut self, bytes: usize) -> Result<usize, String> {
        let value = little_endian(self.take(bytes)?).unwrap_or(-1);
        // Four bytes of unsigned length may look negative only in eight.
        usize::try_from(value & 0xffff_ffff).map_err(|e| e.to_string())
    }

    fn int(&mut self, bytes: usize) -> Result<(), String> {
        let value = self.length(bytes)?;
        self.stack.push(Value::Int(value as i64));
        Ok(())
    }

    fn skip(&mut self, length: usize) -> Result<(), String> {
        self.take(length)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<(), String> {
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| "has a text that is not UTF-8")?;
        self.stack.push(Value::Text(text.into()));
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.iter().take(200).position(|b| *b == b'\n').ok_or("is cut off in a name")?;
        self.at += end + 1;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn remember(&mut self, place: usize) -> Result<(), String> {
        let value = self.stack.last().ok_or("takes from an empty stack")?.clone();
        self.memo.insert(place as u32, value);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Result<(), String> {
        let value = self.memo.get(&(place as u32)).ok_or("refers to something it has not built")?;
        self.stack.push(value.clone());
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value>) -> Result<(), String> {
        let Some(Value::Dict(dict)) = self.stack.last() else {
            return Err("sets items of something that is no dict".into());
        };
        let dict = &mut self.dicts[*dict];
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            dict.push((key, value));
        }
        Ok(())
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), String> {
        let Some(Value::List(list)) = self.stack.last() else {
            return Err("appends to something that is no list".into());
        };
        self.lists[*list].extend(items);
        Ok(())
    }

    /// What the few functions of a state dict would make.
    fn call(&mut self, function: &Value, arguments: Value) -> Result<Value, String> {
        let (Value::Global(module, name), Value::Tuple(arguments)) = (function, arguments) else {
            return Err("calls something that is no function".into());
        };
        match (module.as_str(), name.as_str()) {
            ("collections", "OrderedDict") => {
                self.dicts.push(Vec::new());
                Ok(Value::Dict(self.dicts.len() - 1))
            }
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => strided(&arguments),
            ("torch._utils", "_rebuild_parameter") => {
                arguments.into_iter().next().ok_or_else(|| "has a parameter of nothing".to_string())
            }
            _ => Err(format!(
                "asks to call `{module}.{name}`; only state dicts of tensors are read, and nothing is ever run: save `model.state_dict()` instead of the model"
            )),
        }
    }

    /// Tensors of a dict by name; of a training checkpoint, those of the state dict in it.
    fn collect(&self, value: &Value, depth: usize, found: &mut Vec<(String, Strided)>) {
        let Value::Dict(dict) = value else { return };
        for (key, value) in &self.dicts[*dict] {
            let Value::Text(key) = key else { continue };
            match value {
                Value::Tensor(tensor) => {
                    // What data-parallel training puts before every name.
                    let name = key.strip_prefix("module.").unwrap_or(key);
                    found.push((name.to_string(), tensor.clone()));
                }
                Value::Dict(_) if depth < 2 && ["state_dict", "model"].contains(&key.as_str()) => {
                    self.collect(value, depth + 1, found);
                }
                _ => {}
            }
        }
    }
}

/// Up to eight bytes as a signed number.
fn little_endian(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let mut whole = [0u8; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(whole))
}

/// A persistent id: `('storage', class, key, place, count)`.
fn storage(id: &Value) -> Result<Value, String> {
    match id {
        Value::Tuple(parts) => match parts.as_slice() {
            [Value::Text(kind), Value::Global(_, class), Value::Text(key), ..]
                if kind == "storage" =>
            {
                let float = match class.as_str() {
                    "FloatStorage" => Some(Float::F32),
                    "DoubleStorage" => Some(Float::F64),
                    "HalfStorage" => Some(Float::F16),
                    "BFloat16Storage" => Some(Float::Bf16),
                    _ => None,
                };
                Ok(Value::Storage(Storage { key: key.clone(), float }))
            }
            _ => Err("refers to a storage in a way that is not known".into()),
        },
        _ => Err("refers to a storage in a way that is not known".into()),
    }
}

/// The arguments of `_rebuild_tensor_v2`: storage, offset, shape, stride, ….
fn strided(arguments: &[Value]) -> Result<Value, String> {
    let sizes = |values: &[Value]| -> Option<Vec<usize>> {
        values
            .iter()
            .map(|v| match v {
                Value::Int(n) => usize::try_from(*n).ok(),
                _ => None,
            })
            .collect()
    };
    if let [
        Value::Storage(storage),
        Value::Int(offset),
        Value::Tuple(shape),
        Value::Tuple(stride),
        ..,
    ] = arguments
        && let (Ok(offset), Some(shape), Some(stride)) =
            (usize::try_from(*offset), sizes(shape), sizes(stride))
        && shape.len() == stride.len()
    {
        return Ok(Value::Tensor(Strided { storage: storage.clone(), offset, shape, stride }));
    }
    Err("has a tensor whose sizes are not known".into())
}
