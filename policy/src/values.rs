//! A typed input as a value of the evaluator, without a document in between.
//!
//! The value is the one that `serde_json::to_value` and a second reading would give.

use std::{collections::BTreeMap, fmt::Display};

use regorus::Value;
use serde::{
    Serialize,
    ser::{self, Error as _},
};
use serde_json::Error;

/// Makes it.
pub(crate) fn of(input: &impl Serialize) -> Result<Value, Error> {
    input.serialize(Values)
}

struct Values;

/// Elements, and the variant around them, if any.
struct List {
    elements: Vec<Value>,
    variant: Option<&'static str>,
}

/// Fields, and the variant around them, if any.
struct Fields {
    fields: Vec<(Value, Value)>,
    key: Option<Value>,
    variant: Option<&'static str>,
}

impl List {
    fn new(len: usize, variant: Option<&'static str>) -> Self {
        let elements = Vec::with_capacity(len);
        Self { elements, variant }
    }

    fn push(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.elements.push(value.serialize(Values)?);
        Ok(())
    }

    fn into_value(self) -> Value {
        within(self.variant, Value::from(self.elements))
    }
}

impl Fields {
    fn new(len: usize, variant: Option<&'static str>) -> Self {
        Self {
            fields: Vec::with_capacity(len),
            key: None,
            variant,
        }
    }

    fn push(&mut self, key: Value, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.fields.push((key, value.serialize(Values)?));
        Ok(())
    }

    fn into_value(self) -> Value {
        within(self.variant, object(self.fields))
    }
}

fn object(fields: impl IntoIterator<Item = (Value, Value)>) -> Value {
    Value::from(fields.into_iter().collect::<BTreeMap<_, _>>())
}

fn within(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => object([(Value::from(variant), value)]),
        None => value,
    }
}

fn too_large(number: impl Display) -> Error {
    Error::custom(format_args!("the number {number} has more than 64 bits"))
}

impl ser::Serializer for Values {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = List;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    fn serialize_bool(self, v: bool) -> Result<Value, Error> {
        Ok(Value::from(v))
    }

    fn serialize_i8(self, v: i8) -> Result<Value, Error> {
        self.serialize_i64(v.into())
    }

    fn serialize_i16(self, v: i16) -> Result<Value, Error> {
        self.serialize_i64(v.into())
    }

    fn serialize_i32(self, v: i32) -> Result<Value, Error> {
        self.serialize_i64(v.into())
    }

    fn serialize_i64(self, v: i64) -> Result<Value, Error> {
        Ok(u64::try_from(v).map_or_else(|_| Value::from(v), Value::from))
    }

    fn serialize_i128(self, v: i128) -> Result<Value, Error> {
        match (u64::try_from(v), i64::try_from(v)) {
            (Ok(v), _) => self.serialize_u64(v),
            (_, Ok(v)) => self.serialize_i64(v),
            _ => Err(too_large(v)),
        }
    }

    fn serialize_u8(self, v: u8) -> Result<Value, Error> {
        self.serialize_u64(v.into())
    }

    fn serialize_u16(self, v: u16) -> Result<Value, Error> {
        self.serialize_u64(v.into())
    }

    fn serialize_u32(self, v: u32) -> Result<Value, Error> {
        self.serialize_u64(v.into())
    }

    fn serialize_u64(self, v: u64) -> Result<Value, Error> {
        Ok(Value::from(v))
    }

    fn serialize_u128(self, v: u128) -> Result<Value, Error> {
        match u64::try_from(v) {
            Ok(v) => self.serialize_u64(v),
            Err(_) => Err(too_large(v)),
        }
    }

    fn serialize_f32(self, v: f32) -> Result<Value, Error> {
        self.serialize_f64(v.into())
    }

    fn serialize_f64(self, v: f64) -> Result<Value, Error> {
        Ok(match v.is_finite() {
            true => Value::from(v),
            false => Value::Null,
        })
    }

    fn serialize_char(self, v: char) -> Result<Value, Error> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<Value, Error> {
        Ok(Value::String(v.into()))
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<Value, Error> {
        Ok(Value::from(
            v.iter()
                .map(|byte| Value::from(u64::from(*byte)))
                .collect::<Vec<_>>(),
        ))
    }

    fn serialize_none(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        Ok(within(Some(variant), value.serialize(self)?))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<List, Error> {
        Ok(List::new(len.unwrap_or(0), None))
    }

    fn serialize_tuple(self, len: usize) -> Result<List, Error> {
        Ok(List::new(len, None))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<List, Error> {
        Ok(List::new(len, None))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<List, Error> {
        Ok(List::new(len, Some(variant)))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Fields, Error> {
        Ok(Fields::new(len.unwrap_or(0), None))
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Fields, Error> {
        Ok(Fields::new(len, None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Fields, Error> {
        Ok(Fields::new(len, Some(variant)))
    }
}

macro_rules! lists {
    ($($trait:ident $method:ident)*) => {$(
        impl ser::$trait for List {
            type Ok = Value;
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.push(value)
            }

            fn end(self) -> Result<Value, Error> {
                Ok(self.into_value())
            }
        }
    )*};
}

lists! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

macro_rules! structs {
    ($($trait:ident)*) => {$(
        impl ser::$trait for Fields {
            type Ok = Value;
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                self.push(Value::String(key.into()), value)
            }

            fn end(self) -> Result<Value, Error> {
                Ok(self.into_value())
            }
        }
    )*};
}

structs! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for Fields {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let key = key.serialize(Values)?;
        if !matches!(key, Value::String(_)) {
            return Err(Error::custom("the key of a field is not a text"));
        }
        self.key = Some(key);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let key = self.key.take();
        let key = key.ok_or_else(|| Error::custom("a value comes without its key"))?;
        self.push(key, value)
    }

    fn end(self) -> Result<Value, Error> {
        Ok(self.into_value())
    }
}

#[cfg(test)]
mod tests {
    use contracts::{TemplateId, policy::PolicyInput};
    use serde_json::json;

    use super::*;
    use crate::trial;

    fn indirectly(input: &impl Serialize) -> Value {
        Value::from(serde_json::to_value(input).unwrap())
    }

    #[test]
    fn an_input_is_the_value_that_its_document_is() {
        let template = TemplateId::new("emergency_glass").unwrap();
        let mut typed = 0;
        for trial in trial::all(&template) {
            assert_eq!(of(&trial.input).unwrap(), indirectly(&trial.input));
            let Ok(input) = serde_json::from_value::<PolicyInput>(trial.input) else {
                continue;
            };
            assert_eq!(of(&input).unwrap(), indirectly(&input));
            typed += 1;
        }
        assert!(typed > 500, "{typed}");
    }

    #[test]
    fn every_shape_of_a_type_is_that_of_its_document() {
        #[derive(Serialize)]
        enum Shape {
            Unit,
            Newtype(i8),
            Tuple(u8, f32),
            Struct { one: char, other: Option<()> },
        }
        #[derive(Serialize)]
        struct Pair(u16, i64);
        let shapes = [
            Shape::Unit,
            Shape::Newtype(-1),
            Shape::Tuple(1, 0.5),
            Shape::Struct {
                one: 'é',
                other: Some(()),
            },
        ];
        assert_eq!(of(&shapes).unwrap(), indirectly(&shapes));
        let numbers = json!([0, -1, u64::MAX, i64::MIN, 1.0, -0.25, 1e300, [[]], {}, null]);
        assert_eq!(of(&numbers).unwrap(), indirectly(&numbers));
        let others = (Pair(1, -2), f64::NAN, 7_u128, -7_i128, "text", true);
        assert_eq!(of(&others).unwrap(), indirectly(&others));
        assert!(of(&u128::MAX).is_err());
        assert!(of(&BTreeMap::from([([1], 2)])).is_err());
    }
}
