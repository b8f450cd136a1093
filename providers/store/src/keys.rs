//! The key pairs of the root and of namespaces, and sealing to them.

use std::fmt;

use aws_lc_rs::agreement;
use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use provider::{Error, ErrorKind, Result};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base64text;
use crate::envelope::Fields;
use crate::name::Name;

/// The size of an X25519 or Ed25519 key, public or private, in bytes.
pub(crate) const KEY_BYTES: usize = 32;
/// How many bytes longer a sealed text is: the encapsulated key and the tag.
pub(crate) const SEAL_BYTES: usize = KEY_BYTES + 16;

/// The store to which ciphertext belongs: a random id, made by `init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreId(#[serde(with = "base64text::array")] pub(crate) [u8; 16]);

/// The key to which something is sealed: the first bytes of the SHA-256 of its public part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyId(#[serde(with = "base64text::array")] pub(crate) [u8; 16]);

/// The public half of a key pair. Anyone may seal to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey(#[serde(with = "base64text::array")] pub(crate) [u8; KEY_BYTES]);

/// The private half of a key pair. It opens what was sealed to the public half.
pub(crate) struct PrivateKey(Zeroizing<[u8; KEY_BYTES]>);

/// The public half of a root key. It verifies namespace keys, and others can seal to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootPublic {
    pub(crate) seal: PublicKey,
    #[serde(with = "base64text::array")]
    pub(crate) verify: [u8; KEY_BYTES],
}

/// An unlocked root key. It opens namespace keys and signs their public halves.
pub struct RootKey {
    private: PrivateKey,
    signing: Zeroizing<[u8; KEY_BYTES]>,
    public: RootPublic,
}

/// A namespace's public key, with the signature of the root key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceKey {
    pub(crate) namespace: Name,
    pub(crate) public: PublicKey,
    #[serde(with = "base64text::vec")]
    pub(crate) signature: Vec<u8>,
}

/// The key to which a writer seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipient {
    pub(crate) id: KeyId,
    pub(crate) public: PublicKey,
}

fn suite() -> &'static dyn Hpke {
    DH_KEM_X25519_HKDF_SHA256_AES_256
}

fn failed(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the cryptographic library failed to {what}"))
}

/// Fills `bytes` with random numbers of the system.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| failed("make random numbers"))
}

impl StoreId {
    pub(crate) fn random() -> Result<Self> {
        let mut id = [0; 16];
        fill_random(&mut id)?;
        Ok(Self(id))
    }
}

impl KeyId {
    fn of(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        parts.iter().for_each(|part| context.update(part));
        let mut id = [0; 16];
        id.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(id)
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl PublicKey {
    pub(crate) fn id(&self) -> KeyId {
        KeyId::of(&[&self.0])
    }

    pub(crate) fn recipient(self) -> Recipient {
        Recipient { id: self.id(), public: self }
    }

    /// Seals `secret` to the holder of the private half. The result is: encapsulated key, ciphertext, tag.
    pub(crate) fn seal(&self, purpose: &[u8], context: &Fields, secret: &[u8]) -> Result<Vec<u8>> {
        let (EncapsulatedSecret(mut sealed), ciphertext) = suite()
            .seal(purpose, context.bytes(), secret, &HpkePublicKey(self.0.to_vec()))
            .map_err(|_| failed("seal a key"))?;
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }
}

impl PrivateKey {
    /// A new key pair.
    pub(crate) fn generate() -> Result<(PublicKey, Self)> {
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        fill_random(secret.as_mut_slice())?;
        let private = Self(secret);
        Ok((private.public()?, private))
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        (bytes.len() == KEY_BYTES).then(|| secret.copy_from_slice(bytes))?;
        Some(Self(secret))
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.0.as_slice()
    }

    fn public(&self) -> Result<PublicKey> {
        let broken = |_| failed("derive a public key");
        let key = agreement::PrivateKey::from_private_key(&agreement::X25519, self.expose())
            .map_err(|_| failed("take a private key"))?;
        let public = key.compute_public_key().map_err(broken)?;
        let mut bytes = [0; KEY_BYTES];
        bytes.iter_mut().zip(public.as_ref()).for_each(|(to, from)| *to = *from);
        Ok(PublicKey(bytes))
    }

    /// Opens what was sealed to the public half for this purpose and in this context; `None` for anything else.
    pub(crate) fn open(&self, purpose: &[u8], context: &Fields, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (encapsulated, ciphertext) = sealed.split_at_checked(KEY_BYTES)?;
        let private = HpkePrivateKey::from(self.expose().to_vec());
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        suite().open(&encapsulated, purpose, context.bytes(), ciphertext, &private).ok().map(Zeroizing::new)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl RootPublic {
    /// The id of this root key in ciphertext.
    pub fn id(&self) -> KeyId {
        KeyId::of(&[&self.seal.0, &self.verify])
    }

    pub(crate) fn recipient(&self) -> Recipient {
        Recipient { id: self.id(), public: self.seal }
    }

    /// Whether the private half signed `fields`.
    pub(crate) fn signed(&self, fields: &Fields, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.verify).verify(fields.bytes(), signature).is_ok()
    }
}

impl RootKey {
    /// A new root key.
    pub(crate) fn generate() -> Result<Self> {
        let (_, private) = PrivateKey::generate()?;
        let mut signing = Zeroizing::new([0; KEY_BYTES]);
        fill_random(signing.as_mut_slice())?;
        Self::from_parts(private, signing)
    }

    /// The root key from the `bytes` of [`secret`](Self::secret).
    pub(crate) fn from_secret(bytes: &[u8]) -> Option<Self> {
        let (private, seed) = bytes.split_at_checked(KEY_BYTES)?;
        let mut signing = Zeroizing::new([0; KEY_BYTES]);
        (seed.len() == KEY_BYTES).then(|| signing.copy_from_slice(seed))?;
        Self::from_parts(PrivateKey::from_slice(private)?, signing).ok()
    }

    fn from_parts(private: PrivateKey, signing: Zeroizing<[u8; KEY_BYTES]>) -> Result<Self> {
        let mut verify = [0; KEY_BYTES];
        let pair = signer(&signing)?;
        verify.iter_mut().zip(pair.public_key().as_ref()).for_each(|(to, from)| *to = *from);
        let public = RootPublic { seal: private.public()?, verify };
        Ok(Self { private, signing, public })
    }

    /// All private bytes of the key.
    pub(crate) fn secret(&self) -> Zeroizing<Vec<u8>> {
        let mut secret = Zeroizing::new(Vec::with_capacity(2 * KEY_BYTES));
        secret.extend_from_slice(self.private.expose());
        secret.extend_from_slice(self.signing.as_slice());
        secret
    }

    /// The public half.
    pub fn public(&self) -> &RootPublic {
        &self.public
    }

    pub(crate) fn private(&self) -> &PrivateKey {
        &self.private
    }

    /// Signs that `public` is the key of `namespace`.
    pub(crate) fn certify(
        &self,
        store: &StoreId,
        namespace: &Name,
        public: PublicKey,
    ) -> Result<NamespaceKey> {
        let signature = self.sign(&statement(store, namespace, &public))?;
        Ok(NamespaceKey { namespace: namespace.clone(), public, signature })
    }

    /// Signs `fields`.
    pub(crate) fn sign(&self, fields: &Fields) -> Result<Vec<u8>> {
        Ok(signer(&self.signing)?.sign(fields.bytes()).as_ref().to_vec())
    }
}

fn signer(seed: &Zeroizing<[u8; KEY_BYTES]>) -> Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| failed("take a signing key"))
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKey({})", self.public.id())
    }
}

impl NamespaceKey {
    /// The recipient to seal to, after a check of the root key's signature.
    ///
    /// # Errors
    ///
    /// `Denied`: the root key did not sign this key. Somebody else put it there, and could read what is sealed to it.
    pub(crate) fn recipient(&self, store: &StoreId, root: &RootPublic) -> Result<Recipient> {
        let statement = statement(store, &self.namespace, &self.public);
        let is_signed = root.signed(&statement, &self.signature);
        is_signed.then(|| self.public.recipient()).ok_or_else(|| forged(&self.namespace))
    }
}

impl NamespaceKey {
    const PRIVATE: &[u8] = b"secretfs namespace private key";

    fn private_context(&self, store: &StoreId) -> Fields {
        statement(store, &self.namespace, &self.public)
    }

    /// The private half, sealed to the root key.
    pub(crate) fn seal_private(
        &self,
        store: &StoreId,
        private: &PrivateKey,
        root: &RootPublic,
    ) -> Result<Vec<u8>> {
        root.seal.seal(Self::PRIVATE, &self.private_context(store), private.expose())
    }

    /// The private half; `None` if it is not sealed to `root`, or belongs to another store or namespace.
    pub(crate) fn open_private(&self, store: &StoreId, sealed: &[u8], root: &RootKey) -> Option<PrivateKey> {
        let secret = root.private.open(Self::PRIVATE, &self.private_context(store), sealed)?;
        PrivateKey::from_slice(&secret)
    }
}

fn forged(namespace: &Name) -> Error {
    Error::new(ErrorKind::Denied, format!("the key of namespace {namespace} is not signed by the root key"))
        .remedy("somebody may have replaced it to read what is put; find out who writes to the store, then make a new one with `secretfs store rotate-key`")
}

fn statement(store: &StoreId, namespace: &Name, public: &PublicKey) -> Fields {
    Fields::new("secretfs namespace key").with(&store.0).with(namespace.as_str().as_bytes()).with(&public.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Fields {
        Fields::new("test")
    }

    #[test]
    fn only_the_private_half_opens_and_only_for_the_same_purpose_and_context() {
        let (public, private) = PrivateKey::generate().unwrap();
        let (_, other) = PrivateKey::generate().unwrap();
        let sealed = public.seal(b"p", &context(), b"secret").unwrap();

        assert_eq!(private.open(b"p", &context(), &sealed).unwrap().as_slice(), b"secret");
        assert!(other.open(b"p", &context(), &sealed).is_none());
        assert!(private.open(b"q", &context(), &sealed).is_none());
        assert!(private.open(b"p", &context().with(b"x"), &sealed).is_none());
        assert!(private.open(b"p", &context(), &sealed[..10]).is_none());
        assert_eq!(sealed.len(), 6 + SEAL_BYTES);
    }

    #[test]
    fn a_root_key_is_the_same_after_it_was_written_down() {
        let root = RootKey::generate().unwrap();

        let again = RootKey::from_secret(&root.secret()).unwrap();

        assert_eq!(again.public(), root.public());
        assert!(RootKey::from_secret(&root.secret()[1..]).is_none());
    }

    #[test]
    fn a_namespace_key_counts_only_with_the_word_of_the_root_for_this_store_and_namespace() {
        let root = RootKey::generate().unwrap();
        let (store, other) = (StoreId::random().unwrap(), StoreId::random().unwrap());
        let (public, _) = PrivateKey::generate().unwrap();
        let key = root.certify(&store, &"shop".parse().unwrap(), public).unwrap();

        assert_eq!(key.recipient(&store, root.public()).unwrap(), public.recipient());
        assert!(key.recipient(&other, root.public()).is_err());
        assert!(key.recipient(&store, RootKey::generate().unwrap().public()).is_err());
        let moved = NamespaceKey { namespace: "bank".parse().unwrap(), ..key.clone() };
        assert!(moved.recipient(&store, root.public()).is_err());
        let swapped = NamespaceKey { public: PrivateKey::generate().unwrap().0, ..key };
        assert!(swapped.recipient(&store, root.public()).is_err());
    }
}
