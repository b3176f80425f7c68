//! JSON whose members keep the order of the text.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A value, and the order of the members in it where a text gave one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ordered {
    pub(crate) value: Value,
    pub(crate) order: Order,
}

/// The order of members at every depth.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Order {
    /// By name, or there are no members.
    #[default]
    Plain,
    Items(Vec<Order>),
    Members(Vec<(String, Order)>),
}

impl From<Value> for Ordered {
    fn from(value: Value) -> Self {
        Self { value, order: Order::Plain }
    }
}

impl Ordered {
    /// Of a JSON text.
    ///
    /// # Errors
    /// As of [`serde_json::from_str`].
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Ordered;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Ordered, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Ordered;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Ordered, E> {
        Ok(Value::Null.into())
    }

    fn visit_bool<E>(self, it: bool) -> Result<Ordered, E> {
        Ok(Value::Bool(it).into())
    }

    fn visit_i64<E>(self, it: i64) -> Result<Ordered, E> {
        Ok(Value::from(it).into())
    }

    fn visit_u64<E>(self, it: u64) -> Result<Ordered, E> {
        Ok(Value::from(it).into())
    }

    fn visit_f64<E>(self, it: f64) -> Result<Ordered, E> {
        Ok(Number::from_f64(it).map_or(Value::Null, Value::Number).into())
    }

    fn visit_str<E>(self, it: &str) -> Result<Ordered, E> {
        Ok(Value::from(it).into())
    }

    fn visit_string<E>(self, it: String) -> Result<Ordered, E> {
        Ok(Value::String(it).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Ordered, A::Error> {
        let (mut values, mut orders) = (Vec::new(), Vec::new());
        while let Some(Ordered { value, order }) = items.next_element_seed(Reader)? {
            values.push(value);
            orders.push(order);
        }
        Ok(Ordered { value: Value::Array(values), order: Order::Items(orders) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Ordered, A::Error> {
        let (mut values, mut places) = (Map::new(), BTreeMap::new());
        let mut ordered: Vec<(String, Order)> = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            let Ordered { value, order } = members.next_value_seed(Reader)?;
            // The last of several members of one name wins, in the place of the first.
            let place = *places.entry(name.clone()).or_insert(ordered.len());
            match ordered.get_mut(place) {
                Some((_, before)) => *before = order,
                None => ordered.push((name.clone(), order)),
            }
            values.insert(name, value);
        }
        Ok(Ordered { value: Value::Object(values), order: Order::Members(ordered) })
    }
}
