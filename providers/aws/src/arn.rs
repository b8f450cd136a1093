use crate::region::Service;

/// An ARN of something that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arn<'a> {
    pub(crate) service: Service,
    pub(crate) region: &'a str,
}

/// Whether `name` is meant as an ARN.
pub(crate) fn is_arn(name: &str) -> bool {
    name.starts_with("arn:")
}

impl<'a> Arn<'a> {
    /// A secret's or a parameter's ARN.
    ///
    /// # Errors
    ///
    /// Why it is none, in one clause.
    pub(crate) fn new(raw: &'a str) -> Result<Self, &'static str> {
        let mut parts = raw.splitn(6, ':');
        let mut next = || parts.next().unwrap_or_default();
        let (_arn, partition, service, region, account) = (next(), next(), next(), next(), next());
        let resource = next();
        if partition.is_empty() || account.is_empty() || region.is_empty() {
            return Err("it is no whole ARN");
        }
        let (service, begin) = match service {
            "secretsmanager" => (Service::SecretsManager, "secret:"),
            "ssm" => (Service::Ssm, "parameter/"),
            _ => return Err("it is an ARN of neither secretsmanager nor ssm"),
        };
        let is_whole = resource.strip_prefix(begin).is_some_and(|name| !name.is_empty());
        if is_whole {
            Ok(Self { service, region })
        } else {
            Err("it is an ARN of no secret and no parameter")
        }
    }
}

/// Whether `raw` can be the ARN of a role.
pub(crate) fn is_role(raw: &str) -> bool {
    let parts: Vec<_> = raw.splitn(6, ':').collect();
    let [arn, partition, service, _, account, role] = parts.as_slice() else { return false };
    *arn == "arn"
        && partition.starts_with("aws")
        && *service == "iam"
        && account.len() == 12
        && account.bytes().all(|digit| digit.is_ascii_digit())
        && role.strip_prefix("role/").is_some_and(|name| !name.is_empty())
        && raw.len() <= 2048
        && raw.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_tells_its_service_and_its_region() {
        assert_eq!(
            Arn::new("arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/rds-a1b2c3"),
            Ok(Arn { service: Service::SecretsManager, region: "eu-west-1" })
        );
        assert_eq!(
            Arn::new("arn:aws-cn:ssm:cn-north-1:111122223333:parameter/shop/pin"),
            Ok(Arn { service: Service::Ssm, region: "cn-north-1" })
        );
        for raw in [
            "arn:",
            "arn:aws:s3:::bucket/key",
            "arn:aws:s3:eu-west-1:1:key",
            "arn:aws:ssm:eu-west-1:1:document/x",
            "arn:aws:ssm:eu-west-1:1:parameter/",
            "arn:aws:secretsmanager::1:secret:a",
        ] {
            assert!(Arn::new(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn a_role_is_known_by_its_arn() {
        assert!(
            is_role("arn:aws:iam::111122223333:role/shop")
                && is_role("arn:aws-cn:iam::111122223333:role/a/b")
        );
        for raw in [
            "",
            "shop",
            "arn:aws:iam::1:role/x",
            "arn:aws:iam::111122223333:user/x",
            "arn:aws:iam::111122223333:role/a b",
        ] {
            assert!(!is_role(raw), "{raw}");
        }
    }
}
