//! The part of protobuf's wire format that an ONNX file needs: fields of whole numbers,
//! floats, bytes and messages (<https://protobuf.dev/programming-guides/encoding/>).

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Seven bits at a time, the lowest first; the high bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    pub fn int(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    pub fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    pub fn string(&mut self, field: u64, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    pub fn message(&mut self, field: u64, value: Message) {
        self.bytes(field, &value.bytes);
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_specification() {
        // The examples of the encoding guide: field 1 = 150, field 2 = "testing", and field
        // 3 holding the first.
        let mut inner = Message::default();
        inner.int(1, 150);
        assert_eq!(inner.bytes, [0x08, 0x96, 0x01]);
        let mut outer = Message::default();
        outer.string(2, "testing");
        outer.message(3, inner);
        assert_eq!(outer.bytes, b"\x12\x07testing\x1a\x03\x08\x96\x01");
        let mut number = Message::default();
        number.float(1, 1.0);
        assert_eq!(number.into_bytes(), [0x0d, 0, 0, 0x80, 0x3f]);
    }
}
