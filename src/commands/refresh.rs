//! `secretfs refresh`: reads values from their stores now.

use std::path::PathBuf;
use std::str::FromStr;

use class::ClassName;
use futures::future::join_all;
use kubernetes::{connection, refresh_requests};
use serde::Serialize;

use super::migrate::of_this_user;
use super::output::{OutputArgs, count};
use super::running::{Heard, Silent, SocketArgs};
use crate::admin::{Refreshed, Which, client};
use crate::exit::{Failure, Outcome};

/// Ask the stores now, and wait until the volumes show the answer
///
/// With --cluster it writes an annotation (secretfs.dev/refresh-requested) on the class, or on a pod as NAMESPACE/POD.
/// Every node that serves it follows that at once; the command does not wait for it. Who may change the class or the pod
/// may do this. A class is read every 10 s at most, however often somebody asks.
#[derive(Debug, clap::Args)]
pub struct RefreshArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// On every node, through the API server
    #[arg(long, conflicts_with = "all")]
    cluster: bool,
    /// With --cluster: how to reach the API server; by default as kubectl does
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    socket: SocketArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct WhichArgs {
    /// This volume: an id, the beginning of one, a target path or namespace/pod
    volume: Option<String>,
    /// Every volume of every process on this host
    #[arg(long)]
    all: bool,
    /// Every volume of this class
    #[arg(long, value_name = "NAMESPACE/NAME")]
    class: Option<Class>,
}

#[derive(Debug, Clone)]
struct Class {
    namespace: String,
    name: String,
}

impl FromStr for Class {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, name) = text.split_once('/').ok_or("write it as NAMESPACE/NAME")?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

#[derive(Debug, Default, Serialize)]
struct Answer {
    refreshed: Vec<Refreshed>,
    /// Processes that stopped answering before they had finished.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silent: Vec<Silent>,
}

/// Runs `secretfs refresh`.
///
/// # Errors
///
/// No process answers, none has such a volume, or a volume could not be refreshed.
pub async fn run(args: RefreshArgs) -> Outcome {
    if args.cluster {
        return request(&args).await;
    }
    let heard = args.socket.volumes().await?;
    // If the volume was found, it does not matter which other processes do not answer.
    let everybody = if args.which.volume.is_some() { Ok(()) } else { heard.verdict() };
    let told = join_all(orders(&args.which, heard)?.into_iter().map(order)).await;
    let answer = gather(told)?;
    answer.silent.iter().for_each(Silent::warn);
    args.output.print(&answer, text)?;
    verdict(&args.which, &answer).and(everybody)
}

/// What was asked of all nodes.
#[derive(Debug, Serialize)]
struct Requested {
    what: String,
    /// The time that stands in the annotation.
    requested: String,
}

/// Asks every node to read the class, or the classes of the pod.
async fn request(args: &RefreshArgs) -> Outcome {
    let kubeconfig = args.kubeconfig.clone().or_else(of_this_user);
    let client = connection::connect(kubeconfig.as_deref()).await?;
    let requested = jiff::Timestamp::now().to_string();
    let pod = args.which.volume.as_ref().and_then(|volume| volume.split_once('/'));
    let what = match (args.which.class.clone(), pod) {
        (Some(Class { namespace, name }), _) => {
            let class = ClassName { namespace, name };
            refresh_requests::request(&client, &class, &requested).await?;
            format!("class {class}")
        }
        (None, Some((namespace, pod))) => {
            refresh_requests::request_of_pod(&client, namespace, pod, &requested).await?;
            format!("pod {namespace}/{pod}")
        }
        (None, None) => {
            let needed = "--cluster needs --class NAMESPACE/NAME, or a pod as NAMESPACE/POD";
            return Err(Failure::usage(needed));
        }
    };
    let requested = Requested { what, requested };
    let told = |requested: &Requested| format!("every node that serves {} reads it now\n", requested.what);
    Ok(args.output.print(&requested, told)?)
}

type Ordered = (PathBuf, Result<Vec<Refreshed>, client::Error>);

async fn order((socket, which): (PathBuf, Which)) -> Ordered {
    let refreshed = client::refresh(&socket, which).await;
    (socket, refreshed)
}

fn gather(told: Vec<Ordered>) -> Result<Answer, Failure> {
    let mut answer = Answer::default();
    for (socket, refreshed) in told {
        match refreshed {
            // The process has ended since it was asked.
            Err(error) if error.is_nobody() => {}
            Err(client::Error::Silent { process, .. }) => {
                answer.silent.push(Silent::new(process, socket));
            }
            refreshed => answer.refreshed.extend(refreshed?),
        }
    }
    Ok(answer)
}

/// Which process has to refresh which volumes. Only processes that answered just now are told, because the command
/// waits for them.
fn orders(which: &WhichArgs, heard: Heard) -> Result<Vec<(PathBuf, Which)>, Failure> {
    if let Some(volume) = &which.volume {
        let served = heard.select(volume)?;
        return Ok(served.into_iter().map(|one| (one.socket, Which::Volume(one.volume.volume))).collect());
    }
    heard.warn();
    let which = which
        .class
        .clone()
        .map_or(Which::All, |class| Which::Class { namespace: class.namespace, name: class.name });
    Ok(heard.answered.into_iter().map(|socket| (socket, which.clone())).collect())
}

fn verdict(which: &WhichArgs, Answer { refreshed, silent }: &Answer) -> Outcome {
    if !silent.is_empty() || refreshed.iter().any(|volume| volume.error.is_some()) {
        return Err(Failure::Told);
    }
    match &which.class {
        Some(class) if refreshed.is_empty() => Err(Failure::Failed(anyhow::anyhow!(
            "no volume of class {}/{} is mounted (`secretfs status` lists volumes with their classes)",
            class.namespace,
            class.name
        ))),
        _ => Ok(()),
    }
}

fn text(Answer { refreshed, silent }: &Answer) -> String {
    if refreshed.is_empty() && silent.is_empty() {
        return "No volumes are mounted.\n".to_owned();
    }
    refreshed.iter().map(line).collect()
}

fn line(volume: &Refreshed) -> String {
    let changed = match volume.changed.len() {
        0 => "unchanged".to_owned(),
        files => format!("{} changed: {}", count(files, "file"), volume.changed.join(", ")),
    };
    let outcome = match &volume.error {
        Some(error) if volume.changed.is_empty() => format!("not refreshed: {error}"),
        Some(error) => format!("{changed}; not refreshed in full: {error}"),
        None => changed,
    };
    format!("{}: {outcome}\n", volume.target)
}
