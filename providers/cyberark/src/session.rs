use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use provider::{Error, ErrorKind, Reading, Request, Result, Session};
use provider_client::Connection;
use reqwest::Method;

use crate::answer::Account;
use crate::meaning::changing;
use crate::query::Search;
use crate::servers::{error, refusal};

/// How often an account is asked for while its password is being changed.
pub const ATTEMPTS: usize = 3;

/// The way of an application to its accounts. Each call is by its certificate, so there is no login.
pub(crate) struct CyberArkSession {
    pub(crate) identity: String,
    pub(crate) application: String,
    pub(crate) web_service: String,
    pub(crate) connection: Arc<Connection>,
    pub(crate) pause: Duration,
}

impl fmt::Debug for CyberArkSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CyberArkSession({})", self.identity)
    }
}

#[async_trait]
impl Session for CyberArkSession {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let foreign = || Error::new(ErrorKind::Invalid, "the request is none of this provider's");
        let search = Search::of_request(request).ok_or_else(foreign)?;
        for attempt in 1..=ATTEMPTS {
            if let Some(reading) = self.ask(&search).await? {
                return Ok(reading);
            }
            if attempt < ATTEMPTS {
                tokio::time::sleep(self.pause).await;
            }
        }
        Err(changing(&self.what(&search)))
    }
}

impl CyberArkSession {
    /// One call; `None` if the password is being changed.
    /// <https://docs.cyberark.com/credential-providers/latest/en/content/ccp/calling-the-web-service-using-rest.htm>
    async fn ask(&self, search: &Search) -> Result<Option<Reading>> {
        let what = self.what(search);
        let mut url = self.connection.url([&*self.web_service, "api", "Accounts"])?;
        url.query_pairs_mut()
            .append_pair("AppID", &self.application)
            .extend_pairs(&search.0)
            .append_pair("FailRequestOnPasswordChange", "false");
        let request = self.connection.request(Method::GET, url).header("accept", "application/json");
        let answer = self.connection.call(&what, request).await?;
        if !answer.is_success() {
            let is_changing = refusal(&answer).is_changing();
            return if is_changing { Ok(None) } else { Err(error(&answer, &what)) };
        }
        let account = Account::of(&answer.body).filter(|account| account.fits(search));
        let is_changing = account.ok_or_else(|| nonsense(&what))?.is_changing();
        Ok((!is_changing).then(|| Reading::new(answer.body)))
    }

    fn what(&self, search: &Search) -> String {
        format!("account {search} as {}", self.identity)
    }
}

fn nonsense(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: the answer is about no such account"))
        .remedy("are url and webService right, and what is on the way there?")
}
