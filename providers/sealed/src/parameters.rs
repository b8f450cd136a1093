//! What a class says, understood.

use std::collections::BTreeMap;
use std::sync::Arc;

use manifest::objects::PARAMETER;
use manifest::{parameters, yaml};
use provider::{Ciphertext, Invalid, Keyring, ObjectRef, Parameters, Provider, Providers};

use crate::declaration::{DECLARATION, KMS, KMS_KEY, KMS_PARAMETERS};
use crate::objects::{self, Shown};

/// A key, and how to reach its store.
#[derive(Debug, Clone)]
pub struct Kms {
    pub(crate) name: String,
    pub(crate) key: String,
    parameters: Parameters,
    provider: Arc<dyn Provider>,
}

impl Kms {
    /// What the class with `parameters` names.
    ///
    /// # Errors
    ///
    /// Every fault of these parameters.
    pub(crate) fn new(parameters: &Parameters, providers: &Providers) -> Result<Self, Vec<Invalid>> {
        let mut faults = Vec::new();
        let mut text = |key: &'static str, remedy: &str| {
            let text = parameters.get(key).filter(|text| !text.is_empty()).cloned();
            if text.is_none() {
                faults.push(Invalid::new(key, "it is missing", remedy));
            }
            text.unwrap_or_default()
        };
        let name = text(KMS, "name the provider whose store has the key, such as vault");
        let key = text(KMS_KEY, "name the key, such as transit/shop");
        let theirs = theirs(parameters).map_err(|fault| faults.push(fault)).unwrap_or_default();
        let provider =
            (!name.is_empty()).then(|| provider(&name, providers).map_err(|fault| faults.push(fault)));
        match provider {
            Some(Ok(provider)) if faults.is_empty() => Ok(Self { name, key, parameters: theirs, provider }),
            _ => Err(faults),
        }
    }

    /// The same key, reached with `more` over the parameters of the class.
    #[must_use]
    pub fn over(mut self, more: &Parameters) -> Self {
        self.parameters.extend(more.clone());
        self
    }

    /// The source that decrypts `ciphertexts`.
    pub(crate) fn keyring(
        &self,
        namespace: &str,
        ciphertexts: &[Ciphertext],
    ) -> Result<Arc<dyn Keyring>, Vec<Invalid>> {
        let keys = self.provider.keys().ok_or_else(|| vec![none(&[])])?;
        let of_theirs = |fault: Invalid| match fault.key.as_str() {
            KMS_KEY => fault,
            key => Invalid { key: format!("{KMS_PARAMETERS}.{key}"), ..fault },
        };
        let keyring = keys.keyring(namespace, &self.parameters, ciphertexts);
        keyring.map_err(|faults| faults.into_iter().map(of_theirs).collect())
    }

    /// What may be mistakes in the parameters for the provider of the key.
    pub(crate) fn remarks(&self) -> Vec<Invalid> {
        let of_theirs =
            |remark: Invalid| Invalid { key: format!("{KMS_PARAMETERS}.{}", remark.key), ..remark };
        self.provider.remarks(&self.parameters).into_iter().map(of_theirs).collect()
    }
}

/// The provider `name`, if its store has keys.
fn provider(name: &str, providers: &Providers) -> Result<Arc<dyn Provider>, Invalid> {
    let has_keys = |name: &str| providers.get(name).filter(|provider| provider.keys().is_some());
    has_keys(name).ok_or_else(|| {
        let known: Vec<_> = providers.names().filter(|name| has_keys(name).is_some()).collect();
        none(&known)
    })
}

fn none(known: &[&str]) -> Invalid {
    Invalid::new(KMS, "no provider of that name has keys", format!("write one of {}", known.join(", ")))
}

/// The parameters that are for the provider of the key.
fn theirs(parameters: &Parameters) -> Result<Parameters, Invalid> {
    match parameters.get(KMS_PARAMETERS).filter(|text| !text.trim().is_empty()) {
        Some(text) => yaml::read::<BTreeMap<String, String>>(KMS_PARAMETERS, text),
        None => Ok(Parameters::new()),
    }
}

/// The objects of a class.
///
/// # Errors
///
/// Every fault. Never empty.
pub(crate) fn objects(parameters: &Parameters) -> Result<(Vec<ObjectRef>, Vec<Shown>), Vec<Invalid>> {
    match parameters.get(PARAMETER).filter(|text| !text.is_empty()) {
        Some(text) => objects::read(text),
        None => {
            let remedy = "list at least one object with its sealed text";
            Err(vec![Invalid::new(PARAMETER, "it is missing", remedy)])
        }
    }
}

/// Parameters that nobody reads.
pub(crate) fn unknown(parameters: &Parameters) -> Vec<Invalid> {
    parameters::unknown(&DECLARATION, parameters)
}
