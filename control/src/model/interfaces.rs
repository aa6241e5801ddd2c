//! All interfaces, by index and by name.

use std::collections::BTreeMap;

use dataplane::interface::{InterfaceId, MAX_INTERFACES};

use super::InterfaceModel;

/// The interfaces there are. `local0` and devices stay for ever; others come and go, and an index
/// that is free again is used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interfaces(BTreeMap<InterfaceId, InterfaceModel>);

impl Default for Interfaces {
    fn default() -> Self {
        Self(BTreeMap::from([(InterfaceId::LOCAL0, InterfaceModel::local0())]))
    }
}

impl Interfaces {
    /// By index.
    pub fn iter(&self) -> impl Iterator<Item = &InterfaceModel> + Clone {
        self.0.values()
    }

    /// The interface with this index.
    pub fn get(&self, id: InterfaceId) -> Option<&InterfaceModel> {
        self.0.get(&id)
    }

    /// The same, writable.
    pub fn get_mut(&mut self, id: InterfaceId) -> Option<&mut InterfaceModel> {
        self.0.get_mut(&id)
    }

    /// The interface called `name`.
    pub fn named(&self, name: &str) -> Option<&InterfaceModel> {
        self.iter().find(|interface| &*interface.name == name)
    }

    /// The lowest index that is free; `None` when there are as many as there can be.
    pub fn free_id(&self) -> Option<InterfaceId> {
        let mut ids = (0..MAX_INTERFACES as u16).map(InterfaceId);
        ids.find(|id| !self.0.contains_key(id))
    }

    /// Puts in an interface whose index is free.
    pub fn insert(&mut self, interface: InterfaceModel) {
        self.0.insert(interface.id, interface);
    }

    /// Takes one out.
    pub fn remove(&mut self, id: InterfaceId) {
        self.0.remove(&id);
    }

    /// One more than the highest index.
    pub fn len_by_index(&self) -> usize {
        self.0.last_key_value().map_or(0, |(id, _)| id.index() + 1)
    }
}
