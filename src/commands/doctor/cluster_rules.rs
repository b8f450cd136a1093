//! The rules that turn the facts of a cluster into findings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use kubernetes::survey::{Driver, Judged, Looked, Right, Survey, Version};
use manifest::Class;
use provider::Providers;

use super::finding::Finding;
use super::host::{Host, Purpose};

/// The group of the custom resources.
const GROUP: &str = "secrets-store.csi.x-k8s.io";
/// From this version on, Kubernetes can send tokens apart from the volume's attributes, if the CSIDriver object says
/// so.
const TOKENS_IN_SECRETS: (u32, u32) = (1, 35);
/// The most names in one finding.
const MAX_NAMES: usize = 5;

/// Provider of the embedded store.
const EMBEDDED: &str = "secretfs";

/// All findings about a cluster whose driver is called `driver`.
pub(super) fn findings(survey: &Survey, driver: &str, providers: &Providers, host: &Host) -> Vec<Finding> {
    let mut findings = vec![version(&survey.version)];
    findings.extend(resources(&survey.resources));
    match &survey.driver {
        Err(why) => findings.push(Finding::not_looked_at("csidriver", why)),
        Ok(None) => findings.push(Finding::error(
            "csidriver",
            format!("there is no CSIDriver object {driver}"),
            "install the chart with csidriver.create, or correct --driver-name",
        )),
        Ok(Some(object)) => findings.extend(object_findings(object, driver, &survey.version)),
    }
    findings.extend(classes(survey, driver, providers, host));
    findings.extend(rights(&survey.rights));
    findings
}

fn version(version: &Looked<Version>) -> Finding {
    match version {
        Ok(version) => Finding::ok("api-server", format!("Kubernetes {}", version.text)),
        Err(why) => Finding::not_looked_at("api-server", why),
    }
}

fn resources(resources: &Looked<BTreeSet<String>>) -> Vec<Finding> {
    let found = match resources {
        Ok(found) => found,
        Err(why) => return vec![Finding::not_looked_at("crds", why)],
    };
    let install = "apply deploy/crds, or install the chart with crds.create";
    let missing: Vec<_> = ["v1/secretproviderclasses", "v1/secretproviderclasspodstatuses"]
        .into_iter()
        .filter(|resource| !found.contains(*resource))
        .collect();
    if !missing.is_empty() {
        let text = format!("the API server does not know {GROUP}/{}", missing.join(" and "));
        return vec![Finding::error("crds", text, install)];
    }
    if found.contains("v1alpha1/secretproviderclasses") {
        return vec![Finding::ok("crds", format!("{GROUP}, v1 and v1alpha1"))];
    }
    let text = format!("{GROUP} has no v1alpha1, in which old manifests are written");
    vec![Finding::warning("crds", text, install)]
}

/// A fault that a CSIDriver object may have.
struct Fault {
    check: &'static str,
    wrong: bool,
    stops: bool,
    found: &'static str,
    field: &'static str,
}

fn object_findings(object: &Driver, driver: &str, version: &Looked<Version>) -> Vec<Finding> {
    let knows_field = version.as_ref().is_ok_and(|version| version.number >= TOKENS_IN_SECRETS);
    let exposed = knows_field && !object.audiences.is_empty() && !object.tokens_in_secrets;
    let faults = [
        Fault {
            check: "pod-info",
            wrong: !object.pod_info,
            stops: true,
            found: "kubelet does not tell which pod a volume is for",
            field: "podInfoOnMount: true",
        },
        Fault {
            check: "ephemeral",
            wrong: !object.ephemeral,
            stops: true,
            found: "pods may have no inline volumes of the driver",
            field: "volumeLifecycleModes: [Ephemeral], which takes deleting the object first",
        },
        Fault {
            check: "republish",
            wrong: !object.republish,
            stops: true,
            found: "kubelet brings no new tokens to volumes that are mounted",
            field: "requiresRepublish: true",
        },
        Fault {
            check: "attach",
            wrong: object.attach,
            stops: false,
            found: "volumes wait to be attached, which nobody does",
            field: "attachRequired: false, which takes deleting the object first",
        },
        Fault {
            check: "fs-group-policy",
            wrong: object.fs_group_policy != "None",
            stops: false,
            found: "kubelet may try to change the group of files that are read-only",
            field: "fsGroupPolicy: None",
        },
        Fault {
            check: "tokens-in-secrets",
            wrong: exposed,
            stops: false,
            found: "tokens come among the attributes of a volume, which other software may log",
            field: "serviceAccountTokenInSecrets: true",
        },
    ];
    let mut findings: Vec<_> =
        faults.iter().filter(|fault| fault.wrong).map(|fault| fault.finding(driver)).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("csidriver", format!("CSIDriver {driver} is as it must be")));
    }
    findings
}

impl Fault {
    fn finding(&self, driver: &str) -> Finding {
        let remedy = format!("set {} in CSIDriver {driver}", self.field);
        match self.stops {
            true => Finding::error(self.check, self.found, remedy),
            false => Finding::warning(self.check, self.found, remedy),
        }
    }
}

fn classes(survey: &Survey, driver: &str, providers: &Providers, host: &Host) -> Vec<Finding> {
    let classes = match &survey.classes {
        Ok(classes) => classes,
        Err(why) => return vec![Finding::not_looked_at("classes", why)],
    };
    let whole: Vec<_> = classes.iter().flatten().collect();
    let mut findings = vec![Finding::ok("classes", format!("{} can be read", whole.len()))];
    let broken = classes.iter().filter_map(|class| class.as_ref().err());
    findings
        .extend(broken.map(|why| Finding::warning("class", why, "correct it; `secretfs check` tells more")));
    let mut audiences: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut foreign: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for class in whole {
        match audience(class, providers) {
            Audience::Needs(audience) => audiences.entry(audience).or_default().push(name(class)),
            Audience::Broken(why) => {
                let told = format!("SecretProviderClass {}: {why}", name(class));
                findings.push(Finding::warning("class", told, "correct it; `secretfs check` tells more"));
            }
            Audience::Foreign => foreign.entry(&class.provider).or_default().push(name(class)),
            Audience::None => {}
        }
    }
    let embedded = classes.iter().flatten().filter(|class| class.provider == EMBEDDED).count();
    findings.extend((embedded > 0).then(|| by_name(embedded)));
    if let Ok(Some(object)) = &survey.driver {
        findings.extend(unmet(&audiences, object, driver));
    }
    findings.extend(foreign.iter().filter_map(|(provider, classes)| absent(provider, classes, host)));
    findings
}

/// Explains that the embedded store identifies service accounts by name.
fn by_name(classes: usize) -> Finding {
    let told = format!(
        "{classes} read the embedded store, where a service account is a namespace and a name: one that is made \
         again, alone or with its namespace, reads what was put for the old, unless the item names a uid (store put \
         --service-account NAME=UID; kubelet's token tells it, so that takes tokenRequests)"
    );
    Finding::ok("identity", told)
}

/// The token that a class needs.
enum Audience {
    Needs(String),
    None,
    Foreign,
    Broken(String),
}

fn audience(class: &Class, providers: &Providers) -> Audience {
    let Some(provider) = providers.get(&class.provider) else { return Audience::Foreign };
    match provider.source_of(&class.namespace, &class.name, &class.parameters) {
        Ok(source) => {
            source.audience().map_or(Audience::None, |audience| Audience::Needs(audience.to_owned()))
        }
        Err(faults) => Audience::Broken(faults.first().map(ToString::to_string).unwrap_or_default()),
    }
}

fn name(class: &Arc<Class>) -> String {
    format!("{}/{}", class.namespace, class.name)
}

fn unmet(needed: &BTreeMap<String, Vec<String>>, object: &Driver, driver: &str) -> Vec<Finding> {
    let missing = needed.iter().filter(|(audience, _)| !object.audiences.contains(*audience));
    let mut findings: Vec<_> = missing
        .map(|(audience, classes)| {
            let found = format!("no token comes for audience {audience:?}, which {} need", some(classes));
            let remedy = format!(
                "add {{audience: {audience:?}}} to tokenRequests of CSIDriver {driver} (tokenRequests in the chart)"
            );
            Finding::error("audiences", found, remedy)
        })
        .collect();
    if findings.is_empty() && !needed.is_empty() {
        findings.push(Finding::ok(
            "audiences",
            format!("tokens come for all {} that classes need", needed.len()),
        ));
    }
    findings
}

fn absent(provider: &str, classes: &[String], host: &Host) -> Option<Finding> {
    let file = format!("{provider}.sock");
    let is_it = |path: &Path| path.file_name().is_some_and(|name| name == file.as_str());
    let mut sockets = host.sockets.iter().filter(|socket| socket.purpose == Purpose::Provider);
    let known = !host.is_node() || sockets.any(|socket| is_it(&socket.path));
    (!known).then(|| {
        let found =
            format!("provider {provider:?} of {} is not built in, and has no socket here", some(classes));
        Finding::warning("provider", found, "install it on this node, or correct `provider`")
    })
}

fn some(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn rights(judged: &Looked<Judged>) -> Vec<Finding> {
    let judged = match judged {
        Ok(judged) => judged,
        Err(why) => return vec![Finding::not_looked_at("rights", why)],
    };
    let user = &judged.user;
    let mut findings = Vec::new();
    for right in &judged.missing {
        let remedy = "grant it as the chart does (deploy/charts/secretfs/RBAC.md)";
        findings.push(Finding::error("rights", format!("{user} may not {right}"), remedy));
    }
    for right in &judged.needless {
        let found = format!("{user} may {right}, which the driver never needs");
        findings.push(Finding::warning("needless-rights", found, "take it away"));
    }
    if judged.missing.is_empty() {
        findings.push(Finding::ok("rights", format!("{user} has what the driver needs")));
    }
    findings
}

fn right(group: &'static str, resource: &'static str, verb: &'static str) -> Right {
    Right { verb, group, resource, name: None, namespace: None }
}

/// The rights that the driver needs: the table in the chart's RBAC.md. With the sync of Secrets, also the rights for
/// that in these namespaces, or everywhere if the list is empty. Also the right to get service accounts of the namespaces
/// `annotations`, and those to roll out workloads of the namespaces `restarts`.
pub(super) fn needed(
    driver: &str,
    sync: Option<&[String]>,
    annotations: &[String],
    restarts: &[String],
) -> Vec<Right> {
    let mut rights = all(GROUP, "secretproviderclasses", &["list", "watch"]);
    rights.extend(all(GROUP, "secretproviderclasspodstatuses", &["create", "patch"]));
    for orders in ["revocations", "clusterrevocations"] {
        rights.extend(all("secretfs.dev", orders, &["list", "watch"]));
    }
    rights.extend(all("events.k8s.io", "events", &["create", "patch"]));
    let own = right("storage.k8s.io", "csidrivers", "get");
    rights.push(Right { name: Some(driver.to_owned()), ..own });
    rights.extend(sync.map(needed_to_sync).unwrap_or_default());
    rights.extend(annotations.iter().map(|namespace| Right {
        namespace: Some(namespace.clone()).filter(|namespace| namespace != "*"),
        ..right("", "serviceaccounts", "get")
    }));
    rights.extend(within(restarts, &needed_to_restart()));
    rights
}

fn needed_to_restart() -> Vec<Right> {
    let mut rights = vec![right("", "pods", "get"), right("apps", "replicasets", "get")];
    for workloads in ["deployments", "statefulsets", "daemonsets"] {
        rights.extend(all("apps", workloads, &["get", "patch"]));
    }
    rights
}

/// These rights in each of `namespaces`.
fn within(namespaces: &[String], rights: &[Right]) -> Vec<Right> {
    let of = |namespace: &String| {
        let namespace = namespace.clone();
        rights.iter().map(move |right| Right { namespace: Some(namespace.clone()), ..right.clone() })
    };
    namespaces.iter().flat_map(of).collect()
}

fn needed_to_sync(namespaces: &[String]) -> Vec<Right> {
    let mut rights = all("", "secrets", &["create", "get", "patch", "delete"]);
    rights.extend(all("", "pods", &["get"]));
    if namespaces.is_empty() {
        return rights;
    }
    within(namespaces, &rights)
}

fn all(group: &'static str, resource: &'static str, verbs: &[&'static str]) -> Vec<Right> {
    verbs.iter().map(|verb| right(group, resource, verb)).collect()
}

/// Rights that the driver does not need, and that would be valuable to an attacker.
pub(super) fn needless() -> Vec<Right> {
    vec![
        right("", "secrets", "list"),
        right("", "secrets", "watch"),
        right("", "serviceaccounts/token", "create"),
        right("", "serviceaccounts", "impersonate"),
    ]
}

#[cfg(test)]
mod tests;
