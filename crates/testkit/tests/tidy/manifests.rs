//! The walls, as the manifests have them: who may use whom, and what may come from outside.

use std::collections::BTreeMap;
use std::fs;

use toml::{Table, Value};

use super::{files, none, root};

/// What each crate may use of the others and from outside. `server` may use everything.
const MAY_USE: &[(&str, &[&str], &str)] = &[
    ("wire", &[], "base64 bytes regex-lite serde serde_json sha1 sha2 thiserror"),
    ("hub", &[], "argon2 bytes chacha20poly1305 hex serde serde_json sha2 subtle thiserror tokio"),
    ("store", &["hub"], "bytes crc32c redb rustix thiserror tokio tracing"),
    (
        "history",
        &["hub"],
        "arrow-array arrow-buffer arrow-schema bytes parquet serde serde_json thiserror time tokio tracing",
    ),
    (
        "gateway",
        &["hub", "wire"],
        "axum base64 bytes dimpl flate2 futures-util http http-body http-body-util hyper hyper-util mio rustls \
         rustls-pki-types serde serde_json sha1 socket2 thiserror tokio tokio-rustls tower-service tracing \
         x509-parser zstd",
    ),
    (
        "api",
        &["history", "hub", "wire"],
        "axum base64 bytes futures-util hex http http-body-util rust-embed serde serde_json sha2 thiserror \
         tokio tracing",
    ),
    ("testkit", &["hub", "wire"], "bytes proptest tokio"),
];

/// Nobody depends on `server`; tests may use `testkit`, which is never shipped.
const CRATES: &[&str] = &["api", "gateway", "history", "hub", "server", "store", "testkit", "wire"];

fn manifests() -> BTreeMap<String, Table> {
    let found = files("crates", &["/Cargo.toml"]);
    let name = |path: &str| path.split('/').nth(1).unwrap().to_owned();
    found.iter().map(|file| (name(&file.path), file.text.parse().unwrap())).collect()
}

fn names(manifest: &Table, section: &str) -> Vec<String> {
    let table = manifest.get(section).and_then(Value::as_table);
    table.into_iter().flat_map(Table::keys).cloned().collect()
}

#[test]
fn crates_use_each_other_along_the_arrows_only() {
    let mut offenders = Vec::new();
    let manifests = manifests();
    assert_eq!(manifests.keys().map(String::as_str).collect::<Vec<_>>(), CRATES);
    for (name, inner, _) in MAY_USE {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for used in names(&manifests[*name], section) {
                let Some(used) = used.strip_prefix("roost-") else { continue };
                let is_suite = section == "dev-dependencies" && used == "testkit";
                if !inner.contains(&used) && !is_suite {
                    offenders.push(format!("{name} -> {used} ({section})"));
                }
            }
        }
    }
    none(&offenders);
}

#[test]
fn crates_use_from_outside_what_is_allowed_to_them() {
    let manifests = manifests();
    let mut offenders = Vec::new();
    for (name, _, outer) in MAY_USE {
        let allowed: Vec<&str> = outer.split_whitespace().collect();
        let used = names(&manifests[*name], "dependencies").into_iter();
        let foreign = used.filter(|used| !used.starts_with("roost-") && !allowed.contains(&used.as_str()));
        offenders.extend(foreign.map(|used| format!("{name} -> {used}")));
    }
    none(&offenders);
}

#[test]
fn the_hub_has_of_tokio_only_what_needs_no_runtime() {
    let tokio = &manifests()["hub"]["dependencies"]["tokio"];
    assert_eq!(tokio["features"], Value::Array(vec![Value::String("sync".into())]));
}

#[test]
fn every_crate_takes_lints_and_versions_from_the_workspace() {
    let mut offenders = Vec::new();
    for (name, manifest) in manifests() {
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if lints != Some(&Value::Boolean(true)) {
            offenders.push(format!("{name}: no [lints] workspace = true"));
        }
        let dependencies = manifest["dependencies"].as_table().unwrap();
        let own = dependencies.iter().filter(|(_, value)| value.get("workspace").is_none());
        offenders.extend(own.map(|(dependency, _)| format!("{name}: {dependency} has a version of its own")));
    }
    none(&offenders);
}

#[test]
fn there_is_one_clippy_toml() {
    // One inside a crate would replace the root's bans, not add to them.
    let inner = files("crates", &["clippy.toml"]);
    none(&inner.into_iter().map(|file| file.path).collect::<Vec<_>>());
}

#[test]
fn every_dependency_has_its_line_in_the_decisions() {
    let workspace: Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let page = fs::read_to_string(root().join("docs/decisions/dependencies.md")).unwrap();
    let all = workspace["workspace"]["dependencies"].as_table().unwrap();
    let outer = all.keys().filter(|name| !name.starts_with("roost-"));
    let missing = outer.filter(|name| !page.contains(&format!("`{name}`")));
    none(&missing.cloned().collect::<Vec<_>>());
}
