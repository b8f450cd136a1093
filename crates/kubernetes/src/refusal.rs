//! Error texts for an API server that refuses or does not answer, with a remedy.

use kube::core::Status;

/// Says what an error of the API server means and what to do. `wish` names what was asked, such as `create events`.
pub(super) fn told(error: &kube::Error, wish: &str) -> String {
    match error {
        kube::Error::Api(status) if is_ending_namespace(status) => {
            format!("its namespace is being terminated, and takes nothing new ({})", status.message)
        }
        kube::Error::Api(status) if status.code == 403 && lacks_a_right(status) => {
            format!("it forbids us to {wish}; grant that in the driver's ClusterRole ({})", status.message)
        }
        kube::Error::Api(status) if status.code == 403 => {
            format!("it refuses what we sent to {wish}, and not for want of a right: {}", status.message)
        }
        kube::Error::Api(status) if status.code == 404 => {
            format!("it knows no such resource as we need to {wish}; install the CRDs ({})", status.message)
        }
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        other => innermost(other),
    }
}

/// Whether the namespace is being deleted. Then nothing is wrong, and nothing can be done.
pub(super) fn is_ending_namespace(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
        || status.code == 403 && status.message.ends_with("because it is being terminated")
}

/// Whether authorization refused. Admission, quotas and namespaces that are being deleted also answer 403, with other
/// words.
pub(super) fn lacks_a_right(status: &Status) -> bool {
    let words = [" cannot ", " resource "];
    words.iter().all(|word| status.message.contains(word))
}

/// The innermost cause, which says most: outer errors only repeat that a request failed.
fn innermost(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_of(message: &str, details: &serde_json::Value) -> String {
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden",
            "code": 403, "message": message, "details": details,
        });
        told(&kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())), "create events")
    }

    #[test]
    fn only_what_authorization_refused_is_told_as_a_missing_right() {
        let right = r#"events.events.k8s.io is forbidden: User "system:serviceaccount:kube-system:secretfs" cannot create resource "events" in API group "events.k8s.io" in the namespace "shop""#;
        let ending = r#"events.events.k8s.io "x" is forbidden: unable to create new content in namespace shop because it is being terminated"#;
        let causes =
            serde_json::json!({"causes": [{"reason": "NamespaceTerminating", "message": "it goes"}]});
        let quota = r#"secrets "x" is forbidden: exceeded quota: few, requested: count/secrets=1, used: count/secrets=3, limited: count/secrets=3"#;
        let none = serde_json::json!({});

        assert!(told_of(right, &none).contains("grant that in the driver's ClusterRole"));
        for told in [told_of(ending, &none), told_of("no", &causes)] {
            assert!(told.contains("is being terminated") && !told.contains("ClusterRole"), "{told}");
        }
        let told = told_of(quota, &none);
        assert!(told.contains("exceeded quota") && !told.contains("ClusterRole"), "{told}");
    }
}
