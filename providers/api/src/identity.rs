use std::fmt;

/// Whom a secret is read for: a service account. One that was deleted and made again is another, with
/// another uid.
///
/// Two are the same only if all three are: an identity whose uid is not known shares nothing with one
/// whose uid is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Namespace of the pod; on a plain host the class's own.
    pub namespace: String,
    /// Name of the pod's service account; empty where there is none.
    pub name: String,
    /// Uid of the service account, as the token tells that kubelet brought. Nobody has checked who signed it, but it
    /// names the pod by the uid that kubelet vouches for, which nobody can know who writes the pod. `None` where
    /// kubelet brings none: it is not known then.
    pub uid: Option<String>,
}

impl Identity {
    /// The service account `name` of which no more is known.
    pub fn named(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), uid: None }
    }
}

/// `namespace/name (uid)`, or `namespace/name` where the uid is not known: different identities have
/// different texts.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        match &self.uid {
            Some(uid) => write!(f, " ({uid})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_was_made_again_is_another_and_one_without_a_uid_is_neither() {
        let unknown = Identity::named("shop", "till");
        let old = Identity { uid: Some("1".to_owned()), ..unknown.clone() };
        let new = Identity { uid: Some("2".to_owned()), ..unknown.clone() };

        assert!(old != new && old != unknown && new != unknown);
        let texts = [&unknown, &old, &new].map(ToString::to_string);
        assert_eq!(texts, ["shop/till", "shop/till (1)", "shop/till (2)"]);
    }
}
