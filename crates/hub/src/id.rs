//! The names of things: each a type of its own, valid because it exists.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest id, in bytes.
pub const ID_LENGTH_MAX: usize = 64;

/// A text that cannot be an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no {1}: use 1 to 64 letters, digits and `-_.:`, not starting with a dot")]
pub struct InvalidId(pub String, pub &'static str);

fn check(text: &str, what: &'static str) -> Result<(), InvalidId> {
    let fits = (1..=ID_LENGTH_MAX).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    if fits {
        return Ok(());
    }
    Err(InvalidId(text.chars().take(ID_LENGTH_MAX + 1).collect(), what))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads an id: 1 to 64 letters, digits and `-_.:`, not starting with a dot.
            ///
            /// # Errors
            /// [`InvalidId`] names the text and the rule.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check(text, $what)?;
                Ok(Self(Arc::from(text)))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:?}", &*self.0)
            }
        }
    };
}

id!(
    /// A customer: owns everything below.
    TenantId, "tenant id"
);
id!(
    /// A device, unique within its tenant.
    DeviceId, "device id"
);
id!(
    /// One command to one device.
    CommandId, "command id"
);
id!(
    /// One credential of one device.
    CredentialId, "credential id"
);
id!(
    /// An API token (its name, not its secret).
    TokenId, "token id"
);
id!(
    /// A person who signs in.
    UserId, "user id"
);
id!(
    /// A device profile.
    ProfileId, "profile id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_letters_digits_and_four_signs() {
        for good in ["a", "5CCF7F01A2B3", "home.sensor", "urn:dev-1_x", &"x".repeat(64)] {
            assert!(DeviceId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "+", "#", "a b", "ä", "a\0", &"x".repeat(65)] {
            assert!(DeviceId::parse(bad).is_err(), "{bad}");
        }
    }
}
