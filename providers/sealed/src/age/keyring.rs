use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use provider::{
    Ciphertext, Context, Encrypted, Error, ErrorKind, Invalid, Keyring, Keys, ObjectRef, Parameters,
    Provider, Reading, Request, Result, SecretBytes, Session, Source, Tenure, Workload,
};

use super::AGE;
use super::file::{self, Identity, Recipient};
use super::identity::NodeKey;
use crate::declaration::KMS_KEY;

/// The longest ciphertext of a data key, in base64.
const LONGEST: usize = 4096;

/// Keys of age, as a provider that has keys and nothing else.
#[derive(Debug)]
pub(crate) struct AgeKeys(pub(crate) NodeKey);

impl Provider for AgeKeys {
    fn names(&self) -> &'static [&'static str] {
        &[AGE]
    }

    fn default_refresh(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn source(
        &self,
        _namespace: &str,
        _parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        Err(vec![Invalid::new("provider", "age keeps no secrets", "write provider: sealed and kms: age")])
    }

    fn keys(&self) -> Option<&dyn Keys> {
        Some(self)
    }
}

impl Keys for AgeKeys {
    fn keyring(
        &self,
        _namespace: &str,
        parameters: &Parameters,
        ciphertexts: &[Ciphertext],
    ) -> std::result::Result<Arc<dyn Keyring>, Vec<Invalid>> {
        let needless =
            |key: &String| Invalid::new(key.clone(), "a key of age takes no parameters", "remove it");
        let faults: Vec<_> = parameters.keys().map(needless).collect();
        match provider::decrypted(ciphertexts, request) {
            Ok(objects) if faults.is_empty() => Ok(Arc::new(AgeSource { key: self.0.clone(), objects })),
            Ok(_) => Err(faults),
            Err(others) => Err([faults, others].concat()),
        }
    }
}

fn recipient(text: &str) -> std::result::Result<Recipient, Invalid> {
    Recipient::parse(text).ok_or_else(|| {
        Invalid::new(KMS_KEY, "it is no recipient of age", "write what `age-keygen -y` prints: age1…")
    })
}

fn request(ciphertext: &Ciphertext) -> std::result::Result<Request, Invalid> {
    recipient(&ciphertext.key)?;
    if ciphertext.text.len() > LONGEST {
        return Err(Invalid::new("objects", "the data key is longer than 4 KiB", "seal the value again"));
    }
    // What tells ciphertexts of two keys apart.
    Ok(Request::shared(format!("{} {}", ciphertext.key, ciphertext.text)))
}

/// The ciphertexts of a class.
#[derive(Debug)]
struct AgeSource {
    key: NodeKey,
    objects: Vec<ObjectRef>,
}

#[async_trait]
impl Source for AgeSource {
    fn store(&self) -> &str {
        AGE
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.objects
    }

    async fn session(&self, _workload: &Workload, _tenure: Tenure) -> Result<Arc<dyn Session>> {
        // A key that is missing or unfit is told before anything is opened.
        self.key.identity()?;
        Ok(Arc::new(AgeSession(self.key.clone())))
    }
}

#[async_trait]
impl Keyring for AgeSource {
    async fn encrypt(
        &self,
        _workload: &Workload,
        key: &str,
        plain: &SecretBytes,
        _context: &Context,
    ) -> Result<Encrypted> {
        let recipient = recipient(key).map_err(|fault| Error::new(ErrorKind::Invalid, fault.to_string()))?;
        let sealed = file::seal(recipient, plain).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "this machine could not make random numbers")
        })?;
        Ok(Encrypted { text: BASE64_STANDARD.encode(sealed), version: None })
    }
}

/// Opens with the identity as its file is at each reading.
#[derive(Debug)]
struct AgeSession(NodeKey);

#[async_trait]
impl Session for AgeSession {
    fn identity(&self) -> &str {
        "the key of this machine"
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let identity = self.0.identity()?;
        let foreign = || Error::new(ErrorKind::Invalid, "the request is none of this provider's");
        let (key, text) = request.text.split_once(' ').ok_or_else(foreign)?;
        is_for(&identity, key)?;
        let sealed = BASE64_STANDARD.decode(text).ok();
        let opened = sealed.and_then(|sealed| file::open(&identity, &sealed)).ok_or_else(|| {
            let text = format!("the data key does not open with the key of this machine for {key}");
            Error::new(ErrorKind::Invalid, text).remedy("it was altered; seal the value again").unasked()
        })?;
        Ok(Reading::new(opened))
    }
}

/// Another machine's key is told as such, and not as an altered text.
fn is_for(identity: &Identity, key: &str) -> Result<()> {
    if Recipient::parse(key) == Some(identity.recipient()) {
        return Ok(());
    }
    let mine = identity.recipient().text().unwrap_or_default();
    let text = format!("it was sealed to {key}, and the key of this machine is {mine}");
    Err(Error::new(ErrorKind::Denied, text)
        .remedy("seal the value to this key, or use the other one")
        .unasked())
}
