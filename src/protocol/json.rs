//! Writing JSON, field by field into one buffer.

use std::time::Duration;

use crate::clock::secs_up;

/// A JSON object that is being written.
#[derive(Debug)]
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> Object<'o> {
    /// Begins an object.
    pub fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    /// Goes on with an object whose first field is written.
    pub const fn after_first(out: &'o mut Vec<u8>) -> Self {
        Self { out, is_empty: false }
    }

    /// Begins a field. Names are ours and need no escapes.
    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A string.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        string(self.out, value);
    }

    /// A list of strings.
    pub fn texts(&mut self, name: &str, values: &[&str]) {
        self.name(name);
        self.out.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            string(self.out, value);
        }
        self.out.push(b']');
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        // By hand, without the formatter's machinery: most replies hold a number.
        let mut digits = [0; 20];
        let (mut at, mut rest) = (digits.len(), value);
        while at == digits.len() || rest > 0 {
            at -= 1;
            digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    /// A span in whole seconds, rounded up.
    pub fn secs(&mut self, name: &str, span: Duration) {
        self.number(name, secs_up(span));
    }

    /// True or false.
    pub fn flag(&mut self, name: &str, value: bool) {
        self.raw(name, if value { "true" } else { "false" });
    }

    /// A value that is JSON already.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
    }

    /// An object within.
    pub fn group(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        self.out.push(b'{');
        fill(&mut Object { out: self.out, is_empty: true });
        self.out.push(b'}');
    }

    /// Ends the object, and its line.
    pub fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

fn string(out: &mut Vec<u8>, value: &str) {
    // Without an early end, so that the compiler looks at a vector at a time.
    let plain = value.bytes().fold(true, |plain, b| plain & (b >= b' ' && b != b'"' && b != b'\\'));
    if plain {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        // Writing to a vector can't fail, and every text is JSON.
        let _ = serde_json::to_writer(out, value);
    }
}
