//! Named values on their way: they become an object when somebody asks for one.
//!
//! Most arguments of calls are looked at one by one, and nobody wants their key or their text. So they are kept as they
//! were given, by what a [`Frozen`] keeps of the same: in their order, each name once, and as deep as that allows.

use std::fmt;
use std::mem;
use std::rc::Rc;

use super::name::{Name, as_used};
use super::object::{CLASS_KEY, Frozen, Member};
use super::value::{MAX_DEPTH, Value, too_deep};
use crate::error::Result;

/// Named values in their order. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct NamedValues(Kept);

/// Each name once, none of them that of the class.
#[derive(Clone, Default)]
enum Kept {
    #[default]
    None,
    /// One, as a call often has: it lies in whatever holds it.
    One([Member; 1]),
    Several(Rc<Vec<Member>>),
    /// Those that were an object from the beginning.
    Object(Frozen),
}

impl NamedValues {
    /// Those of an object.
    fn of(object: Frozen) -> Self {
        NamedValues(match object.is_empty() {
            true => Kept::None,
            false => Kept::Object(object),
        })
    }

    /// Adds one, or another value in the place of one that is there, see [`Frozen::with`].
    ///
    /// # Panics
    ///
    /// If the value is [`MAX_DEPTH`] levels deep already.
    #[inline]
    pub(crate) fn add(&mut self, name: impl Name, value: Value) {
        let name = as_used(name);
        match self.0 {
            // Where it lies, as mostly there is but one.
            Kept::None if &*name != CLASS_KEY && value.depth() < MAX_DEPTH => {
                self.0 = Kept::One([(name, value)]);
            }
            _ => *self = mem::take(self).with(name, value),
        }
    }

    fn with(self, name: Rc<str>, value: Value) -> Self {
        self.try_with(name, value)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_with(self, name: Rc<str>, value: Value) -> Result<Self> {
        if &*name == CLASS_KEY {
            return Ok(self);
        }
        if value.depth() >= MAX_DEPTH {
            return Err(too_deep());
        }
        let mut values = match self.0 {
            Kept::None => return Ok(NamedValues(Kept::One([(name, value)]))),
            Kept::One(one) => Vec::from(one),
            Kept::Several(values) => Rc::unwrap_or_clone(values),
            Kept::Object(object) => return object.with_value(name, value).map(NamedValues::of),
        };
        match values.iter_mut().find(|(other, _)| *other == name) {
            Some((_, replaced)) => *replaced = value,
            None => values.push((name, value)),
        }
        Ok(NamedValues(Kept::Several(Rc::new(values))))
    }

    /// The value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let mut values = self.values().iter();
        let found = values.find(|(own, _)| **own == *name);
        found.map(|(_, value)| value)
    }

    /// Their names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values().iter().map(|(name, _)| &**name)
    }

    fn values(&self) -> &[Member] {
        match &self.0 {
            Kept::None => &[],
            Kept::One(one) => one,
            Kept::Several(values) => values,
            Kept::Object(object) => object.field_slice(),
        }
    }

    /// They as an object.
    pub(crate) fn to_object(&self) -> Frozen {
        match &self.0 {
            Kept::None => Frozen::empty(),
            Kept::One(one) => Frozen::of_fields(one.iter().cloned()),
            Kept::Several(values) => Frozen::of_fields(values.iter().cloned()),
            Kept::Object(object) => object.clone(),
        }
    }

    /// Whether there are none.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self.0, Kept::None)
    }

    /// Those of an object, and then these, which stand for those of the same name.
    #[inline]
    pub(crate) fn behind(self, first: &Frozen) -> Self {
        match first.is_empty() {
            true => self,
            false => self.behind_any(first),
        }
    }

    fn behind_any(&self, first: &Frozen) -> Self {
        let these = self.values().iter().cloned();
        NamedValues::of(these.fold(first.clone(), |all, (name, value)| all.with(name, value)))
    }
}

/// As the object that they are.
impl fmt::Debug for NamedValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_object(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a `Frozen` makes of the same.
    fn frozen(given: &[(&str, Value)]) -> Frozen {
        let given = given.iter().cloned();
        given.fold(Frozen::new(), |all, (name, value)| all.with(name, value))
    }

    #[test]
    fn they_are_the_object_that_is_made_of_the_same() {
        let deep = Value::from(Frozen::new().with("inner", [1, 2]));
        let given = [
            ("b", Value::from(1)),
            ("a", Value::from("two")),
            ("class_", Value::Null),
            ("b", deep),
            ("c", Value::Null),
        ];
        for len in 0..=given.len() {
            let given = &given[..len];
            let one_by_one = given.iter().cloned();
            let named = one_by_one.fold(NamedValues::default(), |all, (name, value)| {
                drop(all.to_object()); // that somebody looks changes nothing
                let mut all = all;
                all.add(name, value);
                all
            });
            let object = frozen(given);
            assert_eq!(named.to_object().full_json(), object.full_json());
            assert_eq!(named.to_object().hash_key(), object.hash_key());
            assert!(named.names().eq(object.keys()));
            assert_eq!(named.get("b"), object.get("b"));
            assert_eq!(named.get("nobody"), None);
            assert_eq!(NamedValues::of(object.clone()).to_object(), object);
        }
    }

    /// A call holds them where it lies.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn one_is_no_larger_than_its_name_and_its_value() {
        assert_eq!(size_of::<NamedValues>(), size_of::<Member>());
    }

    #[test]
    fn they_stand_behind_those_of_an_object_and_for_them() {
        let first = Frozen::new().with("a", 1).with("b", 2);
        let none = NamedValues::default();
        assert_eq!(none.clone().behind(&first).to_object(), first);
        assert!(none.clone().behind(&Frozen::new()).is_none());
        let all = none.with("b".into(), 3.into()).with("c".into(), 4.into());
        let all = all.behind(&first).to_object();
        assert_eq!(all.full_json(), r#"{"class_":"Frozen","a":1,"b":3,"c":4}"#);
    }

    #[test]
    fn what_is_too_deep_for_an_object_is_refused() {
        let mut object = Frozen::new();
        for _ in 2..MAX_DEPTH {
            object = Frozen::new().with("inner", object);
        }
        let named = NamedValues::default();
        let fits = named.clone().try_with("a".into(), object.clone().into());
        assert_eq!(
            fits.unwrap().to_object(),
            frozen(&[("a", object.clone().into())])
        );
        let deeper = Frozen::new().with("inner", object);
        assert!(
            named
                .try_with("a".into(), deeper.into())
                .unwrap_err()
                .is_value()
        );
    }
}
