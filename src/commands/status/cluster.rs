//! `secretfs status --coverage --cluster`: what every node told the API server.

use std::path::PathBuf;

use anyhow::anyhow;
use kubernetes::connection;
use kubernetes::coverage::{self as told, Coverage};
use serde::Serialize;

use super::coverage::{Covered, covered_in_cluster, text as rows};
use crate::commands::migrate::of_this_user;
use crate::commands::output::{Form, plain, print};
use crate::exit::Outcome;

/// Where the cluster is, and which part of it is meant.
#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    /// With --coverage: of every node, as the nodes told it the API server. A node tells of a container when that has opened
    /// another version, half a minute later at most
    #[arg(long, requires = "coverage", conflicts_with = "volume")]
    cluster: bool,
    /// With --cluster: only this namespace
    #[arg(short, long, requires = "cluster", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// With --cluster: how to reach the API server; by default as kubectl does
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Answer {
    coverage: Vec<Covered>,
    /// Nodes that are not ready: what they told may be old.
    silent_nodes: Vec<String>,
    /// Why it is not known which nodes are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    unseen: Option<String>,
    /// Volumes with more opens than their status holds.
    cut: Vec<String>,
}

impl ClusterArgs {
    pub(super) fn is_meant(&self) -> bool {
        self.cluster
    }

    /// Prints what the nodes told.
    pub(super) async fn print(&self, form: Form) -> Outcome {
        let kubeconfig = self.kubeconfig.clone().or_else(of_this_user);
        let client = connection::connect(kubeconfig.as_deref()).await?;
        let answer = Answer::of(told::read(&client, self.namespace.as_deref()).await?);
        if answer.coverage.is_empty() {
            let place =
                self.namespace.as_ref().map_or("the cluster".to_owned(), |name| format!("namespace {name}"));
            return Err(anyhow!("no volume is mounted in {place}, as far as its nodes told").into());
        }
        Ok(print(&form.told(&answer, || answer.text(), || answer.text())?)?)
    }
}

impl Answer {
    fn of(Coverage { volumes, silent, unseen }: Coverage) -> Self {
        let is_cut = |opened: &told::OpenedLast| opened.is_cut;
        let cut = volumes.iter().filter(|volume| volume.opened.as_ref().is_some_and(is_cut));
        Self {
            cut: cut.map(|volume| format!("{}/{}", volume.namespace, volume.pod)).collect(),
            coverage: covered_in_cluster(&volumes),
            silent_nodes: silent,
            unseen,
        }
    }

    fn text(&self) -> String {
        let mut text = rows(&self.coverage);
        let mut add = |line: String| text.push_str(&format!("{}\n", plain(&line)));
        if !self.silent_nodes.is_empty() {
            add(format!("not ready, so what they told may be old: {}", self.silent_nodes.join(", ")));
        }
        if let Some(why) = &self.unseen {
            add(format!("whether the nodes are ready is not known: {why}"));
        }
        if !self.cut.is_empty() {
            add(format!("more containers and objects than a status holds: {}", self.cut.join(", ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use kubernetes::coverage::VolumeCoverage;

    use super::*;

    #[test]
    fn silent_nodes_and_what_is_not_known_are_told_below_the_table() {
        let volume = VolumeCoverage {
            name: "web-shop-app".to_owned(),
            namespace: "shop".to_owned(),
            pod: "web".to_owned(),
            node: Some("one".to_owned()),
            objects: vec![("db".to_owned(), "2".to_owned())],
            opened: None,
        };
        let answer = |silent: &[&str], unseen: Option<&str>| {
            let silent = silent.iter().map(|name| (*name).to_owned()).collect();
            Answer::of(Coverage { volumes: vec![volume.clone()], silent, unseen: unseen.map(str::to_owned) })
                .text()
        };

        assert!(answer(&["one", "two"], None).ends_with("may be old: one, two\n"));
        assert!(answer(&[], Some("you may not\u{1b}list nodes")).contains("is not known: you may not"));
        assert!(!answer(&[], Some("a\u{1b}[2J")).contains('\u{1b}'), "a stranger's text is made plain");
        assert_eq!(answer(&[], None).lines().count(), 2);
    }
}
