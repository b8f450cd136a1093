//! The secrets that a filter finds, each with its newest value.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use provider::{Error, ErrorKind, Leaf, Reading, Result, Tree};

use crate::answer::{self, SecretPage};
use crate::client::servers::Message;
use crate::client::session::GcpSession;
use crate::listed::Sought;
use crate::meaning::Asked;

/// Secrets of one page.
/// <https://docs.cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/list>
const OF_A_PAGE: &str = "250";
/// Most pages: Google may send any that is not full.
const MOST_PAGES: usize = 20;
/// Values that are read at one time: each is a call, and the engine waits for all of them no longer than for one.
const AT_ONCE: usize = 8;

impl GcpSession {
    /// All that `sought` finds.
    pub(super) async fn listing(&self, sought: &Sought) -> Result<Reading> {
        let leaves = self.ids(sought).await?.into_iter().map(|id| self.leaf(sought, id));
        let leaves: Vec<_> = stream::iter(leaves).buffered(AT_ONCE).try_collect().await?;
        Leaf::pack(&leaves, sought.most)
    }

    async fn leaf(&self, sought: &Sought, id: String) -> Result<Leaf> {
        let resource = sought.secret(&id).ok_or_else(|| self.no_list(sought))?;
        Leaf::of(id, resource.to_string(), self.value(&resource).await)
    }

    async fn ids(&self, sought: &Sought) -> Result<Vec<String>> {
        let (mut ids, mut token) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let page = self.page(sought, &token).await?;
            ids.extend(page.ids);
            if ids.len() > sought.most {
                return Err(Tree::overfull(sought.most));
            }
            if page.next.is_empty() {
                ids.sort();
                return Ok(ids);
            }
            token = page.next;
        }
        let text = format!("{}: the listing has too many pages", self.what(sought));
        Err(Error::new(ErrorKind::Invalid, text).remedy("write a narrower filter"))
    }

    async fn page(&self, sought: &Sought, token: &str) -> Result<SecretPage> {
        let what = self.what(sought);
        let path = format!("v1/{}/secrets", sought.parent);
        let query = [("filter", sought.filter.as_str()), ("pageSize", OF_A_PAGE), ("pageToken", token)];
        let message = Message::get(&what, Asked::Read, &path).token(&self.token).query(&query);
        let api = sought.secret("a").ok_or_else(|| self.no_list(sought))?.api();
        let body = self.servers.ask(&self.tenant, &self.endpoints, &api, message, &[&self.token]).await;
        let body = body.map_err(|error| match error.kind() {
            ErrorKind::Denied => {
                error.remedy("allow secretmanager.secrets.list in the project (Secret Manager Viewer)")
            }
            _ => error,
        })?;
        answer::secrets(&body).ok_or_else(|| self.no_list(sought))
    }

    fn what(&self, sought: &Sought) -> String {
        format!("secrets of {} with {} as {}", sought.parent, sought.filter, self.identity)
    }

    fn no_list(&self, sought: &Sought) -> Error {
        let text = format!("{}: the answer is no list of secrets", self.what(sought));
        Error::new(ErrorKind::Unavailable, text).remedy("is endpoint right, and what is on the way there?")
    }
}
