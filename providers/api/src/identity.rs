use std::fmt;

/// The service account for which a secret is read. An account that was deleted and created again has another uid, and
/// is another identity.
///
/// Two identities are the same only if all three fields are equal. So an identity without a known uid shares nothing
/// with an identity that has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Namespace of the pod; on a plain host the namespace of the class.
    pub namespace: String,
    /// Name of the pod's service account; empty if there is none.
    pub name: String,
    /// Uid of the service account, from the token that kubelet sent. Nobody has verified the token's signature. But the
    /// token names the pod by the uid that kubelet vouches for, and the author of a pod cannot know that uid in
    /// advance. `None` if kubelet sent no token: then the uid is unknown.
    pub uid: Option<String>,
}

impl Identity {
    /// The service account `name`, whose uid is unknown.
    pub fn named(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), uid: None }
    }
}

/// `namespace/name (uid)`, or `namespace/name` if the uid is unknown. Different identities have different texts.
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
