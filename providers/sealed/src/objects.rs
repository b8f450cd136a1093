//! Parses the `objects` of a class.

use manifest::objects::{self, ObjectExtras, Position};
use manifest::yaml::NumericMode;
use provider::{Invalid, ObjectRef, Request};
use serde::Deserialize;

use crate::declaration::DECLARATION;
use crate::text::SealedText;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    object_name: String,
    sealed: String,
    file_permission: Option<NumericMode>,
    #[serde(flatten)]
    extras: ObjectExtras,
}

/// An object's name in the class, with the text that it shows.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) object: String,
    pub(crate) text: SealedText,
}

/// The objects that `text` lists, each with what it shows. Their requests are still empty.
///
/// # Errors
///
/// Every fault.
pub(crate) fn read(text: &str) -> Result<(Vec<ObjectRef>, Vec<Shown>), Vec<Invalid>> {
    objects::read(text, DECLARATION.object, understand)
}

fn understand(at: Position<'_>, written: Written) -> Result<(Vec<ObjectRef>, Shown), Vec<Invalid>> {
    let mut faults: Vec<_> = at.undeclared().collect();
    let Written { object_name, sealed, file_permission, extras } = written;
    let text = SealedText::parse(&sealed).map_err(|why| {
        faults.push(at.refuse("sealed", why, "write what `secretfs seal` prints, as it is"));
    });
    match (at.path("objectName", &object_name), text) {
        (Ok(path), Ok(text)) if faults.is_empty() => {
            let shown = Shown { object: object_name.clone(), text };
            let objects = extras.objects(at, object_name, path, file_permission, Request::shared(""))?;
            Ok((objects, shown))
        }
        (path, _) => {
            faults.extend(path.err());
            Err(faults)
        }
    }
}
