//! The fields of one object, kept as they were written and looked at one by one.

use std::borrow::Cow;
use std::fmt;
use std::str::Chars;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::help;
use super::{
    FIELD_NAME_MAX, Fault, FieldFault, ID_INTEGER_MAX, ID_MAX, RequestId, Typed, VARS_MAX,
};

/// The fields that any command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Id,
    Cmd,
    Session,
    Code,
    Purpose,
    To,
    Client,
    Ttl,
    Locale,
    Data,
    Vars,
    About,
    Seconds,
}

impl Name {
    const ALL: [Self; 13] = [
        Self::Id,
        Self::Cmd,
        Self::Session,
        Self::Code,
        Self::Purpose,
        Self::To,
        Self::Client,
        Self::Ttl,
        Self::Locale,
        Self::Data,
        Self::Vars,
        Self::About,
        Self::Seconds,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Cmd => "cmd",
            Self::Session => "session",
            Self::Code => "code",
            Self::Purpose => "purpose",
            Self::To => "to",
            Self::Client => "client",
            Self::Ttl => "ttl_s",
            Self::Locale => "locale",
            Self::Data => "data",
            Self::Vars => "vars",
            Self::About => "about",
            Self::Seconds => "seconds",
        }
    }

    fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// A field that can't be taken.
pub const fn bad(name: Name, why: FieldFault) -> Fault {
    Fault::BadField { field: Cow::Borrowed(name.as_str()), why }
}

/// A field of a wrong type or out of bounds.
pub const fn invalid(name: Name) -> Fault {
    bad(name, FieldFault::Invalid)
}

/// The fields of one object, as they were written.
#[derive(Debug, Default)]
pub struct Fields<'a> {
    slots: [Option<&'a str>; Name::ALL.len()],
    doubled_id: bool,
    /// The first field that no command has, or that is there twice.
    pub fault: Option<(Cow<'static, str>, FieldFault)>,
}

impl<'a> Fields<'a> {
    /// The fields of a line, and whether the line is one whole JSON object. If it is not, the
    /// fields are those before the place where it goes wrong.
    pub fn read(line: &'a [u8]) -> (Self, bool) {
        let mut fields = Self::default();
        let (text, is_text) = match std::str::from_utf8(line) {
            // JSON allows a CR between its tokens; a line that holds one was cut by something that
            // takes it for the end of a line.
            Ok(text) => (text, memchr::memchr(b'\r', line).is_none()),
            Err(err) => {
                (std::str::from_utf8(&line[..err.valid_up_to()]).unwrap_or_default(), false)
            }
        };
        if let Some(fields) = Self::read_plain(text) {
            return (fields, is_text);
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let whole = json.deserialize_map(Collect(&mut fields)).is_ok() && json.end().is_ok();
        (fields, whole && is_text)
    }

    /// The fields of an object as programs write it: strings without escapes, and whole numbers.
    /// None for anything else, which may be JSON or not. With the two loops below
    /// ([`has_control`] and its like in replies) it saves 50 of 550 ns a `verify`.
    fn read_plain(text: &'a str) -> Option<Self> {
        let mut fields = Self::default();
        let mut rest = text.strip_prefix('{')?;
        loop {
            let (name, after) = rest.split_at(plain_string(rest)?);
            let after = after.strip_prefix(':')?;
            let after = after.strip_prefix(' ').unwrap_or(after);
            let end = plain_string(after).or_else(|| plain_number(after))?;
            let (value, after) = after.split_at(end);
            fields.add(&name[1..name.len() - 1], value);
            rest = match after.strip_prefix(',') {
                Some(more) => more.strip_prefix(' ').unwrap_or(more),
                None => return (after == "}").then_some(fields),
            };
        }
    }

    fn add(&mut self, name: &str, value: &'a str) {
        let Some(known) = Name::find(name) else {
            self.fault.get_or_insert_with(|| (cut(name).into(), FieldFault::Unknown));
            return;
        };
        let slot = &mut self.slots[known as usize];
        if slot.is_none() {
            *slot = Some(value);
        } else {
            self.doubled_id |= known == Name::Id;
            self.fault.get_or_insert((Cow::Borrowed(known.as_str()), FieldFault::Doubled));
        }
    }

    /// A field as it was written.
    pub fn at(&self, name: Name) -> Option<&'a str> {
        self.slots[name as usize]
    }

    /// Its `id`, if it has one.
    ///
    /// # Errors
    /// One that is no id, or is there twice.
    pub fn id(&self) -> Result<Option<RequestId<'a>>, Fault> {
        let Some(raw) = self.at(Name::Id) else {
            return Ok(None);
        };
        if self.doubled_id {
            return Err(bad(Name::Id, FieldFault::Doubled));
        }
        let fits = match string(raw) {
            Some(text) => text.len() <= ID_MAX && !has_control(&text),
            None => whole_number(raw)
                .is_some_and(|number| (-ID_INTEGER_MAX..=ID_INTEGER_MAX).contains(&number)),
        };
        fits.then_some(Some(RequestId(raw))).ok_or_else(|| invalid(Name::Id))
    }

    /// Refuses fields that the command does not have, and doubled ones.
    ///
    /// # Errors
    /// The first of them.
    pub fn check_names(&self, command: &help::Command) -> Result<(), Fault> {
        if let Some((field, why)) = &self.fault {
            return Err(Fault::BadField { field: field.clone(), why: *why });
        }
        let has = |name: Name| {
            matches!(name, Name::Id | Name::Cmd)
                || command.fields.iter().any(|field| field.name == name.as_str())
        };
        match Name::ALL.into_iter().find(|name| self.at(*name).is_some() && !has(*name)) {
            Some(name) => Err(bad(name, FieldFault::Unknown)),
            None => Ok(()),
        }
    }

    /// A string without control characters.
    ///
    /// # Errors
    /// Anything else.
    pub fn text(&self, name: Name) -> Result<Option<Cow<'a, str>>, Fault> {
        let Some(raw) = self.at(name) else {
            return Ok(None);
        };
        if name == Name::Cmd && self.fault.as_ref().is_some_and(|(field, _)| field == name.as_str())
        {
            return Err(bad(name, FieldFault::Doubled));
        }
        let text = string(raw).filter(|text| !has_control(text));
        text.map(Some).ok_or_else(|| invalid(name))
    }

    /// As [`Fields::text`], and it must be there.
    ///
    /// # Errors
    /// It is not, or is anything else.
    pub fn required(&self, name: Name) -> Result<Cow<'a, str>, Fault> {
        self.text(name)?.ok_or_else(|| bad(name, FieldFault::Missing))
    }

    /// As [`Fields::required`], for what is to be wiped.
    ///
    /// # Errors
    /// Likewise.
    pub fn typed(&self, name: Name) -> Result<Typed<'a>, Fault> {
        let raw = self.at(name).ok_or_else(|| bad(name, FieldFault::Missing))?;
        let typed = unescape(raw).filter(|typed| !has_control(typed.as_str()));
        typed.ok_or_else(|| invalid(name))
    }

    /// As [`Fields::text`], of 1 to `max` bytes.
    ///
    /// # Errors
    /// Anything else.
    pub fn bounded(&self, name: Name, max: usize) -> Result<Option<Cow<'a, str>>, Fault> {
        let text = self.text(name)?;
        match text.as_ref().is_none_or(|text| (1..=max).contains(&text.len())) {
            true => Ok(text),
            false => Err(invalid(name)),
        }
    }

    /// A whole number that is not negative.
    ///
    /// # Errors
    /// Anything else.
    pub fn integer(&self, name: Name) -> Result<Option<u64>, Fault> {
        let number = |raw| whole_number(raw).and_then(|number| u64::try_from(number).ok());
        self.at(name).map(|raw| number(raw).ok_or_else(|| invalid(name))).transpose()
    }
}

/// As [`string`], into a buffer that is wiped: the parser's own would leave a copy behind.
fn unescape(raw: &str) -> Option<Typed<'_>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Typed::InPlace(inner));
    }
    // Resolving escapes only ever shortens a text, so this never grows and leaves nothing behind.
    let mut text = Zeroizing::new(String::with_capacity(inner.len()));
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        text.push(match c {
            '\\' => match rest.next()? {
                'n' | 'r' | 't' | 'b' | 'f' => '\n',
                'u' => escaped(&mut rest)?,
                c => c,
            },
            c => c,
        });
    }
    Some(Typed::Copied(text))
}

/// The character behind a `\u`: one unit, or the two of a pair.
fn escaped(rest: &mut Chars<'_>) -> Option<char> {
    let unit = |rest: &mut Chars<'_>| {
        let (hex, _) = rest.as_str().split_at_checked(4)?;
        let unit = u16::from_str_radix(hex, 16).ok()?;
        rest.nth(3)?;
        Some(unit)
    };
    let first = unit(rest)?;
    if let Some(c) = char::from_u32(first.into()) {
        return Some(c);
    }
    let second = (rest.next()? == '\\' && rest.next()? == 'u').then(|| unit(rest))??;
    char::decode_utf16([first, second]).next()?.ok()
}

impl RequestId<'_> {
    /// Whether the id ends where it ends, in a line that breaks off or goes wrong somewhere: of a
    /// number, that may be only the beginning.
    pub(super) fn is_whole_in(&self, line: &[u8]) -> bool {
        let end = self.0.as_ptr() as usize + self.0.len() - line.as_ptr() as usize;
        let delimited = |b: &u8| matches!(b, b' ' | b'\t' | b',' | b'}');
        self.0.starts_with('"') || line.get(end).is_some_and(delimited)
    }
}

/// The text of a JSON string, borrowed if it holds no escape. None if it is no string, or one that
/// is no text (half of a surrogate pair).
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    match memchr::memchr(b'\\', inner.as_bytes()) {
        None => Some(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}

/// Where a string without escapes ends that a text begins with, its quotes included.
fn plain_string(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('"')?.as_bytes();
    let end = inner.iter().position(|b| matches!(b, b'"' | b'\\' | ..b' '))?;
    (inner[end] == b'"').then_some(end + 2)
}

/// Where a whole number ends that a text begins with.
fn plain_number(text: &str) -> Option<usize> {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    (len == 1 || (len > 1 && !text.starts_with('0'))).then_some(len)
}

/// A JSON number written as an integer: `1.0` and `1e3` are none.
fn whole_number(raw: &str) -> Option<i64> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| raw.parse().ok())?
}

/// Whether a text holds U+0000 to U+001F or U+007F.
pub fn has_control(text: &str) -> bool {
    // Without an early end, so that the compiler looks at a vector at a time.
    text.bytes().fold(false, |found, b| found | (b < b' ' || b == 0x7F))
}

/// A name cut to [`FIELD_NAME_MAX`] bytes, at a character.
fn cut(name: &str) -> String {
    name[..name.floor_char_boundary(FIELD_NAME_MAX)].to_owned()
}

/// Puts the fields of an object into [`Fields`], where they stay if a later one is not JSON.
struct Collect<'f, 'a>(&'f mut Fields<'a>);

impl<'a> Visitor<'a> for Collect<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<FieldName<'a>>()? {
            self.0.add(&name.0, map.next_value::<&RawValue>()?.get());
        }
        Ok(())
    }
}

/// A field's name, borrowed where the text allows it. (`Cow` by itself never borrows here.)
#[derive(Debug)]
struct FieldName<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for FieldName<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = FieldName<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(FieldName(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The pairs of an object in order, doubled names and all; more than [`VARS_MAX`] are an error.
pub struct Pairs<'a>(pub Vec<(Cow<'a, str>, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while pairs.len() < VARS_MAX {
                    let Some(name) = map.next_key::<FieldName<'de>>()? else {
                        return Ok(Pairs(pairs));
                    };
                    pairs.push((name.0, map.next_value::<&RawValue>()?.get()));
                }
                match map.next_key::<IgnoredAny>()? {
                    Some(_) => Err(serde::de::Error::custom("too many")),
                    None => Ok(Pairs(pairs)),
                }
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests;
