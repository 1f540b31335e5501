//! What webhooks are signed with, after Standard Webhooks 1.0 (<https://www.standardwebhooks.com>): a secret that both sides
//! hold, or a key pair of which the receiver knows the public half.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use standardwebhooks::Webhook;

/// How a shared secret begins.
const SHARED: &str = "whsec_";
/// How a private key begins.
const PRIVATE: &str = "whsk_";
/// How a public key begins.
const PUBLIC: &str = "whpk_";
/// Bytes of a shared secret, as the standard wants it.
const SHARED_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of a seed.
const SEED_BYTES: usize = 32;

/// Why a text is no secret. It does not repeat the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It begins otherwise.
    #[error("a secret begins with {SHARED} (shared) or {PRIVATE} (ed25519)")]
    Prefix,
    /// What follows is no base64.
    #[error("after its prefix a secret is base64")]
    Base64,
    /// It is too short or too long.
    #[error("a shared secret has 24 to 64 bytes, not {0}")]
    Length(usize),
    /// It is no key pair.
    #[error("an ed25519 key is a seed of 32 bytes, or seed and public key of one pair")]
    KeyPair,
}

/// A secret, as it is written. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret that both sides hold: signatures are `v1`.
    pub fn shared(bytes: [u8; 32]) -> Self {
        Self(format!("{SHARED}{}", STANDARD.encode(bytes)))
    }

    /// A key pair from its seed: signatures are `v1a`.
    pub fn key_pair(seed: [u8; SEED_BYTES]) -> Self {
        Self(format!("{PRIVATE}{}", STANDARD.encode(seed)))
    }

    /// The text, for whoever is to hold it and for storing it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the receiver needs to verify: the public half of a key pair, or the secret itself.
    pub fn verifier(&self) -> Result<String, Invalid> {
        match self.pair()? {
            Some(pair) => Ok(format!("{PUBLIC}{}", STANDARD.encode(pair.public_key()))),
            None => Ok(self.0.clone()),
        }
    }

    /// Whether both sides hold it, so that it must not be shown again.
    pub fn is_shared(&self) -> bool {
        self.0.starts_with(SHARED)
    }

    /// One signature, as it stands in `webhook-signature`.
    ///
    /// # Errors
    /// When it was stored by someone who did not check it.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Result<String, Invalid> {
        match self.pair()? {
            Some(pair) => {
                let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
                Ok(format!("v1a,{}", STANDARD.encode(pair.sign(&signed))))
            }
            None => {
                let webhook = Webhook::new(&self.0).map_err(|_| Invalid::Base64)?;
                webhook.sign(id, timestamp, body).map_err(|_| Invalid::Base64)
            }
        }
    }

    fn pair(&self) -> Result<Option<Ed25519KeyPair>, Invalid> {
        let Some(encoded) = self.0.strip_prefix(PRIVATE) else { return Ok(None) };
        let bytes = STANDARD.decode(encoded).map_err(|_| Invalid::Base64)?;
        let pair = match bytes.split_at_checked(SEED_BYTES) {
            Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
            Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
            None => return Err(Invalid::KeyPair),
        };
        pair.map(Some).map_err(|_| Invalid::KeyPair)
    }
}

impl FromStr for Secret {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let secret = Self(text.to_owned());
        match text.strip_prefix(SHARED) {
            Some(encoded) => {
                let bytes = STANDARD.decode(encoded).map_err(|_| Invalid::Base64)?;
                if !SHARED_BYTES.contains(&bytes.len()) {
                    return Err(Invalid::Length(bytes.len()));
                }
                Ok(secret)
            }
            None => match secret.pair()? {
                Some(_) => Ok(secret),
                None => Err(Invalid::Prefix),
            },
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const AT: i64 = 1_649_367_553;
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;

    #[test]
    fn a_shared_secret_signs_as_the_standard_does() {
        let secret: Secret = SHARED_SECRET.parse().unwrap();
        assert_eq!(secret.sign(ID, AT, BODY).unwrap(), "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
        assert_eq!(secret.verifier().unwrap(), SHARED_SECRET);
    }

    #[test]
    fn a_key_pair_signs_so_that_its_public_half_verifies() {
        let secret = Secret::key_pair([7; 32]);
        let signature = secret.sign(ID, AT, BODY).unwrap();
        let signature = STANDARD.decode(signature.strip_prefix("v1a,").unwrap()).unwrap();
        let public = secret.verifier().unwrap();
        let public = STANDARD.decode(public.strip_prefix("whpk_").unwrap()).unwrap();
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &public);
        let signed = [format!("{ID}.{AT}.").as_bytes(), BODY].concat();
        key.verify(&signed, &signature).unwrap();
        key.verify(b"something else", &signature).unwrap_err();
        // Seed and public key together, as other libraries write it, are the same key.
        let both = STANDARD.encode([&[7u8; 32][..], &public].concat());
        let same: Secret = format!("whsk_{both}").parse().unwrap();
        assert_eq!(same.verifier(), secret.verifier());
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_repeated() {
        let long = STANDARD.encode([1; 65]);
        let foreign = STANDARD.encode([1; 64]);
        for (text, reason) in [
            ("", Invalid::Prefix),
            ("hunter2", Invalid::Prefix),
            ("whsec_not base64!", Invalid::Base64),
            ("whsec_aHVudGVyMg==", Invalid::Length(7)),
            (&format!("whsec_{long}"), Invalid::Length(65)),
            ("whsk_aHVudGVyMg==", Invalid::KeyPair),
            (&format!("whsk_{foreign}"), Invalid::KeyPair),
        ] {
            let error = text.parse::<Secret>().unwrap_err();
            assert_eq!(error, reason, "{text:?}");
            assert!(!error.to_string().contains("hunter2") && !error.to_string().contains("not base64!"));
        }
        assert_eq!(format!("{:?}", Secret::shared([1; 32])), "Secret(…)");
    }
}
