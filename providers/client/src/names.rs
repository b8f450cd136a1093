/// What a store's settings are called, for remedies: a reader is told what to set in the words of the class or the
/// command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// Where the server is, such as `vaultAddress`.
    pub address: &'static str,
    /// Whether that may be `http://`.
    pub may_be_plain: bool,
    /// Whom to believe, such as `vaultCACertPath`.
    pub authorities: &'static str,
    /// The text that is given there: `the file of authorities`, or the setting itself where there is but one.
    pub given_authorities: &'static str,
    /// The name to expect in the server's certificate, where it can be set.
    pub server_name: Option<&'static str>,
    /// The client certificate and its key, where they can be set.
    pub client_pair: Option<[&'static str; 2]>,
}

impl Names {
    /// Those of a store whose classes set where it is, over HTTP too, and the file of authorities, and nothing else.
    pub const fn new(address: &'static str, authorities: &'static str) -> Self {
        Self {
            address,
            may_be_plain: true,
            authorities,
            given_authorities: "the file of authorities",
            server_name: None,
            client_pair: None,
        }
    }
}

/// Those of a store that has nothing to set but its address and its authorities.
#[cfg(test)]
pub(crate) const FEW: Names = Names {
    address: "address",
    may_be_plain: false,
    authorities: "ca",
    given_authorities: "ca",
    server_name: None,
    client_pair: None,
};
