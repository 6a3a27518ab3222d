//! The `exposes` of a device's definition: what it measures and takes.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::super::document::{label, short, text_of};
use super::super::known::NAME_LENGTH_MAX;
use super::super::{Description, KeyDescription};

/// Keys described for one device.
const KEYS_MAX: usize = 256;
/// The bit of `access` that says that a property can be set.
const SETTABLE: u64 = 2;

/// What an element of `bridge/devices` says.
pub(super) struct Announced {
    pub(super) description: Description,
    /// Members of the state that can be set.
    pub(super) settable: BTreeSet<String>,
}

impl Announced {
    pub(super) fn of(device: &Map<String, Json>) -> Self {
        let mut announced = Self { description: Description::default(), settable: BTreeSet::new() };
        announced.description.name = text_of(device, "friendly_name").map(str::to_owned);
        let labels = &mut announced.description.labels;
        for (name, member) in [
            ("ieee_address", "ieee_address"),
            ("type", "type"),
            ("power_source", "power_source"),
            ("version", "software_build_id"),
            ("description", "description"),
        ] {
            label(labels, name, device.get(member));
        }
        if let Some(definition) = device.get("definition").and_then(Json::as_object) {
            label(labels, "manufacturer", definition.get("vendor"));
            label(labels, "model", definition.get("model"));
            announced.walk(definition.get("exposes"), "", None);
        } else {
            label(labels, "manufacturer", device.get("manufacturer"));
            label(labels, "model", device.get("model_id"));
        }
        announced
    }

    /// `path` is where the features' values stand in the state; `top` the member of it that they are in.
    // The depth is bounded by that of the document.
    fn walk(&mut self, features: Option<&Json>, path: &str, top: Option<&str>) {
        let features = features.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        for feature in features.iter().filter_map(Json::as_object) {
            let property = text_of(feature, "property").filter(|property| !property.is_empty());
            // A light or a lock groups properties; only a composite's stand inside its own.
            let is_group = feature.contains_key("features");
            let is_composite = text_of(feature, "type") == Some("composite");
            match property {
                Some(property) if is_composite || !is_group => {
                    let key =
                        if path.is_empty() { property.to_owned() } else { format!("{path}.{property}") };
                    let top = top.unwrap_or(property);
                    if is_group {
                        self.walk(feature.get("features"), &key, Some(top));
                    } else {
                        self.describe(feature, key, top);
                    }
                }
                _ if is_group => self.walk(feature.get("features"), path, top),
                _ => {}
            }
        }
    }

    fn describe(&mut self, feature: &Map<String, Json>, key: String, top: &str) {
        if self.description.keys.len() >= KEYS_MAX {
            return;
        }
        let access = feature.get("access").and_then(Json::as_u64).unwrap_or_default();
        let is_settable = access & SETTABLE != 0;
        if is_settable && top.len() <= NAME_LENGTH_MAX {
            self.settable.insert(top.to_owned());
        }
        self.description.keys.push(KeyDescription {
            key,
            name: short(feature, "label").or_else(|| short(feature, "name")),
            unit: short(feature, "unit"),
            written_by: is_settable.then(|| top.to_owned()),
        });
    }
}
