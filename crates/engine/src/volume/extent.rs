//! Which objects a volume has: those that its class lists, or those that its store told.

use std::sync::Arc;

use provider::{Error, ErrorKind, Object, ObjectRef, Origin, Request, Result, Source};

use crate::readings::Held;
use crate::snapshot::Snapshot;
use crate::volume::trees::Grown;

/// Which objects a volume has.
#[derive(Debug, Clone)]
pub(super) enum Extent {
    /// The objects that the class lists, or that the store's last answer told.
    Known(Arc<dyn Source>),
    /// The objects that the class lists, and those that its trees have.
    Grown(Grown),
    /// The objects that an earlier process showed, until the store answers.
    Shown(Arc<[ObjectRef]>),
}

impl Extent {
    /// The objects that `source` lists. Nothing is known of its trees yet.
    pub(super) fn of(source: &Arc<dyn Source>) -> Self {
        match source.trees().is_empty() {
            true => Self::Known(Arc::clone(source)),
            false => Self::Grown(Grown::new(Arc::clone(source))),
        }
    }

    /// The objects after an edit of the class. Trees keep the objects that they had.
    pub(super) fn edited(&self, source: &Arc<dyn Source>) -> Self {
        match self {
            Self::Grown(grown) if !source.trees().is_empty() => Self::Grown(grown.edited(Arc::clone(source))),
            Self::Known(_) | Self::Grown(_) | Self::Shown(_) => Self::of(source),
        }
    }

    /// The objects with their trees, if the class has trees.
    pub(super) fn grown(&self) -> Option<&Grown> {
        match self {
            Self::Grown(grown) => Some(grown),
            Self::Known(_) | Self::Shown(_) => None,
        }
    }

    /// The objects.
    pub(super) fn objects(&self) -> &[ObjectRef] {
        match self {
            Self::Known(source) => source.objects(),
            Self::Grown(grown) => grown.objects(),
            Self::Shown(objects) => objects,
        }
    }

    /// Where the store keeps object `index`, if that is known.
    pub(super) fn origin(&self, index: usize) -> Option<Origin> {
        match self {
            Self::Known(source) => Some(source.origin(index)),
            Self::Grown(grown) => Some(grown.origin(index)),
            Self::Shown(_) => None,
        }
    }

    /// Takes object `index` out of `held`.
    pub(super) fn extract(&self, index: usize, held: &Held) -> Result<Object> {
        let found = match self {
            Self::Known(source) => source.extract(index, &held.reading)?,
            Self::Grown(grown) => grown.extract(index, &held.reading)?,
            Self::Shown(_) => {
                return Err(Error::new(ErrorKind::Unavailable, "the store has not told yet what there is"));
            }
        };
        match self.objects().get(index) {
            Some(object) => shown(object, found),
            None => Ok(found),
        }
    }

    /// The expiry date that its owner gave to object `index`, in seconds since 1970.
    pub(super) fn expires(&self, index: usize, held: &Held) -> Option<i64> {
        match self {
            Self::Known(source) => source.expires(index, &held.reading),
            Self::Grown(grown) => grown.expires(index, &held.reading),
            Self::Shown(_) => None,
        }
    }

    /// The files of `shown` as objects of the request `whole`. Leaves out files for which `made` is true: they are
    /// composed of objects, or are older versions.
    pub(super) fn shown(shown: &Snapshot, whole: &Request, made: impl Fn(&str) -> bool) -> Self {
        let files = shown.iter().filter(|(path, _)| !made(path.as_str()));
        let object = |(path, file): (&provider::ObjectPath, &crate::snapshot::File)| ObjectRef {
            mode: file.mode,
            ..ObjectRef::new(path.clone(), whole.clone())
        };
        Self::Shown(files.map(object).collect())
    }
}

/// What the file of `object` shows: the value that was found, decoded, and then the part that its JMESPath selects.
fn shown(object: &ObjectRef, found: Object) -> Result<Object> {
    let decoded = object.decoded(found)?;
    match object.jmes_path.as_deref() {
        Some(expression) => search(expression, decoded),
        None => Ok(decoded),
    }
}

/// The part of `object` that a JMESPath expression selects: a text as it is, anything else as JSON.
fn search(expression: &str, object: Object) -> Result<Object> {
    let invalid = |what: String| Error::new(ErrorKind::Invalid, format!("jmesPath {expression:?}: {what}"));
    let compiled =
        jmespath::compile(expression).map_err(|_| invalid("it is not a JMESPath expression".to_owned()))?;
    let text = object.contents.expose_str().ok_or_else(|| invalid("the object is not text".to_owned()))?;
    let json =
        jmespath::Variable::from_json(text).map_err(|_| invalid("the object is not JSON".to_owned()))?;
    let found =
        compiled.search(json).map_err(|_| invalid("it cannot be applied to the object".to_owned()))?;
    if found.is_null() {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("jmesPath {expression:?} finds nothing in the object"),
        ));
    }
    let contents = found.as_string().map_or_else(|| found.to_string(), Clone::clone);
    Ok(Object { contents: contents.into(), significant: None, version: object.version })
}
