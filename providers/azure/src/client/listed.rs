//! The secrets of a vault that have certain tags, each with its value.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use provider::{Error, ErrorKind, Leaf, Moment as _, Reading, Result, Tree};
use tokio::time::Instant;

use crate::answer::{self, ListedSecret, SecretPage};
use crate::call::{Call, Sought};
use crate::client::session::{AzureSession, LONGEST_HISTORY};

/// Most pages of 25 that are looked through: a vault cannot be asked for tags, so all its secrets are listed.
const MOST_PAGES: usize = 100;
/// Values that are read at one time: each is a call, and the engine waits for all of them no longer than for one.
const AT_ONCE: usize = 8;

impl AzureSession {
    /// All that `call` lists.
    pub(super) async fn listing(&self, call: &Call, sought: &Sought) -> Result<Reading> {
        let end = Instant::now().later(LONGEST_HISTORY);
        self.until(end, call, self.with_values(call, sought)).await
    }

    async fn with_values(&self, call: &Call, sought: &Sought) -> Result<Reading> {
        let names = self.names(call, sought).await?;
        let leaves = names.into_iter().map(|name| self.leaf(call, sought, name));
        let leaves: Vec<_> = stream::iter(leaves).buffered(AT_ONCE).try_collect().await?;
        Leaf::pack(&leaves, sought.most)
    }

    async fn leaf(&self, call: &Call, sought: &Sought, name: String) -> Result<Leaf> {
        let one = Call { name: name.clone(), sought: None, ..call.clone() };
        let read = self.fetch(&one).await;
        let found = read.and_then(|read| answer::listed(&one, sought.drops_expired, &read, Timestamp::now()));
        Leaf::of(name, format!("secrets/{}", one.name), found)
    }

    async fn names(&self, call: &Call, sought: &Sought) -> Result<Vec<String>> {
        let (mut names, mut query) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let answer = self.ask(call, &["secrets"], &query).await?;
            if !answer.is_success() {
                return Err(unlisted(self.refused(&answer, call)));
            }
            let page = SecretPage::of(&answer.body).ok_or_else(|| self.no_list(call))?;
            let wanted = page.secrets.into_iter().filter(|secret| has_tags(secret, sought));
            names.extend(wanted.map(|secret| secret.name));
            if names.len() > sought.most {
                return Err(Tree::overfull(sought.most));
            }
            if page.next.is_empty() {
                names.sort();
                return Ok(names);
            }
            if page.next == query {
                return Err(self.no_list(call));
            }
            query = page.next;
        }
        let text = format!("{}: the vault has more than {} secrets", self.what(call), MOST_PAGES * 25);
        Err(Error::new(ErrorKind::Invalid, text)
            .remedy("list the secrets by name, or keep them in another vault"))
    }

    fn no_list(&self, call: &Call) -> Error {
        let text = format!("{}: the answer is no list of secrets", self.what(call));
        Error::new(ErrorKind::Unavailable, text).remedy("is keyvaultURL right, and is this a proxy's page?")
    }
}

fn unlisted(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Denied => {
            error.remedy("allow it to list secrets (Key Vault Secrets User, or the right list)")
        }
        _ => error,
    }
}

fn has_tags(secret: &ListedSecret, sought: &Sought) -> bool {
    sought.tags.are_all(|key, value| {
        let found = secret.tags.get(key);
        found.is_some_and(|found| value.is_none_or(|value| found == value))
    })
}
