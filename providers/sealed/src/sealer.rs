use std::sync::Arc;

use provider::{
    Error, ErrorKind, Invalid, Parameters, Provider, Providers, Result, SecretBytes, Tenure, Workload,
};

use crate::age::{AgeKeys, NodeKey};
use crate::declaration::{KMS, KMS_KEY};
use crate::envelope;
use crate::parameters::{self, Kms};
use crate::place::{Place, refused};
use crate::sealed::ciphertext;
use crate::text::SealedText;

/// Seals values, and opens them to seal them again.
#[derive(Debug, Clone)]
pub struct Sealer {
    pub(crate) environment: Option<String>,
    pub(crate) providers: Providers,
}

/// A sealed text, and whether it is for where it stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// `objectName` of its object.
    pub object: String,
    /// The text.
    pub text: SealedText,
}

impl Sealer {
    /// Seals for `environment`, with the keys of `providers` and with keys of age.
    pub fn new(environment: Option<String>, providers: Providers) -> Self {
        Self { environment, providers }.with_node_key(NodeKey::default())
    }

    /// The same, which opens what was sealed to a key of age as `node_key` says.
    #[must_use]
    pub fn with_node_key(self, node_key: NodeKey) -> Self {
        let age: Arc<dyn Provider> = Arc::new(AgeKeys(node_key));
        Self { providers: self.providers.with(&age), ..self }
    }

    /// The environment to seal for.
    ///
    /// # Errors
    ///
    /// Nobody named it.
    pub fn environment(&self) -> Result<&str> {
        self.environment.as_deref().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "--environment is missing")
                .remedy("name the environment whose nodes may open the value, such as production")
        })
    }

    /// The key that a class with `parameters` names.
    ///
    /// # Errors
    ///
    /// Every fault of these parameters.
    pub fn kms(&self, parameters: &Parameters) -> std::result::Result<Kms, Vec<Invalid>> {
        Kms::new(parameters, &self.providers)
    }

    /// The key that `text` was sealed with, reached as a class with `parameters` says.
    ///
    /// # Errors
    ///
    /// As [`kms`](Self::kms).
    pub fn kms_of(
        &self,
        text: &SealedText,
        parameters: &Parameters,
    ) -> std::result::Result<Kms, Vec<Invalid>> {
        let mut parameters = parameters.clone();
        parameters.extend([(KMS.to_owned(), text.kms.clone()), (KMS_KEY.to_owned(), text.key.clone())]);
        self.kms(&parameters)
    }

    /// Encrypts `value` for `place`.
    ///
    /// # Errors
    ///
    /// The store does not encrypt for `workload`.
    pub async fn seal(
        &self,
        place: Place,
        kms: &Kms,
        workload: &Workload,
        value: &SecretBytes,
    ) -> Result<SealedText> {
        let keyring = kms.keyring(&place.namespace, &[])?;
        let data_key = envelope::new_key()?;
        let wrapped = keyring.encrypt(workload, &kms.key, &data_key, &place.context()).await?.text;
        SealedText::seal(place, [&kms.name, &kms.key], (&data_key, wrapped), value)
    }

    /// Decrypts `text` as what it says that it is, with the key `kms`.
    ///
    /// # Errors
    ///
    /// The store does not decrypt for `workload`, or the text was altered.
    pub async fn open(&self, text: &SealedText, kms: &Kms, workload: &Workload) -> Result<SecretBytes> {
        let ciphertexts = [ciphertext(text)];
        let keyring = kms.keyring(&text.place.namespace, &ciphertexts)?;
        let object = keyring.objects().first().cloned();
        let object = object.ok_or_else(|| refused("its key cannot be asked for"))?;
        let session = keyring.session(workload, Tenure::Shared).await?;
        let reading = session.read(&object.request).await?;
        let key = object.decoded(keyring.extract(0, &reading)?)?.contents;
        text.open(&key)
    }

    /// The sealed texts of a class with `parameters`, wherever each was sealed for.
    ///
    /// # Errors
    ///
    /// Every fault of the objects.
    pub fn standing(&self, parameters: &Parameters) -> std::result::Result<Vec<Standing>, Vec<Invalid>> {
        let (_, shown) = parameters::objects(parameters)?;
        let mut standing: Vec<Standing> = Vec::new();
        for shown in shown {
            if !standing.iter().any(|other| other.object == shown.object) {
                standing.push(Standing { object: shown.object, text: shown.text });
            }
        }
        Ok(standing)
    }
}
