//! What a class asks of its provider, file by file.

use std::sync::Arc;

use async_trait::async_trait;
use manifest::{Class, Settings, Start};
use provider::{
    Changes, Object, ObjectPath, ObjectRef, Origin, Ownership, Reading, Result, Session, Source, Tenure,
    Workload,
};

use crate::mode::{Abilities, Listing};
use crate::revocation::On;
use crate::volume::{ClassName, Error};

/// A class whose files are read when they are opened, and what it asks of its provider.
#[derive(Debug, Clone)]
pub(in crate::volume) struct Wanted {
    pub(super) class: Arc<Class>,
    pub(super) source: Arc<dyn Source>,
}

impl Wanted {
    /// What `class` asks of `source`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the class cannot be read file by file.
    pub(in crate::volume) fn new(
        class: Arc<Class>,
        source: Arc<dyn Source>,
    ) -> std::result::Result<Self, Error> {
        if source.whole().is_some() || !source.trees().is_empty() {
            let told = format!("only an answer of provider {} tells which files there are", class.provider);
            return Err(unsuited(&class, &told));
        }
        let own = |object: &&ObjectRef| object.request.ownership == Ownership::Volume;
        if let Some(object) = source.objects().iter().find(own) {
            let told = format!("object {:?} is made for one volume alone, once", object.name);
            return Err(unsuited(&class, &told));
        }
        Ok(Self { class, source })
    }

    /// The class.
    pub(in crate::volume) fn class(&self) -> &Arc<Class> {
        &self.class
    }

    /// What the class asks of its provider.
    pub(in crate::volume) fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// The files of the class, with their modes.
    pub(in crate::volume) fn listing(&self) -> Listing {
        let own = self.source.objects().iter().filter(|object| object.file);
        let own = own.map(|object| (object.path.clone(), object.mode));
        let composed = self.class.settings.files.iter().map(|file| (file.path.clone(), file.mode));
        own.chain(composed).collect()
    }

    /// Why nobody may have these files, if an order takes one of their objects back.
    pub(super) fn revoked_by(&self, orders: &On) -> Option<provider::Error> {
        let mut objects = self.source.objects().iter().enumerate();
        objects.find_map(|(index, object)| {
            Some(orders.of_listed(&*self.source, index)?.error().of(&object.name))
        })
    }

    /// The part of the class that makes the file at `path`: its object, or the objects that it is composed of. `None`
    /// if there is no such file.
    pub(super) fn part(&self, path: &ObjectPath) -> Option<Self> {
        let composed = self.class.settings.files.iter().find(|composed| composed.path == *path);
        let takes = |object: &ObjectRef| match composed {
            Some(composed) => composed.from.iter().any(|(_, name)| *name == object.name),
            None => object.file && object.path == *path,
        };
        let all = self.source.objects().iter().enumerate();
        let (indices, objects): (Vec<_>, Vec<_>) = all
            .filter(|(_, object)| takes(object))
            .map(|(index, object)| (index, ObjectRef { file: composed.is_none(), ..object.clone() }))
            .unzip();
        if objects.is_empty() {
            return None;
        }
        let settings = Settings {
            files: composed.cloned().into_iter().collect(),
            // The file shows what the store says when it is opened. Earlier answers are not kept.
            keep_previous: 0,
            start: Start::Fresh,
            ..self.class.settings.clone()
        };
        let class = Arc::new(Class { settings, ..Class::clone(&self.class) });
        Some(Self {
            class,
            source: Arc::new(Selection { whole: Arc::clone(&self.source), indices, objects }),
        })
    }
}

/// Checks that a mode with these `abilities` can ask for contents when a file is opened. `able` names the modes that
/// can.
///
/// # Errors
///
/// `Invalid`, with the class, the mode and the remedy.
pub(in crate::volume) fn require_asking(
    class: &Class,
    mode: &str,
    abilities: Abilities,
    able: &[&str],
) -> std::result::Result<(), Error> {
    if abilities.asks_when_opened {
        return Ok(());
    }
    let choose = match able {
        [] => String::new(),
        able => format!("write secretfs.dev/mode: {}, or ", able.join(" or ")),
    };
    Err(Error::Invalid(format!(
        "class {}: secretfs.dev/fetch: on-open is not for mode {mode}, which shows files with their contents; \
         {choose}write secretfs.dev/fetch: eager",
        ClassName::from(class)
    )))
}

fn unsuited(class: &Class, why: &str) -> Error {
    Error::Invalid(format!(
        "class {}: secretfs.dev/fetch: on-open is not for this class: {why}; write secretfs.dev/fetch: eager",
        ClassName::from(class)
    ))
}

/// Some objects of a source.
#[derive(Debug)]
struct Selection {
    whole: Arc<dyn Source>,
    /// The index of each of `objects` in `whole`.
    indices: Vec<usize>,
    objects: Vec<ObjectRef>,
}

impl Selection {
    /// The index in `whole`. An unknown index becomes one that no object has.
    fn index(&self, index: usize) -> usize {
        self.indices.get(index).copied().unwrap_or(usize::MAX)
    }
}

#[async_trait]
impl Source for Selection {
    fn store(&self) -> &str {
        self.whole.store()
    }

    fn audience(&self) -> Option<&str> {
        self.whole.audience()
    }

    fn needs_credentials(&self) -> bool {
        self.whole.needs_credentials()
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.objects
    }

    async fn session(&self, workload: &Workload, tenure: Tenure) -> Result<Arc<dyn Session>> {
        self.whole.session(workload, tenure).await
    }

    fn extract(&self, index: usize, reading: &Reading) -> Result<Object> {
        self.whole.extract(self.index(index), reading)
    }

    fn expires(&self, index: usize, reading: &Reading) -> Option<i64> {
        self.whole.expires(self.index(index), reading)
    }

    fn origin(&self, index: usize) -> Origin {
        self.whole.origin(self.index(index))
    }

    fn changes(&self) -> Option<Box<dyn Changes>> {
        self.whole.changes()
    }
}
