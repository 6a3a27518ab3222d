//! The file with the key that seals what has to be kept as it is. Beside the data stands which key
//! it was, so that data that came here without it are not served half.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use roost_hub::Rng;
use roost_hub::registry::SealKey;

/// The key's name in the data directory, where no other file is named.
const KEY_FILE: &str = "secrets.key";
/// In the data directory, by which the right key is known.
const ID_FILE: &str = "secrets.key.id";

/// Reads the key, or makes one for data that have none yet.
///
/// # Errors
/// The key is not there and was, or is another; or a file cannot be read, written or trusted.
pub(super) fn read(data: &Path, file: Option<&Path>, rng: &dyn Rng) -> anyhow::Result<SealKey> {
    let path = file.map_or_else(|| data.join(KEY_FILE), Path::to_path_buf);
    let id_path = data.join(ID_FILE);
    let known = existing(&id_path)?.map(|text| text.trim().to_owned());
    let shown = format!("secrets.key_file = {path:?}");
    let way_on = || {
        let id_path = id_path.display();
        format!(
            "put the right file there, or remove {id_path}: then devices with a pre-shared key need a new one"
        )
    };
    let key = match (existing(&path).with_context(|| shown.clone())?, &known) {
        (Some(text), _) => parse(&path, &text).with_context(|| shown.clone())?,
        (None, Some(_)) => {
            bail!("{shown}: is not there, and secrets in {data:?} are sealed with it; {}", way_on())
        }
        (None, None) => make(&path, rng).with_context(|| shown.clone())?,
    };
    match known {
        Some(known) if known != key.id() => {
            bail!("{shown}: is another key than that of the secrets in {data:?}; {}", way_on())
        }
        Some(_) => {}
        None => write(&id_path, &key.id()).with_context(|| format!("writing {}", id_path.display()))?,
    }
    Ok(key)
}

fn existing(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(path: &Path, text: &str) -> anyhow::Result<SealKey> {
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        bail!("others can read this key; chmod 600 {}", path.display());
    }
    SealKey::parse(text.trim()).context("no key; it is 64 hexadecimal digits")
}

fn make(path: &Path, rng: &dyn Rng) -> anyhow::Result<SealKey> {
    let mut bytes = [0; SealKey::LENGTH];
    rng.fill(&mut bytes);
    let key = SealKey::new(bytes);
    write(path, &key.reveal())?;
    Ok(key)
}

/// Durable before anything is sealed by it, and never half there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = PathBuf::from(format!("{}.new", path.display()));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(out, "{text}")?;
    out.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[derive(Debug)]
    struct Fixed;

    impl Rng for Fixed {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    fn refusal(data: &Path, file: Option<&Path>) -> String {
        format!("{:#}", read(data, file, &Fixed).unwrap_err())
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let data = TempDir::new().unwrap();
        let elsewhere = TempDir::new().unwrap();
        for file in [None, Some(elsewhere.path().join("key"))] {
            let data = data.path().join(if file.is_some() { "named" } else { "unnamed" });
            fs::create_dir(&data).unwrap();
            let made = read(&data, file.as_deref(), &Fixed).unwrap();
            assert_eq!(read(&data, file.as_deref(), &Fixed).unwrap(), made);
            let path = file.unwrap_or_else(|| data.join(KEY_FILE));
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(!data.path().join("named").join(KEY_FILE).exists());
    }

    #[test]
    fn data_without_their_key_or_with_another_are_refused_with_a_way_on() {
        let data = TempDir::new().unwrap();
        let elsewhere = TempDir::new().unwrap();
        let file = elsewhere.path().join("key");
        read(data.path(), Some(&file), &Fixed).unwrap();
        let found = refusal(data.path(), None);
        assert!(found.contains("is not there") && found.contains("secrets.key.id"), "{found}");

        write(&file, &SealKey::new([8; SealKey::LENGTH]).reveal()).unwrap();
        let found = refusal(data.path(), Some(&file));
        assert!(found.contains("is another key") && found.contains("secrets.key.id"), "{found}");
        fs::remove_file(data.path().join(ID_FILE)).unwrap();
        assert!(read(data.path(), Some(&file), &Fixed).is_ok());
    }

    #[test]
    fn x_10_a_key_that_others_can_read_or_that_is_none_is_refused() {
        let data = TempDir::new().unwrap();
        read(data.path(), None, &Fixed).unwrap();
        let file = data.path().join(KEY_FILE);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let found = refusal(data.path(), None);
        assert!(found.contains("secrets.key_file") && found.contains("chmod 600"), "{found}");
        write(&file, "nonsense").unwrap();
        assert!(refusal(data.path(), None).contains("64 hexadecimal digits"));
    }
}
