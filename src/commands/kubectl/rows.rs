//! One line for each volume of a pod, from the API server's status and the node's report.

use std::collections::BTreeMap;

use kubernetes::view::PodStatus;
use serde::Serialize;

use crate::admin::{VolumeStatus, WaitingStatus};
use crate::commands::output::{Form, fitting, plain, table, time};
use crate::commands::status;

/// Which volume a row is about. Several volumes of one pod and class share a row.
type Key = (String, String, String);

#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: BTreeMap<Key, Row>,
    unseen: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Row {
    namespace: String,
    class: String,
    pod: String,
    node: Option<String>,
    /// Its state, in a few words.
    state: String,
    /// The reason for its state, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Seconds since the store confirmed all of it, as its node reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_seconds_ago: Option<u64>,
    /// The version of each object, by its name.
    objects: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    volumes: Vec<&'a Row>,
    /// Nodes and lists that could not be asked, each with the reason.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unseen: &'a [String],
}

impl Rows {
    /// Makes rows from the API server's statuses. Volumes that are gone are left out.
    pub(super) fn of(statuses: Vec<PodStatus>) -> Self {
        let mut rows = Self::default();
        for status in statuses.into_iter().filter(|status| status.mounted) {
            let row = rows.row(&status.namespace, &status.class, &status.pod);
            row.node = status.node;
            "mounted".clone_into(&mut row.state);
            row.objects.extend(status.objects);
        }
        rows
    }

    /// Adds the report of `node` about a volume that it shows.
    pub(super) fn mounted(&mut self, volume: &VolumeStatus, node: &str) {
        let Some(pod) = &volume.pod else { return };
        let row = self.row(&volume.namespace, class_name(&volume.class), pod);
        row.node = Some(node.to_owned());
        row.state = status::state(volume);
        row.reason.clone_from(&volume.last_error);
        row.confirmed_seconds_ago = volume.confirmed_seconds_ago;
        let versions = volume.objects.iter();
        row.objects.extend(versions.filter_map(|one| Some((one.name.clone(), one.version.clone()?))));
    }

    /// Adds the report of `node` about a volume that it could not mount.
    pub(super) fn waiting(&mut self, volume: &WaitingStatus, node: &str) {
        let Some(pod) = &volume.pod else { return };
        let row = self.row(&volume.namespace, class_name(&volume.class), pod);
        row.node = Some(node.to_owned());
        "not mounted".clone_into(&mut row.state);
        row.reason = Some(volume.reason.clone());
    }

    /// Notes that something could not be asked.
    pub(super) fn unseen(&mut self, what: String) {
        self.unseen.push(what);
    }

    fn row(&mut self, namespace: &str, class: &str, pod: &str) -> &mut Row {
        let key = (namespace.to_owned(), class.to_owned(), pod.to_owned());
        self.rows.entry(key).or_insert_with(|| Row {
            namespace: namespace.to_owned(),
            class: class.to_owned(),
            pod: pod.to_owned(),
            ..Row::default()
        })
    }

    pub(super) fn told(&self, form: Form) -> anyhow::Result<String> {
        let answer = Answer { volumes: self.rows.values().collect(), unseen: &self.unseen };
        form.told(&answer, || self.text(narrow), || self.text(wide))
    }

    fn text(&self, list: fn(&[&Row]) -> String) -> String {
        let rows: Vec<&Row> = self.rows.values().collect();
        let mut text = if rows.is_empty() { "No pod mounts a class here.\n".to_owned() } else { list(&rows) };
        for unseen in &self.unseen {
            text += &format!("\nNot asked: {}\n", plain(unseen));
        }
        text
    }
}

/// The name of a class without its namespace. Nodes report `namespace/name`.
fn class_name(class: &str) -> &str {
    class.split_once('/').map_or(class, |(_, name)| name)
}

/// At most 100 columns, with two spaces between them.
fn narrow(rows: &[&Row]) -> String {
    const CLASS: usize = 26;
    const POD: usize = 28;
    const NODE: usize = 19;
    const STATE: usize = 17;
    let head = ["CLASS", "POD", "NODE", "STATE"].map(str::to_owned).to_vec();
    let line = |row: &&Row| {
        vec![
            fitting(&format!("{}/{}", row.namespace, row.class), CLASS),
            fitting(&row.pod, POD),
            fitting(row.node.as_deref().unwrap_or("-"), NODE),
            fitting(&row.state, STATE),
        ]
    };
    table(&std::iter::once(head).chain(rows.iter().map(line)).collect::<Vec<_>>())
}

fn wide(rows: &[&Row]) -> String {
    let head = ["CLASS", "POD", "NODE", "STATE", "CONFIRMED", "VERSIONS", "REASON"];
    let line = |row: &&Row| {
        let versions: Vec<_> = row.objects.iter().map(|(id, version)| format!("{id}={version}")).collect();
        vec![
            format!("{}/{}", row.namespace, row.class),
            row.pod.clone(),
            row.node.clone().unwrap_or_else(|| "-".to_owned()),
            row.state.clone(),
            row.confirmed_seconds_ago.map_or_else(|| "-".to_owned(), |age| format!("{} ago", time(age))),
            versions.join(","),
            row.reason.clone().unwrap_or_default(),
        ]
    };
    let head = head.map(str::to_owned).to_vec();
    table(&std::iter::once(head).chain(rows.iter().map(line)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::samples;

    const TABLE: &str = include_str!("../../../tests/golden/kubectl-table.txt");

    fn mounted(pod: &str, mounted: bool) -> PodStatus {
        PodStatus {
            namespace: "shop".to_owned(),
            pod: pod.to_owned(),
            class: "db".to_owned(),
            node: Some("node-1".to_owned()),
            mounted,
            objects: vec![("db/user".to_owned(), "3".to_owned())],
        }
    }

    fn rows() -> Rows {
        let mut rows = Rows::of(vec![mounted("web-1", true), mounted("web-3", true), mounted("gone", false)]);
        rows.mounted(&samples::ailing(), "node-1");
        rows.waiting(&samples::refused(), "node-2");
        rows.unseen("node node-3: forbidden".to_owned());
        rows
    }

    #[test]
    fn what_the_api_server_knows_and_what_the_nodes_say_stand_in_one_line() {
        assert_eq!(rows().told(Form::Text).unwrap(), TABLE);
    }

    #[test]
    fn the_nodes_word_on_versions_goes_before_what_was_written_earlier() {
        let wide = rows().told(Form::Wide).unwrap();

        assert!(
            wide.contains("db/user=4") && !wide.contains("shop/db  web-1  node-1  2 of 3 ailing  -"),
            "{wide}"
        );
        assert!(wide.contains("permission denied for role web"), "{wide}");
    }

    #[test]
    fn json_and_yaml_hold_the_same_and_what_was_not_asked() {
        let (json, yaml) = (rows().told(Form::Json).unwrap(), rows().told(Form::Yaml).unwrap());

        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let yaml: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
        assert_eq!(json, yaml);
        assert_eq!(json["unseen"][0], "node node-3: forbidden");
        assert_eq!(json["volumes"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn no_line_is_longer_than_100_columns_whatever_the_names() {
        let long = "x".repeat(250);
        let status =
            PodStatus { pod: long.clone(), class: long.clone(), node: Some(long), ..mounted("", true) };

        let told = Rows::of(vec![status]).told(Form::Text).unwrap();

        assert!(told.lines().all(|line| line.chars().count() <= 100), "{told}");
    }
}
