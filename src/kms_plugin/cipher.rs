use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use provider::{
    Ciphertext, Context, Encrypted, Error, ErrorKind, Invalid, Keyring, Parameters, Provider, Result,
    SecretBytes, Session, Tenure, Workload,
};

/// What each ciphertext is bound to: no other use of the key decrypts it.
const PURPOSE: (&str, &str) = ("purpose", "kubernetes kms v2");
/// What is encrypted to see whether it works.
const PROBE: &[u8] = b"secretfs probes its key with this";

/// Tells who calls the store, from the credentials as they are now.
pub type Caller = dyn Fn() -> Result<Workload> + Send + Sync;

/// One key of one store.
pub struct Cipher {
    provider: Arc<dyn Provider>,
    parameters: Parameters,
    /// The key, as the provider writes it.
    key: String,
    caller: Box<Caller>,
    /// The login, which ends with its last holder.
    login: Mutex<Option<Arc<dyn Session>>>,
    last_key_id: Mutex<String>,
}

impl Cipher {
    /// The key `key` at the store that `parameters`, those of a class of `provider`, name. Makes no call.
    ///
    /// # Errors
    ///
    /// The provider has no keys, or a parameter is wrong.
    pub fn new(
        provider: Arc<dyn Provider>,
        parameters: Parameters,
        key: String,
        caller: Box<Caller>,
    ) -> std::result::Result<Self, Vec<Invalid>> {
        let (login, last_key_id) = Default::default();
        let cipher = Self { provider, parameters, key, caller, login, last_key_id };
        // Wrong parameters and a key that is none are told at the start.
        cipher.keyring(&[cipher.ciphertext(String::new())])?;
        Ok(cipher)
    }

    /// Encrypts, and tells which key did it.
    ///
    /// # Errors
    ///
    /// The store does not encrypt.
    pub async fn encrypt(&self, plain: &SecretBytes) -> Result<(Vec<u8>, String)> {
        let made = match self.encrypt_once(plain).await {
            Err(error) if self.may_be_the_login(&error) => self.encrypt_once(plain).await?,
            made => made?,
        };
        let key_id = self.key_id(&made);
        self.last_key_id.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&key_id);
        Ok((made.text.into_bytes(), key_id))
    }

    /// Decrypts what [`encrypt`](Self::encrypt) returned.
    ///
    /// # Errors
    ///
    /// The store does not decrypt it.
    pub async fn decrypt(&self, ciphertext: &[u8]) -> Result<SecretBytes> {
        let text = String::from_utf8(ciphertext.to_vec());
        let text =
            text.map_err(|_| Error::new(ErrorKind::Invalid, "the ciphertext is none of this plugin's"))?;
        match self.decrypt_once(&text).await {
            Err(error) if self.may_be_the_login(&error) => self.decrypt_once(&text).await,
            opened => opened,
        }
    }

    /// Which key encrypts now, if it also decrypts.
    ///
    /// # Errors
    ///
    /// It does not encrypt or decrypt.
    pub async fn check(&self) -> Result<String> {
        let (ciphertext, key_id) = self.encrypt(&SecretBytes::new(PROBE.to_vec())).await?;
        if self.decrypt(&ciphertext).await?.expose() != PROBE {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the key decrypts to something else than was encrypted",
            ));
        }
        Ok(key_id)
    }

    /// The key that encrypted last; empty if none has.
    pub fn last_key_id(&self) -> String {
        self.last_key_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn encrypt_once(&self, plain: &SecretBytes) -> Result<Encrypted> {
        let (keyring, caller) = (self.ring(&[])?, (self.caller)()?);
        self.log_in(&*keyring, &caller).await?;
        keyring.encrypt(&caller, &self.key, plain, &context()).await
    }

    async fn decrypt_once(&self, text: &str) -> Result<SecretBytes> {
        let (keyring, caller) = (self.ring(&[self.ciphertext(text.to_owned())])?, (self.caller)()?);
        let session = self.log_in(&*keyring, &caller).await?;
        let object =
            keyring.objects().first().ok_or_else(|| Error::new(ErrorKind::Invalid, "there is no object"))?;
        let reading = session.read(&object.request).await?;
        Ok(object.decoded(keyring.extract(0, &reading)?)?.contents)
    }

    /// The login, kept until the next one.
    async fn log_in(&self, keyring: &dyn Keyring, caller: &Workload) -> Result<Arc<dyn Session>> {
        let session = keyring.session(caller, Tenure::Shared).await?;
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Whether `error` may be about a login that has ended. It is made again.
    fn may_be_the_login(&self, error: &Error) -> bool {
        if !matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unauthenticated) {
            return false;
        }
        let held = self.login.lock().unwrap_or_else(PoisonError::into_inner).take();
        held.inspect(|session| session.discard()).is_some()
    }

    /// A name of the key and its version.
    fn key_id(&self, made: &Encrypted) -> String {
        let version = made.version.as_deref().map(|version| format!(":{version}"));
        format!("{}{}", self.key, version.unwrap_or_default())
    }

    fn ciphertext(&self, text: String) -> Ciphertext {
        Ciphertext { key: self.key.clone(), text, context: context() }
    }

    fn keyring(&self, ciphertexts: &[Ciphertext]) -> std::result::Result<Arc<dyn Keyring>, Vec<Invalid>> {
        let none =
            || vec![Invalid::new("kms", "this provider has no keys", "name one that has, such as vault")];
        self.provider.keys().ok_or_else(none)?.keyring("", &self.parameters, ciphertexts)
    }

    fn ring(&self, ciphertexts: &[Ciphertext]) -> Result<Arc<dyn Keyring>> {
        Ok(self.keyring(ciphertexts)?)
    }
}

fn context() -> Context {
    Context::default().with(PURPOSE.0, PURPOSE.1)
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({})", self.key)
    }
}
