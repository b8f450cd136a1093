use kube::api::{ListParams, ObjectList};

/// Most objects in one answer.
const PAGE: u32 = 500;

/// The objects of a list that comes in pages. Calls `list` for one page after the other, for at most `most` pages.
///
/// # Errors
///
/// The first error of `list`.
pub(super) async fn all<K: Clone, E, F>(most: usize, list: impl Fn(ListParams) -> F) -> Result<Vec<K>, E>
where
    F: Future<Output = Result<ObjectList<K>, E>>,
{
    let (mut found, mut params) = (Vec::new(), ListParams::default().limit(PAGE));
    for _ in 0..most {
        let page = list(params.clone()).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => break,
        }
    }
    Ok(found)
}
