use std::fmt;

use provider_client::Tls;
use serde::{Deserialize, Serialize};

/// The address of a server, and how to verify the server.
///
/// It holds the names of files, not their contents, and no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Server {
    /// The address without a slash at its end; `unix:///path` for a local agent.
    pub(crate) address: String,
    pub(crate) namespace: Option<String>,
    pub(crate) tls: Tls,
}

/// Everything that decides which server answers. Also shown in messages.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " namespace {namespace}")?;
        }
        write!(f, "{}", self.tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_servers_that_are_verified_differently_are_two_stores() {
        let plain = Server { address: "https://h".to_owned(), namespace: None, tls: Tls::default() };
        let mut trusting = plain.clone();
        trusting.tls.skip_verify = true;
        assert_ne!(plain.to_string(), trusting.to_string());
    }
}
