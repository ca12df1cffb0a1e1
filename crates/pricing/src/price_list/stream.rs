//! Reading of JSON as a stream, with bounds on its size and on its strings.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_PRICE_LIST_BYTES;
use crate::number::Exact;
use cyclometer_core::quantity::Decimal;

/// Longest string, or other text without a quotation mark, in bytes.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Deepest nesting: price lists have ten levels.
const MAX_DEPTH: usize = 100;
/// Most entries of a small map or list.
const MAX_ENTRIES: usize = 256;

/// Reader that fails at strings and files that are too long.
pub(super) type GuardedReader<R> = BufReader<TextGuard<io::Take<R>>>;

/// Bounds a reader.
pub(super) fn guard_reader<R: Read>(source: R) -> GuardedReader<R> {
    let source = source.take(MAX_PRICE_LIST_BYTES);
    let guard = TextGuard {
        source,
        total: 0,
        depth: 0,
        in_string: false,
        is_escaped: false,
        since_quote: 0,
    };
    BufReader::with_capacity(1 << 16, guard)
}

/// Reader that follows the strings and the nesting of JSON.
pub(super) struct TextGuard<R> {
    source: R,
    total: u64,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    since_quote: usize,
}

impl<R> TextGuard<R> {
    /// Follows one byte; returns what is wrong with the text up to it.
    fn follow_byte(&mut self, byte: u8) -> Option<&'static str> {
        self.since_quote += 1;
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.in_string => self.is_escaped = true,
            b'"' => {
                self.in_string = !self.in_string;
                self.since_quote = 0;
            }
            b'[' | b'{' if !self.in_string => self.depth += 1,
            b']' | b'}' if !self.in_string => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.since_quote > MAX_TEXT_BYTES {
            return Some("a string of it has more than a megabyte");
        }
        (self.depth > MAX_DEPTH).then_some("it is nested more than 100 levels deep")
    }
}

impl<R: Read> Read for TextGuard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.total += u64::try_from(count).unwrap_or(u64::MAX);
        if count == 0 && self.total >= MAX_PRICE_LIST_BYTES {
            return Err(io::Error::other("it has more than 4 GiB"));
        }
        let problem = buffer[..count].iter().find_map(|byte| self.follow_byte(*byte));
        problem.map_or(Ok(count), |problem| Err(io::Error::other(problem)))
    }
}

/// Values of a small map, in its order; more than a few hundred are refused.
#[derive(Debug)]
pub(super) struct SmallMap<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for SmallMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SmallVisitor(PhantomData)).map(SmallMap)
    }
}

/// A small list; more than a few hundred elements are refused.
#[derive(Debug)]
pub(super) struct SmallList<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for SmallList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(SmallVisitor(PhantomData)).map(SmallList)
    }
}

impl<T> Default for SmallList<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

struct SmallVisitor<T>(PhantomData<T>);

impl<T> SmallVisitor<T> {
    fn push<E: Error>(values: &mut Vec<T>, value: T) -> Result<(), E> {
        if values.len() >= MAX_ENTRIES {
            return Err(E::custom(format!(
                "more than {MAX_ENTRIES} entries where a few are usual"
            )));
        }
        values.push(value);
        Ok(())
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for SmallVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a few entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some((IgnoredAny, value)) = map.next_entry()? {
            Self::push(&mut values, value)?;
        }
        Ok(values)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            Self::push(&mut values, value)?;
        }
        Ok(values)
    }
}

/// A text; `None` where something else stands.
#[derive(Debug, Default, Clone)]
pub(super) struct MaybeText(pub Option<String>);

impl MaybeText {
    pub(super) fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// An object; `None` where something else stands.
#[derive(Debug)]
pub(super) struct MaybeObject<T>(pub Option<T>);

impl<T> Default for MaybeObject<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de> Deserialize<'de> for MaybeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = deserializer.deserialize_any(AnyVisitor::<IgnoredAny>(PhantomData))?;
        Ok(Self(found.0))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for MaybeObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = deserializer.deserialize_any(AnyVisitor::<T>(PhantomData))?;
        Ok(Self(found.1))
    }
}

/// Reads whatever stands there: a text, an object, or neither.
struct AnyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AnyVisitor<T> {
    type Value = (Option<String>, Option<T>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok((None, None))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok((None, None))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok((None, None))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok((None, None))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok((None, None))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok((Some(text.to_owned()), None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok((None, None))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let map = serde::de::value::MapAccessDeserializer::new(map);
        T::deserialize(map).map(|value| (None, Some(value)))
    }
}

/// A number as it is written, with or without quotes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct WrittenNumber(Box<RawValue>);

impl WrittenNumber {
    /// Returns the number as it is written.
    pub(super) fn as_written(&self) -> &str {
        self.0.get().trim_matches('"')
    }

    /// Returns the value; `None` if it is no number of 0 or more.
    pub(super) fn to_exact(&self) -> Option<Exact> {
        parse_decimal(self.0.get().trim_matches('"'))
    }
}

/// Parses a decimal of 0 or more.
pub(super) fn parse_decimal(text: &str) -> Option<Exact> {
    Decimal::parse(text).ok().map(|number| Exact::from(&number))
}

/// Reads pages: objects with a list of items under a key, one after the other, or in a list. Each
/// item is given to `each`. Returns whether every page has the mark `next` of one that follows: the
/// last one is missing.
pub(super) fn read_pages<T, R: Read>(
    reader: R,
    (key, next): (&'static str, &'static str),
    each: &mut dyn FnMut(T) -> Result<(), String>,
) -> Result<bool, serde_json::Error>
where
    T: for<'de> Deserialize<'de>,
{
    let mut source = serde_json::Deserializer::from_reader(reader);
    let (mut lists, mut marks) = (0_usize, 0_usize);
    loop {
        PageSeed { key, next, lists: &mut lists, marks: &mut marks, each }
            .deserialize(&mut source)?;
        if source.end().is_ok() {
            break;
        }
    }
    if lists == 0 {
        return Err(serde_json::Error::custom(format!("it has no list `{key}`")));
    }
    Ok(marks >= lists)
}

struct PageSeed<'a, T> {
    key: &'static str,
    next: &'static str,
    lists: &'a mut usize,
    marks: &'a mut usize,
    each: &'a mut dyn FnMut(T) -> Result<(), String>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for PageSeed<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for PageSeed<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with a list `{}`", self.key)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == self.key {
                *self.lists += 1;
                map.next_value_seed(ItemsSeed(&mut *self.each))?;
            } else if key == self.next {
                let mark: MaybeText = map.next_value()?;
                *self.marks += usize::from(!mark.as_str().is_empty());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let PageSeed { key, next, lists, marks, each } = self;
        while list.next_element_seed(PageSeed { key, next, lists, marks, each })?.is_some() {}
        Ok(())
    }
}

struct ItemsSeed<'a, T>(&'a mut dyn FnMut(T) -> Result<(), String>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for ItemsSeed<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ItemsSeed<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of prices")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element()? {
            (self.0)(item).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
