//! Which account is asked for.

use provider::Request;
use serde::{Deserialize, Serialize};

/// The search of one account, by the names that CCP has for its parts. At most one account may fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Search(pub(crate) Vec<(String, String)>);

impl Search {
    /// As a request: JSON.
    pub(crate) fn request(&self) -> Option<Request> {
        serde_json::to_string(self).ok().map(Request::shared)
    }

    pub(crate) fn of_request(request: &Request) -> Option<Self> {
        serde_json::from_str(&request.text).ok()
    }

    /// The part called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// For messages, in the form of CyberArk's own queries.
impl std::fmt::Display for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&parts.join(";"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_written_and_read_alike() {
        let search =
            Search(vec![("Safe".to_owned(), "Shop".to_owned()), ("Object".to_owned(), "a;b".to_owned())]);
        assert_eq!(Search::of_request(&search.request().unwrap()), Some(search.clone()));
        assert_eq!((search.get("Safe"), search.get("Folder")), (Some("Shop"), None));
        assert_eq!(search.to_string(), "Safe=Shop;Object=a;b");
        assert_eq!(Search::of_request(&Request::shared("x")), None);
    }
}
