//! The seeds of the fuzz targets are what their names say.

use std::path::Path;

use roost_wire::coap::decode;

#[test]
fn every_committed_seed_is_read_or_refused_without_a_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/coap_message");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_bad = path.file_name().unwrap().to_str().unwrap().starts_with("bad_");
        assert_eq!(decode(&std::fs::read(&path).unwrap()).is_err(), is_bad, "{}", path.display());
        count += 1;
    }
    assert!(count > 10);
}
