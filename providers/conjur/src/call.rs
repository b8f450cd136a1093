//! What one request asks for.

use provider::Request;

/// Which value of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The newest, without its number.
    Newest,
    /// The newest, with its number.
    Numbered,
    /// The one of that number.
    Version(u64),
}

/// One value of one variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) which: Which,
    pub(crate) variable: String,
}

impl Call {
    /// As a request: `newest shop/db/url`, `numbered shop/db/url` or `3 shop/db/url`.
    pub(crate) fn request(&self) -> Request {
        let Self { which, variable } = self;
        Request::shared(match which {
            Which::Newest => format!("newest {variable}"),
            Which::Numbered => format!("numbered {variable}"),
            Which::Version(version) => format!("{version} {variable}"),
        })
    }

    pub(crate) fn of_request(request: &Request) -> Option<Self> {
        let (which, variable) = request.text.split_once(' ')?;
        let which = match which {
            "newest" => Which::Newest,
            "numbered" => Which::Numbered,
            version => Which::Version(version.parse().ok()?),
        };
        Some(Self { which, variable: variable.to_owned() })
    }

    /// Whether it may go into one call with others. The server splits their ids at commas.
    pub(crate) fn goes_with_others(&self) -> bool {
        self.which == Which::Newest && !self.variable.contains(',')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_and_read_alike() {
        for which in [Which::Newest, Which::Numbered, Which::Version(3)] {
            let call = Call { which, variable: "shop/my db".to_owned() };
            assert_eq!(Call::of_request(&call.request()), Some(call));
        }
        for text in ["", "newest", "some shop/db"] {
            assert_eq!(Call::of_request(&Request::shared(text)), None, "{text:?}");
        }
    }

    #[test]
    fn what_has_a_comma_or_a_number_is_read_alone() {
        let alone = |which, variable: &str| !Call { which, variable: variable.to_owned() }.goes_with_others();
        assert!(alone(Which::Newest, "a,b") && alone(Which::Numbered, "a") && alone(Which::Version(1), "a"));
        assert!(!alone(Which::Newest, "a"));
    }
}
