//! Where objects lie, and how they are called.

use crate::clock::Timestamp;
use crate::lab::resource::Resource;

/// The letters of generated names, as Kubernetes has them.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The longest prefix of a generated name: the whole must fit 63 letters.
const PREFIX_LENGTH: usize = 58;

/// The place of an object among those of its kind: lists are in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Spot {
    pub(super) fn new(resource: &Resource, namespace: &str, name: &str) -> Self {
        let namespace = if resource.namespaced { namespace } else { "" };
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// A kind, whatever its version.
pub(super) type KindKey = (&'static str, &'static str);

pub(super) fn kind_key(resource: &'static Resource) -> KindKey {
    (resource.group, resource.plural)
}

/// A name from `generateName`: the prefix and five letters.
pub(super) fn generated(rng: &mut fastrand::Rng, prefix: &str) -> String {
    let end = (0..=prefix.len().min(PREFIX_LENGTH)).rev().find(|end| prefix.is_char_boundary(*end));
    let suffix = (0..5).map(|_| char::from(SUFFIX_LETTERS[rng.usize(..SUFFIX_LETTERS.len())]));
    prefix[..end.unwrap_or(0)].chars().chain(suffix).collect()
}

/// A version 4 uuid.
pub(crate) fn uid(rng: &mut fastrand::Rng) -> String {
    let bits = (rng.u128(..) & !(0xf000 << 64) & !(0b11 << 62)) | (0x4000 << 64) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A stamp as Kubernetes writes it: whole seconds.
#[must_use]
pub fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_fits_a_label() {
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(generated(&mut rng, "web-").len(), 9);
        assert_eq!(generated(&mut rng, &"x".repeat(100)).len(), 63);
        assert!(generated(&mut rng, &"ä".repeat(50)).starts_with('ä'));
    }

    #[test]
    fn a_uid_is_a_random_uuid() {
        let uid = uid(&mut fastrand::Rng::with_seed(1));
        let lengths: Vec<usize> = uid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uid}");
        assert_eq!((&uid[14..15], "89ab".contains(&uid[19..20])), ("4", true), "{uid}");
    }
}
