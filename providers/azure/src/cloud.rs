use provider_client::plain_address;

use crate::config::AzureConfig;

/// Where one cloud's vaults and tokens are.
///
/// The hosts are those of
/// [azure-sdk-for-go](https://pkg.go.dev/github.com/Azure/go-autorest/autorest/azure#Environment), from which upstream's
/// provider takes them too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cloud {
    /// URL of Entra ID, without a slash at its end.
    pub(crate) authority: String,
    /// URL of a vault; [`NAME`] stands for its name.
    vault: String,
    /// What access tokens are for, without `/.default`.
    pub(crate) resource: String,
}

/// Stands for the name of a vault.
pub(crate) const NAME: &str = "NAME";

/// What the public clouds are called, with the hosts of Entra ID and of vaults.
const CLOUDS: [(&str, &str, &str); 4] = [
    (PUBLIC, "login.microsoftonline.com", "vault.azure.net"),
    ("AzureUSGovernmentCloud", "login.microsoftonline.us", "vault.usgovcloudapi.net"),
    ("AzureChinaCloud", "login.chinacloudapi.cn", "vault.azure.cn"),
    ("AzureGermanCloud", "login.microsoftonline.de", "vault.microsoftazure.de"),
];
/// The one where nothing else is said.
pub(crate) const PUBLIC: &str = "AzurePublicCloud";
/// One that only settings describe.
pub(crate) const PRIVATE: &str = "AzureStackCloud";

impl Cloud {
    /// The cloud that a class calls `name`; where it calls none, the node's. What the administrator set is about the
    /// node's cloud only.
    ///
    /// # Errors
    ///
    /// Why there is none, and the remedy.
    pub(crate) fn of(name: Option<&str>, config: &AzureConfig) -> Result<Self, (String, &'static str)> {
        let name = name.unwrap_or(&config.cloud);
        // In any case, as upstream has it.
        let is_called = |known: &str| known.eq_ignore_ascii_case(name);
        let known = CLOUDS.iter().find(|(known, ..)| is_called(known));
        if known.is_none() && !is_called(PRIVATE) {
            return Err((
                "it is no cloud that we know".to_owned(),
                "write AzurePublicCloud, AzureUSGovernmentCloud, AzureChinaCloud, AzureGermanCloud or AzureStackCloud",
            ));
        }
        let set = |setting: &Option<String>| setting.clone().filter(|_| is_called(&config.cloud));
        let authority = set(&config.authority).or(known.map(|(_, host, _)| format!("https://{host}")));
        let vault = set(&config.vault_url).or(known.map(|(.., host)| format!("https://{NAME}.{host}")));
        let resource = set(&config.vault_audience).or(known.map(|(.., host)| format!("https://{host}")));
        match (authority, vault, resource) {
            (Some(authority), Some(vault), Some(resource)) => {
                Ok(Self { authority: authority.trim_end_matches('/').to_owned(), vault, resource })
            }
            _ => Err((
                "this node does not know a private cloud".to_owned(),
                "have the administrator set --azure-cloud AzureStackCloud with --azure-authority, --azure-vault-url and \
                 --azure-vault-audience",
            )),
        }
    }

    /// The URL of the vault that is called `name`.
    ///
    /// # Errors
    ///
    /// Why it is no name.
    pub(crate) fn vault(&self, name: &str) -> Result<String, &'static str> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(3..=24).contains(&name.len()) || !name.bytes().all(plain) {
            return Err("a vault's name has 3 to 24 letters, digits and hyphens");
        }
        plain_address(&self.vault.replace(NAME, name))
    }

    /// What a token is asked for, as Entra ID takes it.
    pub(crate) fn scope(&self) -> String {
        format!("{}/.default", self.resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: Option<&str>, config: &AzureConfig) -> Cloud {
        Cloud::of(name, config).unwrap()
    }

    #[test]
    fn each_cloud_has_its_own_vaults_and_authority() {
        let config = AzureConfig::default();
        for (name, vault, authority) in [
            (None, "https://shop-kv.vault.azure.net", "https://login.microsoftonline.com"),
            (
                Some("AZUREUSGOVERNMENTCLOUD"),
                "https://shop-kv.vault.usgovcloudapi.net",
                "https://login.microsoftonline.us",
            ),
            (Some("AzureChinaCloud"), "https://shop-kv.vault.azure.cn", "https://login.chinacloudapi.cn"),
        ] {
            let cloud = of(name, &config);
            assert_eq!(
                (cloud.vault("shop-kv").unwrap().as_str(), cloud.authority.as_str()),
                (vault, authority)
            );
        }
        assert_eq!(of(None, &config).scope(), "https://vault.azure.net/.default");
        assert!(Cloud::of(Some("Mars"), &config).is_err());
    }

    #[test]
    fn what_the_administrator_sets_is_about_the_nodes_own_cloud() {
        let config = AzureConfig {
            cloud: PRIVATE.to_owned(),
            authority: Some("https://login.local/".to_owned()),
            vault_url: Some("https://NAME.vault.local".to_owned()),
            vault_audience: Some("https://vault.local".to_owned()),
            ..AzureConfig::default()
        };

        let own = of(None, &config);
        assert_eq!(own.vault("abc").unwrap(), "https://abc.vault.local");
        assert_eq!(
            (own.authority.as_str(), own.scope().as_str()),
            ("https://login.local", "https://vault.local/.default")
        );
        assert_eq!(of(Some(PUBLIC), &config), of(None, &AzureConfig::default()));
        assert!(Cloud::of(Some(PRIVATE), &AzureConfig::default()).is_err());
    }

    #[test]
    fn a_vaults_name_leads_nowhere_else() {
        let cloud = of(None, &AzureConfig::default());
        for name in ["", "ab", "a.b.c", "a/b/c", "evil.example/#", "name@evil", "a b c", &"x".repeat(25)] {
            assert!(cloud.vault(name).is_err(), "{name}");
        }
    }
}
