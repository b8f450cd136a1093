//! Which containers have opened the version that their volume shows.

use kubernetes::coverage::{OpenedVersion, VolumeCoverage};
use serde::Serialize;

use super::{ago, reader};
use crate::admin::{ObjectStatus, OpenedStatus, VolumeStatus};
use crate::commands::output::table;

/// How far a version has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Reach {
    /// The container opened the version that is shown.
    Opened,
    /// It opened another one last.
    Old,
    /// Nobody opened it since this process serves the volume.
    Never,
    /// It is in the volume. Who opens it is not known.
    Delivered,
}

impl Reach {
    fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Old => "only an old one",
            Self::Never => "never",
            Self::Delivered => "delivered",
        }
    }
}

/// One object of one volume, and one container that opened it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Covered {
    /// The node that told it; `None` where it is this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    volume: String,
    /// The pod, or the service account on a plain host.
    who: String,
    container: Option<String>,
    object: String,
    shows: Option<String>,
    opened: Option<String>,
    opened_seconds_ago: Option<u64>,
    reach: Reach,
}

/// What one container opened last of one object.
struct Last {
    container: Option<String>,
    version: String,
    seconds_ago: Option<u64>,
}

/// The objects of `volumes`, each with the containers that opened it.
pub(super) fn covered(volumes: &[VolumeStatus]) -> Vec<Covered> {
    let objects = volumes.iter().flat_map(|volume| volume.objects.iter().map(move |object| (volume, object)));
    objects.flat_map(|(volume, object)| of_object(volume, object)).collect()
}

fn of_object(volume: &VolumeStatus, object: &ObjectStatus) -> Vec<Covered> {
    let own = |opened: &&OpenedStatus| opened.object == object.name;
    let last = |opened: &OpenedStatus| Last {
        container: opened.container.clone(),
        version: opened.version.clone(),
        seconds_ago: Some(opened.last_seconds_ago),
    };
    let bare = Covered {
        node: None,
        volume: volume.volume.clone(),
        who: reader(volume),
        container: None,
        object: object.name.clone(),
        shows: object.version.clone().or_else(|| object.fingerprint.clone()),
        opened: None,
        opened_seconds_ago: None,
        reach: Reach::Delivered,
    };
    bare.by(volume.opened.as_ref().map(|opened| opened.iter().filter(own).map(last)))
}

/// The same of what nodes told.
pub(super) fn covered_in_cluster(volumes: &[VolumeCoverage]) -> Vec<Covered> {
    let objects = volumes.iter().flat_map(|volume| volume.objects.iter().map(move |object| (volume, object)));
    objects.flat_map(|(volume, (object, version))| told_of_object(volume, object, version)).collect()
}

fn told_of_object(volume: &VolumeCoverage, object: &str, version: &str) -> Vec<Covered> {
    let last = |opened: &OpenedVersion| Last {
        container: opened.container.clone(),
        version: opened.version.clone(),
        seconds_ago: None,
    };
    let bare = Covered {
        node: volume.node.clone(),
        volume: volume.name.clone(),
        who: format!("{}/{}", volume.namespace, volume.pod),
        container: None,
        object: object.to_owned(),
        shows: Some(version.to_owned()),
        opened: None,
        opened_seconds_ago: None,
        reach: Reach::Delivered,
    };
    let own = |opened: &&OpenedVersion| opened.object == object;
    bare.by(volume.opened.as_ref().map(|opened| opened.last.iter().filter(own).map(last)))
}

impl Covered {
    /// One row for each container that opened the object, or one for nobody. `None`: nobody knows who opens it.
    fn by(self, opened: Option<impl Iterator<Item = Last>>) -> Vec<Self> {
        let Some(opened) = opened else { return vec![self] };
        let by = |last: Last| Self {
            reach: if self.shows.as_ref() == Some(&last.version) { Reach::Opened } else { Reach::Old },
            container: last.container,
            opened: Some(last.version),
            opened_seconds_ago: last.seconds_ago,
            ..self.clone()
        };
        let rows: Vec<_> = opened.map(by).collect();
        if rows.is_empty() { vec![Self { reach: Reach::Never, ..self }] } else { rows }
    }
}

pub(super) fn text(rows: &[Covered]) -> String {
    let head =
        ["FOR", "CONTAINER", "OBJECT", "SHOWS", "OPENED", "LAST", "REACHED"].map(str::to_owned).to_vec();
    let none = || "-".to_owned();
    let row = |row: &Covered| {
        vec![
            row.who.clone(),
            row.container.clone().unwrap_or_else(none),
            row.object.clone(),
            row.shows.clone().unwrap_or_else(none),
            row.opened.clone().unwrap_or_else(none),
            row.opened_seconds_ago.map_or_else(none, |seconds| ago(Some(seconds))),
            row.reach.word().to_owned(),
        ]
    };
    table(&std::iter::once(head).chain(rows.iter().map(row)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubernetes::coverage::OpenedLast;

    use crate::admin::samples;

    fn opened(container: &str, object: &ObjectStatus, version: &str) -> OpenedStatus {
        OpenedStatus {
            container: Some(container.to_owned()),
            object: object.name.clone(),
            version: version.to_owned(),
            last_seconds_ago: 5,
            count: 1,
        }
    }

    #[test]
    fn an_object_is_opened_or_old_or_never_opened_or_nobody_knows() {
        let volume = samples::well();
        let mut object = volume.objects[0].clone();
        object.version = Some("2".to_owned());
        let other = ObjectStatus { name: "other".to_owned(), ..object.clone() };
        let opens = vec![opened("web", &object, "2"), opened("side", &object, "1")];
        let volume = VolumeStatus { objects: vec![object, other], opened: Some(opens), ..volume };
        let silent = VolumeStatus { opened: None, ..volume.clone() };
        let reach = |volume| covered(&[volume]).iter().map(|row| row.reach).collect::<Vec<_>>();

        assert_eq!(reach(volume.clone()), [Reach::Opened, Reach::Old, Reach::Never]);
        assert_eq!(reach(silent), [Reach::Delivered, Reach::Delivered]);
        assert!(text(&covered(&[volume])).contains("only an old one"));
    }
    #[test]
    fn what_nodes_told_is_judged_the_same_way() {
        let opened = |container: &str, version: &str| OpenedVersion {
            container: Some(container.to_owned()),
            object: "db".to_owned(),
            version: version.to_owned(),
        };
        let last = vec![opened("web", "2"), opened("side", "1")];
        let told = OpenedLast { since: "2026-01-01T00:00:00Z".to_owned(), last, is_cut: false };
        let volume = VolumeCoverage {
            name: "web-shop-app".to_owned(),
            namespace: "shop".to_owned(),
            pod: "web".to_owned(),
            node: Some("one".to_owned()),
            objects: ["db", "tls"].map(|object| (object.to_owned(), "2".to_owned())).to_vec(),
            opened: Some(told),
        };
        let silent = VolumeCoverage { opened: None, ..volume.clone() };
        let rows = covered_in_cluster(&[volume, silent]);

        let reach: Vec<_> = rows.iter().map(|row| row.reach).collect();
        assert_eq!(reach, [Reach::Opened, Reach::Old, Reach::Never, Reach::Delivered, Reach::Delivered]);
        assert_eq!(rows[0].who, "shop/web");
    }
}
