//! What becomes known of a message while its tokens come.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use super::builder::Fields;
use crate::frozen::Value;

/// Fields of a message that become known while it streams. Clones share them.
#[derive(Clone, Default)]
pub struct FieldCollector {
    pub(super) fields: Rc<CollectedFields>,
}

/// The fields that became known.
#[derive(Default)]
pub(super) struct CollectedFields {
    /// Empty while nothing was set, which is mostly so, and while it is looked at.
    fields: Cell<Option<Box<Fields>>>,
}

impl CollectedFields {
    /// All that were set so far.
    pub(super) fn all(&self) -> Fields {
        let fields = self.fields.take();
        let all = fields.as_deref().cloned();
        self.fields.set(fields);
        all.unwrap_or_default()
    }
}

impl FieldCollector {
    /// Sets a field of the message to come.
    pub fn set(&self, key: impl Into<Rc<str>>, value: impl Into<Value>) {
        let (key, value) = (key.into(), value.into());
        let mut fields = self.fields.fields.take().unwrap_or_default();
        let before = match fields.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => Some(std::mem::replace(known, value)),
            None => {
                fields.push((key, value));
                None
            }
        };
        self.fields.fields.set(Some(fields));
        drop(before);
    }

    /// A field that was set.
    pub fn get(&self, key: &str) -> Option<Value> {
        let fields = self.fields.fields.take()?;
        let found = fields.iter().find(|(known, _)| **known == *key);
        let value = found.map(|(_, value)| value.clone());
        self.fields.fields.set(Some(fields));
        value
    }
}

impl fmt::Debug for FieldCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields.all();
        f.debug_map()
            .entries(fields.iter().map(|(key, value)| (key, value)))
            .finish()
    }
}
