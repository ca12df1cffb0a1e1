//! JSON objects of logs, whose numbers keep their digits.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::format::Reject;
use crate::reading::quantity::{NumberCauses, UnitScale, parse_quantity};

/// Most keys of an object.
const MAX_KEYS: usize = 4_096;

/// Most elements of an array that is read into memory.
const MAX_ELEMENTS: usize = 1 << 20;

const NO_OBJECT: Reject = Reject::new("no JSON object");
const OTHER_TYPE: Reject = Reject::new("a JSON value of another type than its key has");
const KEY_TWICE: Reject = Reject::new("a JSON key that stands twice in its object");

/// Value of a JSON text, as it is written there.
pub(crate) type JsonValue<'a> = &'a RawValue;

/// Keys and values of an object, in their order.
#[derive(Debug, Default)]
pub(crate) struct JsonObject<'a> {
    fields: Vec<(Cow<'a, str>, JsonValue<'a>)>,
}

impl<'a> JsonObject<'a> {
    /// Parses an object.
    ///
    /// # Errors
    ///
    /// Rejects what is no object, or has more than 4,096 keys.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reject> {
        let object: Self = serde_json::from_slice(bytes).map_err(|_| NO_OBJECT)?;
        if object.fields.len() > MAX_KEYS {
            return Err(Reject::new("a JSON object of more than 4,096 keys"));
        }
        Ok(object)
    }

    /// Returns the keys and values.
    pub fn fields(&self) -> &[(Cow<'a, str>, JsonValue<'a>)] {
        &self.fields
    }

    /// Returns the value of a key; `None` if it is not there, or null.
    ///
    /// # Errors
    ///
    /// Rejects a key that stands twice.
    pub fn value(&self, key: &str) -> Result<Option<JsonValue<'a>>, Reject> {
        let mut found = self.fields.iter().filter(|(name, _)| name == key);
        let first = found.next();
        if found.next().is_some() {
            return Err(KEY_TWICE);
        }
        Ok(first.map(|(_, value)| *value).filter(|value| value.get() != "null"))
    }

    /// Returns the value of the first of these keys that is there.
    pub fn first_value(&self, keys: &[&str]) -> Result<Option<JsonValue<'a>>, Reject> {
        for key in keys {
            if let Some(value) = self.value(key)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Returns the object of a key; an empty one if it is not there.
    pub fn object(&self, key: &str) -> Result<Self, Reject> {
        match self.value(key)? {
            Some(value) => Self::parse(value.get().as_bytes()).map_err(|_| OTHER_TYPE),
            None => Ok(Self::default()),
        }
    }

    /// Returns the elements of an array; none if its key is not there.
    pub fn array(&self, key: &str) -> Result<Vec<JsonValue<'a>>, Reject> {
        self.value(key)?.map_or_else(|| Ok(Vec::new()), parse_array)
    }

    /// Returns the text of a string, number or truth value.
    pub fn text(&self, key: &str) -> Result<Option<Cow<'a, str>>, Reject> {
        self.value(key)?.map(scalar_text).transpose()
    }

    /// Returns the text of the first of these keys that is there.
    pub fn first_text(&self, keys: &[&str]) -> Result<Option<Cow<'a, str>>, Reject> {
        self.first_value(keys)?.map(scalar_text).transpose()
    }

    /// Returns a number, which may be written as a string, in the unit that is stored.
    pub fn quantity(
        &self,
        key: &str,
        scale: UnitScale,
        causes: NumberCauses,
    ) -> Result<Option<u64>, Reject> {
        self.text(key)?.map(|text| parse_quantity(text.as_bytes(), scale, causes)).transpose()
    }

    /// Returns a truth value.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Reject> {
        match self.text(key)?.as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(OTHER_TYPE),
        }
    }
}

/// Returns the elements of an array.
pub(crate) fn parse_array(value: JsonValue<'_>) -> Result<Vec<JsonValue<'_>>, Reject> {
    let list: JsonList<'_> = serde_json::from_str(value.get()).map_err(|_| OTHER_TYPE)?;
    if list.0.len() > MAX_ELEMENTS {
        return Err(Reject::new("a JSON array of more than 1,048,576 elements"));
    }
    Ok(list.0)
}

/// Returns the text of a string, number or truth value.
pub(crate) fn scalar_text(value: JsonValue<'_>) -> Result<Cow<'_, str>, Reject> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or("");
            if !inner.contains('\\') {
                return Ok(Cow::Borrowed(inner));
            }
            serde_json::from_str(text).map(Cow::Owned).map_err(|_| OTHER_TYPE)
        }
        Some(b'{' | b'[') | None => Err(OTHER_TYPE),
        Some(_) => Ok(Cow::Borrowed(text)),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = JsonObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(key) = map.next_key::<JsonKey<'de>>()? {
                    if fields.len() > MAX_KEYS {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        fields.push((key.0, map.next_value()?));
                    }
                }
                Ok(JsonObject { fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Key of an object, borrowed where it has no escapes.
struct JsonKey<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonKey<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key;
        impl<'de> Visitor<'de> for Key {
            type Value = JsonKey<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(JsonKey(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(JsonKey(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Key)
    }
}

/// Elements of an array.
struct JsonList<'a>(Vec<JsonValue<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonList<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = JsonList<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while elements.len() <= MAX_ELEMENTS {
                    match list.next_element()? {
                        Some(element) => elements.push(element),
                        None => return Ok(JsonList(elements)),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(JsonList(elements))
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::quantity::COUNT;

    #[test]
    fn numbers_keep_their_digits() {
        let text = br#" {"a": 9007199254740993, "b":"9223372036854775807", "c":null,
            "d": {"e\u0041": [1, "x\ty", true]}, "f": 1e400} "#;
        let object = JsonObject::parse(text).expect("an object");
        let number = |key| object.quantity(key, UnitScale::ONE, COUNT);
        assert_eq!(number("a"), Ok(Some(9_007_199_254_740_993)));
        assert_eq!(number("b"), Ok(Some(9_223_372_036_854_775_807)));
        assert_eq!(number("c"), Ok(None));
        assert_eq!(number("d"), Err(OTHER_TYPE));
        assert_eq!(number("f"), Err(Reject::new(COUNT.range)));
        let inner = object.object("d").expect("an object").array("eA").expect("an array");
        let texts: Vec<_> = inner.into_iter().map(scalar_text).collect();
        assert_eq!(texts[0], Ok(Cow::Borrowed("1")));
        assert_eq!(texts[2], Ok(Cow::Borrowed("true")));
    }

    #[test]
    fn what_cannot_be_read_is_rejected() {
        for text in ["", "[]", "1", "{", "{\"a\":1}x", "{\"a\":\"\0\"}", "{\"a\":01}", "nul"] {
            assert_eq!(JsonObject::parse(text.as_bytes()).map(|_| ()), Err(NO_OBJECT), "{text}");
        }
        let twice = JsonObject::parse(br#"{"a":1,"a":2,"b":3}"#).expect("an object");
        assert_eq!(twice.text("a"), Err(KEY_TWICE));
        assert_eq!(twice.text("b"), Ok(Some(Cow::Borrowed("3"))));
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let _no_stack_overflow = JsonObject::parse(deep.as_bytes()).map(|_| ());
        let keys: Vec<String> = (0..5_000).map(|key| format!("\"{key}\":1")).collect();
        let many = format!("{{{}}}", keys.join(","));
        assert!(JsonObject::parse(many.as_bytes()).is_err());
    }
}
