//! Field names of tables and names of choices that serde accepts, obtained from serde itself, so
//! that the schema cannot list others than the reader.

use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

type FieldNames = &'static [&'static str];

/// Returns the keys of a table.
pub(super) fn field_names<T: Deserialize<'static>>() -> FieldNames {
    probe_names::<T>()
}

/// Returns the names of a choice.
pub(super) fn variant_names<T: Deserialize<'static>>() -> FieldNames {
    probe_names::<T>()
}

fn probe_names<T: Deserialize<'static>>() -> FieldNames {
    let mut found: FieldNames = &[];
    // Deserialization always fails: there is nothing to read.
    let _ = T::deserialize(SchemaProbe(&mut found));
    found
}

/// Deserializer that records the requested field or variant names and provides no value.
struct SchemaProbe<'a>(&'a mut FieldNames);

impl<'de> Deserializer<'de> for SchemaProbe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("neither a table nor a choice"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: FieldNames,
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: FieldNames,
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = variants;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}
