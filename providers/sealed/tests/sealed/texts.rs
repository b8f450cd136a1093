//! Sealed texts of one class, and what a source reads of them.

use provider::{Object, Result, Source, Tenure, Workload};
use provider_sealed::{Place, SealedText};

/// The place of `object` in the class that most tests seal for.
pub(crate) fn place(object: &str) -> Place {
    Place {
        environment: "production".to_owned(),
        namespace: "shop".to_owned(),
        class: "till".to_owned(),
        object: object.to_owned(),
    }
}

/// The list of a class with these objects.
pub(crate) fn objects(texts: &[(&str, &SealedText)]) -> String {
    let object = |(name, text): &(&str, &SealedText)| {
        format!("- objectName: {name}\n  sealed: |\n    {}\n", text.lines().join("\n    "))
    };
    texts.iter().map(object).collect()
}

pub(crate) fn changed(text: &SealedText, change: impl FnOnce(&mut SealedText)) -> SealedText {
    let mut text = text.clone();
    change(&mut text);
    text
}

/// The object at `index`, as `workload` reads it.
pub(crate) async fn read(source: &dyn Source, workload: &Workload, index: usize) -> Result<Object> {
    let session = source.session(workload, Tenure::Shared).await?;
    source.extract(index, &session.read(&source.objects()[index].request).await?)
}
