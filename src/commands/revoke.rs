//! `secretfs revoke` and `secretfs unrevoke`: orders to take secrets back.

mod cluster;
mod here;

use std::path::PathBuf;

use engine::revocation::{Given, Target};
use serde::Serialize;

use super::output::{OutputArgs, count};
use super::running::{Silent, SocketArgs};
use crate::admin::Revoked;
use crate::directories;
use crate::exit::{Failure, Outcome};

/// Take secrets back from running pods, and keep them from new ones
///
/// Writes an order, which binds until `secretfs unrevoke`: files go within a second, from processes
/// that have them open too, and pods that need them do not start. The stores are not asked, and what
/// they hold stays. Name what is revoked; several names together mean what has all of them.
///
/// In a cluster the order is a Revocation (or, with --cluster, a ClusterRevocation). Every node
/// follows it, also one that is down now, before it serves anything. Kubernetes decides whether you
/// may. Without a cluster, --here revokes on this host, for running mounts and for later ones.
///
///   secretfs revoke -n shop --object db/password --reason "leaked in a log"
///   secretfs revoke -n shop --pod web-0
///   secretfs revoke -n shop --everything
///   secretfs revoke --cluster --object secret/data/shared/api-key
///   secretfs revoke --cluster -n shop --class db
///   secretfs revoke --here --class db leaked-db
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct RevokeArgs {
    /// Name of the order; by default one is chosen
    name: Option<String>,

    /// One secret: its objectName, its file in the volume, or its path or name in the store
    #[arg(long, value_name = "NAME")]
    object: Option<String>,

    /// What pods of this class show
    #[arg(long, value_name = "NAME")]
    class: Option<String>,

    /// What this pod shows
    #[arg(long, value_name = "NAME")]
    pod: Option<String>,

    /// Everything: of the namespace, or without one of the whole cluster or host
    #[arg(long, conflicts_with_all = ["object", "class", "pod"])]
    everything: bool,

    /// Why, for people: Events and the audit trail show it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// Take an order of `secretfs revoke` away
///
/// What it covered comes back as soon as its store gives it, unless another order covers it too.
///
///   secretfs unrevoke -n shop revoke-x7k2p
///   secretfs unrevoke --cluster shared-api-key
///   secretfs unrevoke --here leaked-db
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct UnrevokeArgs {
    /// Name of the order, as `revoke` printed it and `kubectl get revocations` lists it
    name: String,

    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// Where an order is given.
#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// The namespace. With --cluster or --here, the order concerns only pods or classes of it
    #[arg(short, long, value_name = "NAMESPACE", required_unless_present_any = ["cluster", "here"])]
    namespace: Option<String>,

    /// For the whole cluster: an order that no administrator of a namespace can take away
    #[arg(long)]
    cluster: bool,

    /// On this host only, without an API server
    #[arg(long, conflicts_with = "cluster")]
    here: bool,

    /// How to reach the API server; by default as kubectl does
    #[arg(long, env = "KUBECONFIG", value_name = "FILE", conflicts_with = "here")]
    kubeconfig: Option<PathBuf>,

    /// With --here: the file of this host's orders, if its processes were given another one
    #[arg(long, env = "SECRETFS_REVOCATIONS", default_value_os_t = directories::revocations(), value_name = "FILE")]
    revocations: PathBuf,

    #[command(flatten)]
    socket: SocketArgs,
}

impl PlaceArgs {
    fn given(&self) -> Given {
        match &self.namespace {
            _ if self.here => Given::OnHost,
            Some(namespace) if !self.cluster => Given::InNamespace(namespace.clone()),
            _ => Given::InCluster,
        }
    }
}

/// What a command did.
#[derive(Debug, Serialize)]
struct Answer {
    /// `Revocation`, `ClusterRevocation`, or `Host`.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    /// Whether it holds now.
    holds: bool,
    /// On a host: the running volumes that lost files.
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<Vec<Revoked>>,
    /// Processes that did not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silent: Vec<Silent>,
}

impl Answer {
    fn of(given: &Given, name: String, holds: bool) -> Self {
        let (kind, namespace) = match given {
            Given::InNamespace(namespace) => ("Revocation", Some(namespace.clone())),
            Given::InCluster => ("ClusterRevocation", None),
            Given::OnHost => ("Host", None),
        };
        Self { kind, namespace, name, holds, volumes: None, silent: Vec::new() }
    }

    /// The arguments that say where the order is.
    fn place(&self) -> String {
        match (&self.namespace, self.kind) {
            (Some(namespace), _) => format!("-n {namespace}"),
            (None, "Host") => "--here".to_owned(),
            (None, _) => "--cluster".to_owned(),
        }
    }

    fn text(&self) -> String {
        let name = &self.name;
        let done = match (self.holds, self.kind) {
            (true, "Host") => {
                format!("{name} holds on this host until `secretfs unrevoke {} {name}`\n", self.place())
            }
            (true, _) => format!(
                "{name} holds on every node until `secretfs unrevoke {} {name}`; Events on the pods tell what went\n",
                self.place()
            ),
            (false, _) => {
                format!("{name} is taken away; what it covered comes back when its store is read\n")
            }
        };
        let lost = self.volumes.iter().flatten().map(|volume| {
            let error = volume.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            let files = count(volume.withdrawn.len(), "file");
            format!("{}: {files} taken back: {}{error}\n", volume.target, volume.withdrawn.join(", "))
        });
        done + &lost.collect::<String>()
    }

    fn verdict(&self) -> Outcome {
        let failed = self.volumes.iter().flatten().any(|volume| volume.error.is_some());
        if failed || !self.silent.is_empty() { Err(Failure::Told) } else { Ok(()) }
    }
}

/// Runs `secretfs revoke`.
///
/// # Errors
///
/// Nothing is named, the caller may not, there is an order of this name, or the API server or a process cannot be asked.
pub async fn revoke(args: RevokeArgs) -> Outcome {
    let target = target(&args)?;
    let answer = match args.place.given() {
        Given::OnHost => here::give(&args, target).await?,
        given => cluster::give(&args, &given, target).await?,
    };
    tell(args.output, &answer)
}

/// Runs `secretfs unrevoke`.
///
/// # Errors
///
/// There is no such order, the caller may not, or the API server or a process cannot be asked.
pub async fn unrevoke(args: UnrevokeArgs) -> Outcome {
    let answer = match args.place.given() {
        Given::OnHost => here::take_away(&args).await?,
        given => cluster::take_away(&args, &given).await?,
    };
    tell(args.output, &answer)
}

fn tell(output: OutputArgs, answer: &Answer) -> Outcome {
    answer.silent.iter().for_each(Silent::warn);
    output.print(answer, Answer::text)?;
    answer.verdict()
}

/// What the order covers.
fn target(args: &RevokeArgs) -> Result<Target, Failure> {
    let RevokeArgs { object, class, pod, everything, place, .. } = args;
    // The namespace of a Revocation is where it is.
    let namespace = place.namespace.clone().filter(|_| place.cluster || place.here);
    let names_one = object.is_some() || class.is_some() || pod.is_some();
    if !names_one && !everything {
        return Err(Failure::usage(
            "name what is revoked: --object, --class or --pod, or --everything to mean all of it",
        ));
    }
    if place.cluster && namespace.is_none() && (class.is_some() || pod.is_some()) {
        return Err(Failure::usage("a class or a pod needs its namespace: add --namespace"));
    }
    Ok(Target { namespace, pod: pod.clone(), class: class.clone(), object: object.clone() })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Typed {
        #[command(flatten)]
        args: RevokeArgs,
    }

    fn typed(words: &str) -> Result<(Given, Target), String> {
        let words = ["revoke"].into_iter().chain(words.split_whitespace());
        let args = Typed::try_parse_from(words).map_err(|error| error.to_string())?.args;
        let target = target(&args).map_err(|failure| failure.to_string())?;
        Ok((args.place.given(), target))
    }

    #[test]
    fn the_words_of_a_command_are_where_an_order_is_given_and_what_it_covers() {
        let text = |text: &str| Some(text.to_owned());
        let object = Target { object: text("a"), ..Target::default() };
        let shop = Target { namespace: text("shop"), ..Target::default() };

        assert_eq!(typed("-n shop --object a"), Ok((Given::InNamespace("shop".to_owned()), object.clone())));
        assert_eq!(typed("--cluster --object a"), Ok((Given::InCluster, object)));
        assert_eq!(typed("--cluster -n shop --everything"), Ok((Given::InCluster, shop.clone())));
        assert_eq!(typed("--here -n shop --everything"), Ok((Given::OnHost, shop)));
    }

    #[test]
    fn what_names_nothing_or_no_namespace_is_refused_with_what_to_write() {
        for (words, told) in [
            ("-n shop", "name what is revoked"),
            ("--cluster", "name what is revoked"),
            ("--object a", "--namespace"),
            ("--cluster --class db", "a class or a pod needs its namespace"),
            ("-n shop --everything --pod web", "cannot be used with"),
        ] {
            let refused = typed(words).unwrap_err();
            assert!(refused.contains(told), "{words}: {refused}");
        }
    }
}
