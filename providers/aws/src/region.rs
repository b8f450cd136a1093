use std::fmt;

use serde::{Deserialize, Serialize};

/// A service of AWS that is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Service {
    SecretsManager,
    Ssm,
    Sts,
    Kms,
}

/// The name of a region, such as `eu-west-1`: it can be part of a host name and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Region(String);

impl Service {
    /// What hosts, signatures and ARNs call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::Ssm => "ssm",
            Self::Sts => "sts",
            Self::Kms => "kms",
        }
    }

    /// What stands before the operation in the header that names it.
    pub(crate) fn target(self) -> &'static str {
        match self {
            Self::Ssm => "AmazonSSM",
            Self::Kms => "TrentService",
            Self::SecretsManager | Self::Sts => "secretsmanager",
        }
    }

    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::SecretsManager => "Secrets Manager",
            Self::Ssm => "Parameter Store",
            Self::Sts => "STS",
            Self::Kms => "KMS",
        }
    }
}

impl Region {
    /// `None` if it is no such name.
    pub(crate) fn new(raw: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = (2..=32).contains(&raw.len())
            && raw.bytes().all(plain)
            && raw.starts_with(|first: char| first.is_ascii_lowercase())
            && !raw.ends_with('-');
        is_name.then(|| Self(raw.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Where `service` is in this region; see
    /// <https://docs.aws.amazon.com/general/latest/gr/rande.html> and <https://aws.amazon.com/compliance/fips/>.
    pub(crate) fn address(&self, service: Service, fips: bool) -> String {
        // In these regions the plain endpoints of STS and of the Parameter Store are the validated ones.
        let is_validated = self.0.starts_with("us-gov-") && matches!(service, Service::Sts | Service::Ssm);
        let kind = if fips && !is_validated { "-fips" } else { "" };
        format!("https://{}{kind}.{self}.{}", service.name(), self.suffix())
    }

    /// The domain of the partition that the region is in.
    fn suffix(&self) -> &'static str {
        const PARTITIONS: [(&str, &str); 5] = [
            ("cn-", "amazonaws.com.cn"),
            ("us-iso-", "c2s.ic.gov"),
            ("us-isob-", "sc2s.sgov.gov"),
            ("us-isof-", "csp.hci.ic.gov"),
            ("eusc-", "amazonaws.eu"),
        ];
        let partition = PARTITIONS.iter().find(|(begin, _)| self.0.starts_with(begin));
        partition.map_or("amazonaws.com", |(_, suffix)| suffix)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_part_of_a_host_name_and_nothing_else() {
        for raw in ["eu-west-1", "us-gov-east-1", "cn-north-1", "eusc-de-east-1"] {
            assert_eq!(Region::new(raw).unwrap().as_str(), raw);
        }
        for raw in [
            "",
            "a",
            "eu west",
            "EU-WEST-1",
            "eu-west-1.evil.test",
            "eu-west-1/",
            "1-x",
            "a-",
            "ü-1",
            "eu\n1",
        ] {
            assert_eq!(Region::new(raw), None, "{raw:?}");
        }
    }

    #[test]
    fn each_partition_has_its_domain_and_validated_endpoints_their_names() {
        let address = |region: &str, service, fips| Region::new(region).unwrap().address(service, fips);

        assert_eq!(address("eu-west-1", Service::Sts, false), "https://sts.eu-west-1.amazonaws.com");
        assert_eq!(address("cn-north-1", Service::Ssm, false), "https://ssm.cn-north-1.amazonaws.com.cn");
        assert_eq!(
            address("us-east-1", Service::SecretsManager, true),
            "https://secretsmanager-fips.us-east-1.amazonaws.com"
        );
        assert_eq!(address("us-gov-west-1", Service::Sts, true), "https://sts.us-gov-west-1.amazonaws.com");
    }
}
