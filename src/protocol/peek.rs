//! A glance at lines whose turn has not come.

use memchr::memmem::Finder;

use crate::engine::ID_LEN;

/// Sees which sessions some lines seem to name.
///
/// It does not read JSON: it looks for the field as programs write it. What it sees is a hint, for
/// work that changes no answer.
#[derive(Debug)]
pub struct Sessions(Finder<'static>);

impl Default for Sessions {
    fn default() -> Self {
        Self(Finder::new("\"session\""))
    }
}

impl Sessions {
    /// The ids that seem to be in these bytes.
    pub fn seen_in<'b>(&'b self, bytes: &'b [u8]) -> impl Iterator<Item = &'b str> {
        self.0.find_iter(bytes).filter_map(|at| {
            let value = bytes[at..].get(self.0.needle().len()..)?.strip_prefix(b":")?;
            let value = value.strip_prefix(b" ").unwrap_or(value).strip_prefix(b"\"")?;
            std::str::from_utf8(value.get(..ID_LEN)?).ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_seen_as_programs_write_them() {
        let id = "0123456789ABCDEFGHIJKLMNOPQRSTUV";
        let text = format!(
            "{{\"session\":\"{id}\"}}\n{{\"session\": \"{id}\",\"code\":\"1\"}}\n\
             {{\"to\":\"session\"}}\n{{\"session\":5}}\né{{\"session\":\"{}",
            &id[1..]
        );
        let sessions = Sessions::default();
        assert_eq!(sessions.seen_in(text.as_bytes()).collect::<Vec<_>>(), [id, id]);
    }
}
