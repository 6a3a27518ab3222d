//! What is remembered of the devices that were heard on one connection.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Unsayable;

/// Devices remembered for one connection. What exceeds is heard all the same, without memory.
pub(super) const DEVICES_MAX: usize = 1_024;
/// The longest name that is remembered, in bytes.
pub(super) const NAME_LENGTH_MAX: usize = 256;

/// Devices by the names that the family's topics have for them.
#[derive(Debug)]
pub(super) struct Known<T> {
    devices: BTreeMap<String, T>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { devices: BTreeMap::new() }
    }
}

impl<T: Default> Known<T> {
    /// The device's memory, made if need be; `None` when there is no room for it.
    pub(super) fn of(&mut self, name: &str) -> Option<&mut T> {
        if !self.devices.contains_key(name) {
            if self.devices.len() >= DEVICES_MAX || name.len() > NAME_LENGTH_MAX {
                return None;
            }
            self.devices.insert(name.to_owned(), T::default());
        }
        self.devices.get_mut(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.devices.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.devices.get_mut(name)
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<T> {
        self.devices.remove(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.devices.iter().map(|(name, device)| (name.as_str(), device))
    }

    /// The name that a command goes to: the one given, or that of the only device heard so far.
    pub(super) fn addressed(&self, device: Option<&str>) -> Result<String, Unsayable> {
        if let Some(name) = device {
            return Ok(name.to_owned());
        }
        let mut names = self.devices.keys();
        match (names.next(), names.next()) {
            (Some(only), None) => Ok(only.clone()),
            (None, _) => Err(Unsayable(Cow::Borrowed("the device has not said its name since we started"))),
            (Some(_), Some(_)) => Err(Unsayable(Cow::Borrowed(
                "this connection speaks for several devices: command one of them",
            ))),
        }
    }
}
