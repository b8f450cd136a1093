use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use provider::{
    Changes, Ciphertext, Error, ErrorKind, Exposure, Invalid, Keyring, Object, ObjectRef, Origin, Parameters,
    Provider, Reading, Result, Session, Source, Tenure, Workload,
};

use crate::declaration::{DECLARATION, KMS, KMS_KEY};
use crate::objects::Shown;
use crate::parameters::{self, Kms};
use crate::place::{Place, refused};
use crate::sealer::Sealer;
use crate::text::SealedText;

/// Values that are ciphertext in the class.
#[derive(Debug)]
pub struct Sealed(Sealer);

impl Sealed {
    /// A provider that opens what `sealer` can.
    pub fn new(sealer: Sealer) -> Self {
        Self(sealer)
    }

    fn open(
        &self,
        namespace: &str,
        class: &str,
        parameters: &Parameters,
    ) -> std::result::Result<SealedSource, Vec<Invalid>> {
        let unknown = parameters::unknown(parameters);
        let (kms, objects) = (Kms::new(parameters, &self.0.providers), parameters::objects(parameters));
        let (kms, (mut objects, shown)) = match (kms, objects) {
            (Ok(kms), Ok(objects)) if unknown.is_empty() => (kms, objects),
            (kms, objects) => {
                let faults = [unknown, kms.err().unwrap_or_default(), objects.err().unwrap_or_default()];
                return Err(faults.concat());
            }
        };
        let ciphertexts: Vec<_> = shown.iter().map(|shown| ciphertext(&shown.text)).collect();
        let keyring = kms.keyring(namespace, &ciphertexts)?;
        for (object, theirs) in objects.iter_mut().zip(keyring.objects()) {
            object.request = theirs.request.clone();
        }
        let environment = self.0.environment.clone();
        let at = Whereabouts { environment, namespace: namespace.to_owned(), class: class.to_owned() };
        Ok(SealedSource { keyring, objects, shown, at, kms: kms.name, key: kms.key })
    }
}

/// The data key of `text`, for the store that opens it.
pub(crate) fn ciphertext(text: &SealedText) -> Ciphertext {
    Ciphertext { key: text.key.clone(), text: text.wrapped.clone(), context: text.place.context() }
}

impl Provider for Sealed {
    provider::as_declared!(DECLARATION);

    /// For a class without a name: what is sealed for a class does not open in it.
    fn source(
        &self,
        namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        Ok(Arc::new(self.open(namespace, "", parameters)?))
    }

    fn source_of(
        &self,
        namespace: &str,
        name: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let source = self.open(namespace, name, parameters)?;
        let faults: Vec<_> = source.misplaced().collect();
        if faults.is_empty() { Ok(Arc::new(source)) } else { Err(faults) }
    }

    fn remarks(&self, parameters: &Parameters) -> Vec<Invalid> {
        Kms::new(parameters, &self.0.providers).map(|kms| kms.remarks()).unwrap_or_default()
    }
}

/// Where a class is.
#[derive(Debug)]
struct Whereabouts {
    /// What this node is called; None if nobody named it.
    environment: Option<String>,
    namespace: String,
    class: String,
}

/// What one class shows.
#[derive(Debug)]
struct SealedSource {
    /// Opens the data key of each object, at the object's index.
    keyring: Arc<dyn Keyring>,
    objects: Vec<ObjectRef>,
    shown: Vec<Shown>,
    at: Whereabouts,
    kms: String,
    key: String,
}

impl SealedSource {
    /// Where `shown` is. In an environment that nobody named, only the rest can differ.
    fn place(&self, shown: &Shown) -> Place {
        let environment = self.at.environment.clone();
        Place {
            environment: environment.unwrap_or_else(|| shown.text.place.environment.clone()),
            namespace: self.at.namespace.clone(),
            class: self.at.class.clone(),
            object: shown.object.clone(),
        }
    }

    /// Why `shown` is not opened here.
    fn refusal(&self, shown: &Shown) -> Option<String> {
        let SealedText { place, kms, key, .. } = &shown.text;
        if let Some(why) = place.misplaced(&self.place(shown)) {
            return Some(why);
        }
        let differs = |what, sealed: &str, here: &str| {
            (sealed != here)
                .then(|| format!("it was sealed with {what} {sealed:?} and the class names {here:?}"))
        };
        differs(KMS, kms, &self.kms).or_else(|| differs(KMS_KEY, key, &self.key))
    }

    fn misplaced(&self) -> impl Iterator<Item = Invalid> {
        self.shown.iter().enumerate().filter_map(|(index, shown)| {
            let remedy =
                "seal the value for this place: `secretfs seal`, or `secretfs reseal` if you may open it";
            let fault = |why| Invalid::new(format!("objects[{index}].sealed"), why, remedy);
            self.refusal(shown).map(fault)
        })
    }

    /// Nothing is opened on a node that nobody named: what was sealed elsewhere would open there.
    fn require_environment(&self) -> Result<()> {
        if self.at.environment.is_some() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "this secretfs has no --environment, so it opens no sealed value")
            .remedy("start it with the environment that the values were sealed for")
            .unasked())
    }
}

#[async_trait]
impl Source for SealedSource {
    fn store(&self) -> &str {
        self.keyring.store()
    }

    fn audience(&self) -> Option<&str> {
        self.keyring.audience()
    }

    fn needs_credentials(&self) -> bool {
        self.keyring.needs_credentials()
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.objects
    }

    async fn session(&self, workload: &Workload, tenure: Tenure) -> Result<Arc<dyn Session>> {
        self.require_environment()?;
        self.keyring.session(workload, tenure).await
    }

    fn extract(&self, index: usize, reading: &Reading) -> Result<Object> {
        let foreign = || Error::new(ErrorKind::Invalid, "there is no such object");
        let shown = self.shown.get(index).ok_or_else(foreign)?;
        if let Some(why) = self.refusal(shown) {
            return Err(refused(&why));
        }
        let of_key = self.keyring.objects().get(index).ok_or_else(foreign)?;
        let key = of_key.decoded(self.keyring.extract(index, reading)?)?.contents;
        // The text is for this place: what it is bound to is what `refusal` compared.
        let contents = shown.text.open(&key)?;
        Ok(Object { contents, significant: None, version: Some(shown.text.version()) })
    }

    fn exposure(&self) -> Option<&Exposure> {
        self.keyring.exposure()
    }

    /// The key's place: the value itself is in no store.
    fn origin(&self, index: usize) -> Origin {
        Origin { key: Some(self.key.clone()), ..self.keyring.origin(index) }
    }

    fn requests_per_call(&self, index: usize) -> Option<NonZeroUsize> {
        self.keyring.requests_per_call(index)
    }

    fn changes(&self) -> Option<Box<dyn Changes>> {
        self.keyring.changes()
    }
}
