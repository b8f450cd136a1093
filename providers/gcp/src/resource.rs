use std::fmt;

use crate::endpoints::Api;

/// Longest id of a project, secret, parameter or version.
const MAX_ID: usize = 255;
/// Longest name of a location, as upstream has it.
const MAX_LOCATION: usize = 30;
/// What full resource names have before them (<https://cloud.google.com/apis/design/resource_names>).
const SERVICES: [&str; 2] = ["//secretmanager.googleapis.com/", "//parametermanager.googleapis.com/"];

/// A version of a secret or of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    kind: Kind,
    project: String,
    /// `None` for a secret that is global; a global parameter is in the location `global`.
    location: Option<String>,
    id: String,
    version: String,
}

/// What is stored there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes of Secret Manager.
    Secret,
    /// A text of Parameter Manager, which is read with the secrets that it refers to.
    Parameter,
}

impl Resource {
    /// The resource that a class, a request or an answer names.
    ///
    /// # Errors
    ///
    /// Why it is none, in one clause.
    pub fn parse(raw: &str) -> Result<Self, &'static str> {
        let name = SERVICES.iter().find_map(|service| raw.strip_prefix(service)).unwrap_or(raw);
        let parts: Vec<&str> = name.split('/').collect();
        let (kind, project, location, id, version) = match parts.as_slice() {
            ["projects", project, "secrets", id, "versions", version] => {
                (Kind::Secret, project, None, id, version)
            }
            ["projects", project, "locations", location, "secrets", id, "versions", version] => {
                (Kind::Secret, project, Some(*location), id, version)
            }
            ["projects", project, "locations", location, "parameters", id, "versions", version] => {
                (Kind::Parameter, project, Some(*location), id, version)
            }
            _ => return Err("it is no version of a secret or of a parameter"),
        };
        if !is_id(project, ".:-") || !is_id(id, "_-") || !is_id(version, "_-") {
            return Err("a part of it is empty, too long or has an odd character");
        }
        // It becomes a part of a host's name.
        if location.is_some_and(|location| !is_location(location)) {
            return Err("its location has more than 30 characters, or others than a-z, 0-9 and -");
        }
        let location = location.map(str::to_owned);
        let [project, id, version] = [project, id, version].map(|part| (*part).to_owned());
        Ok(Self { kind, project, location, id, version })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Who has it.
    pub(crate) fn api(&self) -> Api {
        match self.kind {
            Kind::Secret => Api::SecretManager { location: self.location.clone() },
            Kind::Parameter => {
                Api::ParameterManager { location: self.location.clone().filter(|at| at != "global") }
            }
        }
    }

    /// The path of the call that reads it, below `v1/`.
    /// <https://docs.cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access>,
    /// <https://docs.cloud.google.com/secret-manager/parameter-manager/docs/reference/rest/v1/projects.locations.parameters.versions/render>
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client connects"))]
    pub(crate) fn call(&self) -> String {
        match self.kind {
            Kind::Secret => format!("{self}:access"),
            Kind::Parameter => format!("{self}:render"),
        }
    }

    /// Whether `asked` could have meant this: Google answers with the number of the project and of the version.
    pub(crate) fn answers(&self, asked: &Self) -> bool {
        let is_fixed =
            asked.kind == Kind::Parameter || asked.version.bytes().all(|byte| byte.is_ascii_digit());
        let same = (self.kind, &self.location, &self.id) == (asked.kind, &asked.location, &asked.id);
        same && (!is_fixed || self.version == asked.version)
    }
}

/// The name as the API takes it.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, project, location, id, version } = self;
        write!(f, "projects/{project}")?;
        if let Some(location) = location {
            write!(f, "/locations/{location}")?;
        }
        let kind = match kind {
            Kind::Secret => "secrets",
            Kind::Parameter => "parameters",
        };
        write!(f, "/{kind}/{id}/versions/{version}")
    }
}

pub(crate) fn is_id(part: &str, more: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    (1..=MAX_ID).contains(&part.len()) && part.chars().all(fits) && !part.starts_with('.')
}

pub(crate) fn is_location(part: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edges = !part.starts_with('-') && !part.ends_with('-');
    (1..=MAX_LOCATION).contains(&part.len()) && part.bytes().all(fits) && edges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(raw: &str) -> Resource {
        Resource::parse(raw).unwrap()
    }

    #[test]
    fn a_resource_is_called_at_the_api_that_has_it() {
        for (name, host, action) in [
            ("projects/p1/secrets/api/versions/latest", "secretmanager", ":access"),
            (
                "projects/p1/locations/europe-west3/secrets/db/versions/2",
                "secretmanager.europe-west3.rep",
                ":access",
            ),
            ("projects/p1/locations/global/parameters/app/versions/v1", "parametermanager", ":render"),
            (
                "projects/example.com:p/locations/us-east1/parameters/app/versions/v1",
                "parametermanager.us-east1.rep",
                ":render",
            ),
        ] {
            let resource = parse(name);
            assert_eq!(resource.api().to_string(), host);
            assert_eq!(resource.call(), format!("{name}{action}"));
        }
    }

    #[test]
    fn a_full_resource_name_means_the_same() {
        let name = "projects/p1/secrets/api/versions/latest";
        assert_eq!(parse(&format!("//secretmanager.googleapis.com/{name}")), parse(name));
    }

    #[test]
    fn what_is_no_version_of_a_secret_or_parameter_is_refused() {
        for raw in [
            "",
            "projects/p/secrets/s",
            "projects/p/secrets/s/versions/",
            "projects//secrets/s/versions/1",
            "projects/../secrets/s/versions/1",
            "projects/p/secrets/s/versions/1/x",
            "projects/p/parameters/s/versions/1",
            "projects/p/secrets/s?x/versions/1",
            "projects/p/secrets/s/versions/1:destroy",
            "projects/p/locations/evil.example/secrets/s/versions/1",
            "projects/p/locations/-a/secrets/s/versions/1",
            "projects/p/locations/abcdefghijabcdefghijabcdefghij1/secrets/s/versions/1",
            "http://h/projects/p/secrets/s/versions/1",
        ] {
            assert!(Resource::parse(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn an_answer_is_about_what_was_asked() {
        let latest = parse("projects/p1/secrets/api/versions/latest");
        assert!(parse("projects/123/secrets/api/versions/7").answers(&latest));
        assert!(!parse("projects/123/secrets/other/versions/7").answers(&latest));
        assert!(!parse("projects/123/locations/eu/secrets/api/versions/7").answers(&latest));
        let second = parse("projects/p1/secrets/api/versions/2");
        assert!(!parse("projects/p1/secrets/api/versions/3").answers(&second));
    }

    proptest! {
        #[test]
        fn what_is_accepted_survives_its_text_and_names_no_other_host(
            raw in r"projects/[a-z0-9./:]{0,8}(/locations/[a-z0-9./-]{0,8})?/(secrets|parameters)/[A-Za-z_/-]{0,8}/versions/[a-z0-9:/]{0,4}"
        ) {
            if let Ok(resource) = Resource::parse(&raw) {
                prop_assert_eq!(Resource::parse(&resource.to_string()), Ok(resource.clone()));
                let host = resource.api().to_string();
                prop_assert!(host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b)));
                prop_assert!(resource.call().split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
        }
    }
}
