//! Who vouches for a pod's token at Google.

/// What full resource names of pools have before them, as classes may write it.
const IAM: [&str; 3] = ["//iam.googleapis.com/", "https://iam.googleapis.com/", ""];
/// Longest text of an audience.
const MAX_AUDIENCE: usize = 512;

/// An exchange of a pod's token for one of Google's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Federation {
    /// Whom Google is to ask, as the exchange takes it.
    pub(crate) exchange: String,
    /// The audience of the pod's token.
    pub(crate) audience: String,
    /// Whether Google sees the service account and nothing else of the token.
    pub(crate) judges_accounts: bool,
}

impl Federation {
    /// The exchange by `provider`: a provider of workload identity federation
    /// (<https://docs.cloud.google.com/iam/docs/workload-identity-federation-with-kubernetes>), or whoever signs the
    /// tokens of a GKE cluster or of a fleet, whose identity namespace is `pool`
    /// (<https://docs.cloud.google.com/kubernetes-engine/fleet-management/docs/use-workload-identity>).
    ///
    /// # Errors
    ///
    /// Why there is none, in one clause.
    pub(crate) fn new(provider: &str, pool: Option<&str>) -> Result<Self, &'static str> {
        if provider.len() > MAX_AUDIENCE || !provider.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it has a space or an odd character, or is too long");
        }
        match IAM.iter().find_map(|prefix| provider.strip_prefix(prefix).filter(|name| is_of_pool(name))) {
            Some(name) => {
                let audience = format!("//iam.googleapis.com/{name}");
                Ok(Self { exchange: audience.clone(), audience, judges_accounts: false })
            }
            None if IAM.iter().any(|prefix| !prefix.is_empty() && provider.starts_with(prefix)) => {
                Err("it is no full name of a provider of a workload identity pool")
            }
            None => Self::of_namespace(provider, pool),
        }
    }

    fn of_namespace(provider: &str, pool: Option<&str>) -> Result<Self, &'static str> {
        let derived = project(provider).map(|project| format!("{project}.svc.id.goog"));
        let pool = pool.map(str::to_owned).or(derived);
        let pool = pool.ok_or(
            "it is no provider of a workload identity pool, and no cluster whose URL tells the project",
        )?;
        let exchange = format!("identitynamespace:{pool}:{provider}");
        Ok(Self { exchange, audience: pool, judges_accounts: true })
    }
}

/// `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.
fn is_of_pool(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let is_named = |part: &str| !part.is_empty();
    matches!(parts.as_slice(), ["projects", number, "locations", "global", "workloadIdentityPools", pool, "providers", provider]
        if is_named(number) && is_named(pool) && is_named(provider))
}

/// The project of `https://container.googleapis.com/v1/projects/PROJECT/locations/…`, or of such a URL of a fleet.
fn project(provider: &str) -> Option<&str> {
    let rest = provider.strip_prefix("https://")?;
    let (_, rest) = rest.split_once("/projects/")?;
    rest.split('/').next().filter(|project| !project.is_empty())
}

/// Whether a text may be an identity namespace.
pub(crate) fn is_pool(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVIDER: &str = "projects/1/locations/global/workloadIdentityPools/pool/providers/shop";
    const CLUSTER: &str =
        "https://container.googleapis.com/v1/projects/shop-prod/locations/europe-west3/clusters/c1";

    #[test]
    fn a_federation_is_asked_by_the_full_name_of_its_provider_however_it_is_written() {
        for written in ["//iam.googleapis.com/", "https://iam.googleapis.com/", ""] {
            let federation = Federation::new(&format!("{written}{PROVIDER}"), None).unwrap();
            let name = format!("//iam.googleapis.com/{PROVIDER}");
            assert_eq!(
                federation,
                Federation { exchange: name.clone(), audience: name, judges_accounts: false }
            );
        }
    }

    #[test]
    fn a_cluster_is_asked_by_its_identity_namespace() {
        let cluster = Federation::new(CLUSTER, None).unwrap();
        assert_eq!(cluster.exchange, format!("identitynamespace:shop-prod.svc.id.goog:{CLUSTER}"));
        assert_eq!(cluster.audience, "shop-prod.svc.id.goog");
        assert!(cluster.judges_accounts);
        let other = Federation::new(CLUSTER, Some("fleet.svc.id.goog")).unwrap();
        assert_eq!(other.audience, "fleet.svc.id.goog");
    }

    #[test]
    fn what_names_neither_is_refused() {
        for provider in [
            "shop",
            "https://container.googleapis.com/v1",
            "a b",
            "//iam.googleapis.com/x",
            "é",
            "https://iam.googleapis.com/projects/1/x",
        ] {
            assert!(Federation::new(provider, None).is_err(), "{provider}");
        }
    }
}
