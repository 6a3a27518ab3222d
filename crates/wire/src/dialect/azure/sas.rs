//! Shared access signatures: how a device made for Azure IoT Hub shows in its MQTT password that it has
//! its symmetric key (`SharedAccessSignature sr=…&sig=…&se=…`), for a while.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the password begins with.
const PREFIX: &str = "SharedAccessSignature ";
/// The longest password that is looked at, in bytes.
const LENGTH_MAX: usize = 1_024;
/// The length of HMAC-SHA256, in bytes.
const SIGNATURE_LENGTH: usize = 32;

/// A signature that names the device of the user name. Whether it is right, and still holds, says who has
/// the key and a clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedAccess<'a> {
    /// The device's name over there.
    pub device: &'a str,
    /// `HUB/devices/NAME`.
    pub resource: String,
    /// What was signed with HMAC-SHA256 and the device's key.
    pub signed: String,
    /// The signature, 32 bytes.
    pub signature: Vec<u8>,
    /// Until when it holds, in milliseconds since 1970.
    pub expires_at: i64,
}

impl<'a> SharedAccess<'a> {
    /// Reads a log-in with the user name `HUB/NAME/?api-version=…`; `None` when it is none of these: no
    /// signature, one of a hub's policy (`skn`), or one that is for something else than this device.
    #[must_use]
    pub fn read(username: &'a str, password: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(password).ok().filter(|text| text.len() <= LENGTH_MAX)?;
        let fields = text.strip_prefix(PREFIX)?;
        let (host, device) = named(username)?;
        let mut found: [Option<&str>; 3] = [None; 3];
        for field in fields.split('&') {
            let (name, value) = field.split_once('=')?;
            let place = match name {
                "sr" => 0,
                "sig" => 1,
                "se" => 2,
                "skn" if value.is_empty() => continue,
                _ => return None,
            };
            if found.get_mut(place)?.replace(value).is_some() {
                return None;
            }
        }
        let [Some(resource), Some(signature), Some(expiry)] = found else { return None };
        let seconds: i64 =
            Some(expiry).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        let signature = STANDARD.decode(unescaped(signature)?).ok()?;
        let signed = format!("{resource}\n{expiry}");
        let resource = unescaped(resource)?;
        let (said_host, said_device) = resource.split_once("/devices/")?;
        let is_meant = said_host.eq_ignore_ascii_case(host) && said_device == device;
        (is_meant && signature.len() == SIGNATURE_LENGTH).then(|| Self {
            device,
            signed,
            signature,
            expires_at: seconds.saturating_mul(1_000),
            resource,
        })
    }
}

/// Hub and device of a user name.
fn named(username: &str) -> Option<(&str, &str)> {
    let (name, _) = username.split_once('?').unwrap_or((username, ""));
    let (host, device) = name.trim_end_matches('/').split_once('/')?;
    let is_name = |text: &str| !text.is_empty() && !text.contains('/');
    (is_name(host) && is_name(device)).then_some((host, device))
}

/// Percent escapes undone once; a plus is a plus, which base64 has.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hexadecimal)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "hub.example/s1/?api-version=2021-04-12&DeviceClientType=x";
    const SIG: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D";

    fn read(resource: &str, signature: &str, expiry: &str) -> Option<SharedAccess<'static>> {
        let password = format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}");
        SharedAccess::read(USER, password.as_bytes())
    }

    #[test]
    fn a_signature_names_what_was_signed_as_it_was_written() {
        let access = read("HUB.example%2Fdevices%2Fs1", SIG, "1795269297").unwrap();
        assert_eq!(access.device, "s1");
        assert_eq!(access.resource, "HUB.example/devices/s1");
        assert_eq!(access.signed, "HUB.example%2Fdevices%2Fs1\n1795269297");
        assert_eq!((access.signature.len(), access.expires_at), (32, 1_795_269_297_000));
        assert!(read("hub.example/devices/s1", SIG, "1").is_some());
    }

    #[test]
    fn a_signature_for_something_else_is_none() {
        for (resource, signature, expiry) in [
            ("hub.example%2Fdevices%2Fs2", SIG, "1"),
            ("hub.example%2Fdevices%2Fs1%2Fmodules%2Fm", SIG, "1"),
            ("hub.example", SIG, "1"),
            ("other.example%2Fdevices%2Fs1", SIG, "1"),
            ("hub.example%2Fdevices%2Fs1", "AAAA", "1"),
            ("hub.example%2Fdevices%2Fs1", "%zz", "1"),
            ("hub.example%2Fdevices%2Fs1", SIG, "-1"),
            ("hub.example%2Fdevices%2Fs1", SIG, "+1"),
            ("hub.example%2Fdevices%2Fs1", SIG, ""),
            ("hub.example%2Fdevices%2Fs1", SIG, "99999999999999999999"),
            ("hub.example%2Fdevices%2Fs1", SIG, "1&skn=owner"),
            ("hub.example%2Fdevices%2Fs1", SIG, "1&se=2"),
            ("hub.example%2Fdevices%2Fs1", SIG, "1&sr"),
        ] {
            assert_eq!(read(resource, signature, expiry), None, "{resource} {signature} {expiry}");
        }
        assert!(read("hub.example/devices/s1", SIG, "1&skn=").is_some());
        let right = format!("SharedAccessSignature sr=hub.example/devices/s1&sig={SIG}&se=1");
        for user in ["s1", "", "/", "hub.example/", "hub.example/s1/m/?api-version=1", "hub.example/s2"] {
            assert_eq!(SharedAccess::read(user, right.as_bytes()), None, "{user}");
        }
        assert_eq!(SharedAccess::read(USER, b"SharedAccessSignature"), None);
        assert_eq!(SharedAccess::read(USER, b"\xff"), None);
        assert_eq!(SharedAccess::read(USER, &[b'x'; 4_096]), None);
    }
}
