use std::fmt;

use provider::{Context, Error, ErrorKind};

/// Where a value may be shown, and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What the administrator calls this cluster or host: `--environment`.
    pub environment: String,
    /// Namespace of the class.
    pub namespace: String,
    /// Name of the class.
    pub class: String,
    /// `objectName` of the object.
    pub object: String,
}

impl Place {
    /// The same as the store of the key sees it.
    pub(crate) fn context(&self) -> Context {
        self.parts().iter().fold(Context::default(), |context, (name, value)| context.with(name, value))
    }

    pub(crate) fn parts(&self) -> [(&'static str, &str); 4] {
        [
            ("environment", &self.environment),
            ("namespace", &self.namespace),
            ("class", &self.class),
            ("object", &self.object),
        ]
    }

    /// In what `self`, which a sealed text says, differs from where the text is.
    pub(crate) fn misplaced(&self, actual: &Self) -> Option<String> {
        let mut both = self.parts().into_iter().zip(actual.parts());
        let ((part, sealed), (_, here)) = both.find(|((_, sealed), (_, here))| sealed != here)?;
        Some(format!("it was sealed for {part} {sealed:?} and is in {part} {here:?}"))
    }
}

/// The error for a text that is not where it was sealed for.
pub(crate) fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Invalid, why.to_owned())
        .remedy("seal the value for this place: `secretfs seal`, or `secretfs reseal` if you may open it")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment, namespace, class, object } = self;
        write!(f, "object {object} of class {namespace}/{class} in {environment}")
    }
}
