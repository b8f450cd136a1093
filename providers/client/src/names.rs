/// The names of a store's settings, for remedies: messages name the setting as the class or the command line spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// The setting for the server's address, such as `vaultAddress`.
    pub address: &'static str,
    /// Whether the address may be `http://`.
    pub may_be_plain: bool,
    /// The setting for the certificate authorities, such as `vaultCACertPath`.
    pub authorities: &'static str,
    /// How messages call the value of that setting: `the file of authorities`, or the setting itself if there is only
    /// one.
    pub given_authorities: &'static str,
    /// The setting for the name in the server's certificate, if there is one.
    pub server_name: Option<&'static str>,
    /// The settings for the client certificate and its key, if there are any.
    pub client_pair: Option<[&'static str; 2]>,
}

impl Names {
    /// Names for a store whose classes set only its address, which may be HTTP, and the file of authorities.
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

/// Names for a store that has only settings for its address and its authorities.
#[cfg(test)]
pub(crate) const FEW: Names = Names {
    address: "address",
    may_be_plain: false,
    authorities: "ca",
    given_authorities: "ca",
    server_name: None,
    client_pair: None,
};
