//! The ciphertext of one version of an item, bound to its place and its readers.
//!
//! ```text
//! sealed key    "SFS1" | suite u8 | key id 16 | version u64 | encapsulated key 32 | data key 32 | tag 16
//! sealed value  "SFS1" | suite u8 | nonce 12 | padded value | tag 16
//! ```
//!
//! Suite 3: the data key is sealed by HPKE (X25519, HKDF-SHA256, AES-256-GCM), values by AES-256-GCM. Values are padded
//! to multiples of 256 bytes (of 4 KiB beyond 4 KiB), so that the ciphertext reveals little of their length.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use provider::padding::{self, LENGTH};
use provider::{Error, ErrorKind, Result, SecretBytes};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base64text;
use crate::keys::{KEY_BYTES, KeyId, PrivateKey, Recipient, SEAL_BYTES, StoreId, fill_random};
use crate::name::{Item, Name, ServiceAccounts};

const MAGIC: &[u8; 4] = b"SFS1";
const SUITE: u8 = 3;
const DATA_KEY: &[u8] = b"secretfs data key";
const TAG: usize = 16;

/// Encodes a list of byte strings, each after its length, so that no two lists have the same encoding.
#[derive(Debug, Clone)]
pub(crate) struct Fields(Vec<u8>);

impl Fields {
    /// An empty list for `purpose`. Lists for different purposes always differ.
    pub(crate) fn new(purpose: &str) -> Self {
        Self(Vec::new()).with(purpose.as_bytes())
    }

    /// Appends one field.
    pub(crate) fn with(mut self, field: &[u8]) -> Self {
        self.0.extend_from_slice(&(field.len() as u64).to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Everything that a version's ciphertext is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) store: &'a StoreId,
    pub(crate) item: &'a Item,
    pub(crate) version: u64,
    pub(crate) accounts: &'a ServiceAccounts,
}

impl Binding<'_> {
    fn fields(&self, purpose: &str) -> Fields {
        let fields = Fields::new(purpose)
            .with(MAGIC)
            .with(&[SUITE])
            .with(&self.store.0)
            .with(self.item.namespace.as_str().as_bytes())
            .with(self.item.name.as_str().as_bytes())
            .with(&self.version.to_be_bytes());
        match self.accounts {
            ServiceAccounts::Any => fields.with(b"any"),
            ServiceAccounts::Only(accounts) => accounts
                .iter()
                .fold(fields.with(b"only"), |fields, account| fields.with(account.to_string().as_bytes())),
        }
    }

    fn of_key(&self, id: &KeyId) -> Fields {
        self.fields("secretfs data key").with(&id.0)
    }

    fn of_value(&self, key: &Name) -> Fields {
        self.fields("secretfs value").with(key.as_str().as_bytes())
    }
}

/// The ciphertext of one version of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SealedVersion {
    pub(crate) version: u64,
    pub(crate) accounts: ServiceAccounts,
    #[serde(with = "base64text::vec")]
    pub(crate) sealed_key: Vec<u8>,
    #[serde(with = "base64text::map")]
    pub(crate) contents: BTreeMap<Name, Vec<u8>>,
}

impl SealedVersion {
    /// Encrypts `values` with a new data key that only `recipient` can open.
    pub(crate) fn seal(
        binding: Binding<'_>,
        recipient: &Recipient,
        values: &BTreeMap<Name, SecretBytes>,
    ) -> Result<Self> {
        let data_key = DataKey::generate()?;
        let seal = |(key, value): (&Name, &SecretBytes)| {
            Ok((key.clone(), data_key.encrypt(&binding.of_value(key), value.expose())?))
        };
        Ok(Self {
            version: binding.version,
            accounts: binding.accounts.clone(),
            sealed_key: data_key.seal(binding, recipient)?,
            contents: values.iter().map(seal).collect::<Result<_>>()?,
        })
    }
}

/// The key that encrypts the values of one version, and nothing else.
pub(crate) struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    fn generate() -> Result<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        fill_random(key.as_mut_slice())?;
        Ok(Self(key))
    }

    /// Seals the data key, so that only `recipient` can open it.
    pub(crate) fn seal(&self, binding: Binding<'_>, recipient: &Recipient) -> Result<Vec<u8>> {
        let sealed = recipient.public.seal(DATA_KEY, &binding.of_key(&recipient.id), self.0.as_slice())?;
        Ok(SealedKey { id: recipient.id, version: binding.version, sealed: &sealed }.encode())
    }

    fn cipher(&self) -> Result<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.0.as_slice())
            .map(LessSafeKey::new)
            .map_err(|_| damaged("a data key"))
    }

    fn encrypt(&self, fields: &Fields, value: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut nonce)?;
        let mut body = padded(value)?;
        self.cipher()?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(fields.bytes()),
                &mut *body,
            )
            .map_err(|_| damaged("a value"))?;
        Ok([MAGIC.as_slice(), &[SUITE], &nonce, &body].concat())
    }

    /// The value of `key`, decrypted in place.
    pub(crate) fn decrypt(&self, binding: Binding<'_>, key: &Name, sealed: &[u8]) -> Result<SecretBytes> {
        self.open(binding, key, sealed).ok_or_else(|| damaged(&format!("key {key}")))
    }

    fn open(&self, binding: Binding<'_>, key: &Name, sealed: &[u8]) -> Option<SecretBytes> {
        let (nonce, body) = strip(sealed)?.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = Zeroizing::new(body.to_vec());
        let fields = binding.of_value(key);
        let plain = self.cipher().ok()?.open_in_place(nonce, Aad::from(fields.bytes()), &mut body).ok()?;
        let length = padding::unpadded(plain)?;
        body.truncate(length);
        Some(SecretBytes::new(std::mem::take(&mut *body)))
    }
}

/// A data key that is sealed to its recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealedKey<'a> {
    /// The key to which it is sealed.
    pub(crate) id: KeyId,
    pub(crate) version: u64,
    sealed: &'a [u8],
}

impl<'a> SealedKey<'a> {
    /// Decodes the layout in the module's documentation; `None` for other bytes.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (id, rest) = strip(bytes)?.split_first_chunk::<16>()?;
        let (version, sealed) = rest.split_first_chunk::<8>()?;
        let version = u64::from_be_bytes(*version);
        (sealed.len() == SEAL_BYTES + KEY_BYTES).then_some(Self { id: KeyId(*id), version, sealed })
    }

    fn encode(&self) -> Vec<u8> {
        [MAGIC.as_slice(), &[SUITE], &self.id.0, &self.version.to_be_bytes(), self.sealed].concat()
    }

    /// The data key, if `private` opens it and it belongs to `binding`.
    pub(crate) fn open(&self, binding: Binding<'_>, private: &PrivateKey) -> Option<DataKey> {
        let opened = private.open(DATA_KEY, &binding.of_key(&self.id), self.sealed)?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        (opened.len() == KEY_BYTES && self.version == binding.version)
            .then(|| key.copy_from_slice(&opened))?;
        Some(DataKey(key))
    }
}

fn strip(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(MAGIC.as_slice())?.strip_prefix(&[SUITE])
}

/// The error for ciphertext that cannot be decrypted.
pub(crate) fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what} does not decrypt: it is damaged, or was moved here"))
        .remedy("put it again")
}

fn padded(value: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let bucket = if value.len() + LENGTH <= 4096 { 256 } else { 4096 };
    padding::padded(value, bucket, TAG).ok_or_else(|| damaged("a value of 4 GiB"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::name::Account;

    #[derive(Debug, Clone, PartialEq)]
    struct Stored {
        store: u8,
        item: Item,
        key: Name,
        version: u64,
        accounts: ServiceAccounts,
    }

    impl Stored {
        fn store(&self) -> StoreId {
            StoreId([self.store; 16])
        }
    }

    fn word() -> impl Strategy<Value = Name> {
        "[a-c]{1,3}".prop_map(|word| word.parse().unwrap())
    }

    fn accounts() -> impl Strategy<Value = ServiceAccounts> {
        prop_oneof![
            Just(ServiceAccounts::Any),
            prop::collection::btree_set(word().prop_map(|name| Account { name, uid: None }), 1..3)
                .prop_map(ServiceAccounts::Only)
        ]
    }

    fn stored() -> impl Strategy<Value = Stored> {
        let item = (word(), "[a-c]{1,3}(/[a-c]{1,2})?")
            .prop_map(|(namespace, name)| Item { namespace, name: name.parse().unwrap() });
        (0..3u8, item, word(), 1..4u64, accounts()).prop_map(|(store, item, key, version, accounts)| Stored {
            store,
            item,
            key,
            version,
            accounts,
        })
    }

    fn seal(stored: &Stored, recipient: &Recipient, value: &[u8]) -> SealedVersion {
        let store = stored.store();
        let values = BTreeMap::from([(stored.key.clone(), SecretBytes::new(value.to_vec()))]);
        let binding = Binding {
            store: &store,
            item: &stored.item,
            version: stored.version,
            accounts: &stored.accounts,
        };
        SealedVersion::seal(binding, recipient, &values).unwrap()
    }

    /// Tries to open a sealed key and a sealed value under the binding that `claimed` states.
    fn open(claimed: &Stored, sealed_key: &[u8], value: &[u8], private: &PrivateKey) -> Option<Vec<u8>> {
        let store = claimed.store();
        let binding = Binding {
            store: &store,
            item: &claimed.item,
            version: claimed.version,
            accounts: &claimed.accounts,
        };
        let data_key = SealedKey::decode(sealed_key)?.open(binding, private)?;
        Some(data_key.open(binding, &claimed.key, value)?.expose().to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn ciphertext_opens_as_what_it_is_and_with_any_one_field_of_another_it_does_not(
            one in stored(), other in stored(),
        ) {
            let (public, private) = PrivateKey::generate().unwrap();
            let (first, second) =
                (seal(&one, &public.recipient(), b"first"), seal(&other, &public.recipient(), b"second"));
            let (value, foreign) = (&first.contents[&one.key], &second.contents[&other.key]);

            prop_assert_eq!(open(&one, &first.sealed_key, value, &private), Some(b"first".to_vec()));
            prop_assert_eq!(open(&one, &second.sealed_key, value, &private), None);
            prop_assert_eq!(open(&one, &first.sealed_key, foreign, &private), None);
            for claimed in [
                Stored { store: other.store, ..one.clone() },
                Stored { item: other.item.clone(), ..one.clone() },
                Stored { item: Item { name: other.item.name.clone(), ..one.item.clone() }, ..one.clone() },
                Stored { item: Item { namespace: other.item.namespace.clone(), ..one.item.clone() }, ..one.clone() },
                Stored { key: other.key.clone(), ..one.clone() },
                Stored { version: other.version, ..one.clone() },
                Stored { accounts: other.accounts.clone(), ..one.clone() },
                other.clone(),
            ] {
                let opened = open(&claimed, &first.sealed_key, value, &private);
                prop_assert_eq!(opened.is_some(), claimed == one, "{:?} as {:?}", one, claimed);
            }
        }

        #[test]
        fn any_flipped_bit_is_noticed(one in stored(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let (public, private) = PrivateKey::generate().unwrap();
            let sealed = seal(&one, &public.recipient(), b"value");
            let (mut key, mut value) = (sealed.sealed_key.clone(), sealed.contents[&one.key].clone());
            let place = at.index(key.len() + value.len());
            let split = key.len();
            if place < split { key[place] ^= 1 << bit } else { value[place - split] ^= 1 << bit }

            prop_assert_eq!(open(&one, &key, &value, &private), None);
        }

        #[test]
        fn values_are_kept_to_the_byte(value in prop::collection::vec(any::<u8>(), 0..9000)) {
            let (public, private) = PrivateKey::generate().unwrap();
            let one = plain();
            let sealed = seal(&one, &public.recipient(), &value);
            let stored = &sealed.contents[&one.key];

            prop_assert_eq!(open(&one, &sealed.sealed_key, stored, &private), Some(value.clone()));
            let bucket = if value.len() + LENGTH <= 4096 { 256 } else { 4096 };
            prop_assert_eq!((stored.len() - 4 - 1 - NONCE_LEN - TAG) % bucket, 0);
        }
    }

    fn plain() -> Stored {
        Stored {
            store: 0,
            item: Item { namespace: "n".parse().unwrap(), name: "i".parse().unwrap() },
            key: "k".parse().unwrap(),
            version: 1,
            accounts: ServiceAccounts::Any,
        }
    }

    #[test]
    fn a_service_account_cannot_be_added_to_what_was_sealed_for_others() {
        let (public, private) = PrivateKey::generate().unwrap();
        let only = |names: &[&str]| {
            ServiceAccounts::Only(
                names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<Account>>(),
            )
        };
        let one = Stored { accounts: only(&["web"]), ..plain() };
        let sealed = seal(&one, &public.recipient(), b"value");

        for accounts in [ServiceAccounts::Any, only(&["web", "job"]), only(&["job"]), only(&["we", "b"])] {
            let claimed = Stored { accounts, ..one.clone() };
            assert_eq!(open(&claimed, &sealed.sealed_key, &sealed.contents[&one.key], &private), None);
        }
    }
}
