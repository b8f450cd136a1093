//! Which containers have opened the version that their volume shows.

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

/// The objects of `volumes`, each with the containers that opened it.
pub(super) fn covered(volumes: &[VolumeStatus]) -> Vec<Covered> {
    let objects = volumes.iter().flat_map(|volume| volume.objects.iter().map(move |object| (volume, object)));
    objects.flat_map(|(volume, object)| of_object(volume, object)).collect()
}

fn of_object(volume: &VolumeStatus, object: &ObjectStatus) -> Vec<Covered> {
    let bare = Covered {
        volume: volume.volume.clone(),
        who: reader(volume),
        container: None,
        object: object.name.clone(),
        shows: object.version.clone().or_else(|| object.fingerprint.clone()),
        opened: None,
        opened_seconds_ago: None,
        reach: if volume.opened.is_some() { Reach::Never } else { Reach::Delivered },
    };
    let own = |opened: &&OpenedStatus| opened.object == object.name;
    let opened = volume.opened.iter().flatten().filter(own).map(|opened| Covered {
        container: opened.container.clone(),
        reach: if bare.shows.as_ref() == Some(&opened.version) { Reach::Opened } else { Reach::Old },
        opened: Some(opened.version.clone()),
        opened_seconds_ago: Some(opened.last_seconds_ago),
        ..bare.clone()
    });
    let opened: Vec<_> = opened.collect();
    if opened.is_empty() { vec![bare] } else { opened }
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
}
