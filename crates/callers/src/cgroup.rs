//! The container's id, from `/proc/TID/cgroup`.

/// What begins the name of a pod's cgroup.
const POD: &str = "pod";
/// What ends the name of a cgroup that systemd made.
const SLICE: &str = ".slice";
const SCOPE: &str = ".scope";
/// How long an id is, in hexadecimal digits.
const ID_LEN: usize = 64;

/// The id of a container: 64 hexadecimal digits, as its runtime chose them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id in the name of a container's cgroup: `ID`, or `RUNTIME-ID.scope` of systemd.
    fn of_cgroup(name: &str) -> Option<Self> {
        let scope = name.strip_suffix(SCOPE).unwrap_or(name);
        let id = scope.rsplit('-').next()?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (id.len() == ID_LEN && id.bytes().all(is_digit)).then(|| Self(id.to_owned()))
    }
}

/// The container of the pod `uid` whose cgroups `text` lists, in the form of cgroups(7).
///
/// `None` if the thread is in no container of that pod, or if the hierarchies disagree.
pub fn container(text: &str, uid: &str) -> Option<ContainerId> {
    let places = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut found = None;
    for place in places.filter_map(|path| place(path, uid)) {
        let id = place?;
        if found.get_or_insert_with(|| id.clone()) != &id {
            return None;
        }
    }
    found
}

/// What one path says: `None` if it names no pod; `Some(None)` if it names another pod, or this pod and no container.
fn place(path: &str, uid: &str) -> Option<Option<ContainerId>> {
    let mut names = path.split('/');
    // The first one counts: whoever is in a container names what is below it.
    let pod = names.find_map(pod_of)?;
    let is_ours = pod == uid || pod == uid.replace('-', "_");
    Some(names.next().filter(|_| is_ours && !uid.is_empty()).and_then(ContainerId::of_cgroup))
}

/// The uid in the name of a pod's cgroup: `podUID`, or `kubepods-burstable-podUID.slice` of systemd, which has `_` for `-`.
fn pod_of(name: &str) -> Option<&str> {
    match name.strip_suffix(SLICE) {
        Some(slice) => slice.rsplit('-').next()?.strip_prefix(POD),
        None => name.strip_prefix(POD),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what a test arranges has to fail it loudly")]

    use proptest::prelude::*;

    use super::*;

    const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";

    fn id(digit: &str) -> String {
        digit.repeat(ID_LEN)
    }

    fn found(text: &str) -> Option<String> {
        container(text, UID).map(|id| id.0)
    }

    #[test]
    fn the_container_is_the_name_below_its_pod_with_each_driver_and_version() {
        let systemd = "kubepods-burstable-pod0a1b2c3d_1111_2222_3333_444455556666.slice";
        for text in [
            format!("0::/kubepods/burstable/pod{UID}/{}\n", id("a")),
            format!(
                "12:memory:/kubepods/pod{UID}/{0}\n1:name=systemd:/kubepods/pod{UID}/{0}\n0::/\n",
                id("a")
            ),
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/{systemd}/cri-containerd-{}.scope\n",
                id("a")
            ),
            format!("0::/../../{systemd}/crio-{}.scope/init\n", id("a")),
            format!("0::/../../../burstable/pod{UID}/{}/deeper\n", id("a")),
        ] {
            assert_eq!(found(&text), Some(id("a")), "{text}");
        }
    }

    #[test]
    fn an_id_that_a_container_made_below_its_own_is_not_believed() {
        let own = format!("/kubepods/pod{UID}/{}", id("a"));
        for below in
            [id("b"), format!("pod{UID}/{}", id("b")), format!("kubepods-pod{UID}.slice/{}", id("b"))]
        {
            assert_eq!(found(&format!("0::{own}/{below}\n")), Some(id("a")));
        }
    }

    #[test]
    fn a_thread_of_another_pod_is_in_no_container_whatever_cgroups_it_makes() {
        let other = format!("/kubepods/pod99999999-1111-2222-3333-444455556666/{}", id("c"));
        for text in [
            format!("0::{other}\n"),
            format!("0::{other}/pod{UID}/{}\n", id("a")),
            format!("0::{other}/kubepods-pod{}.slice/{}\n", UID.replace('-', "_"), id("a")),
            format!("0::/kubepods/pod{UID}\n"),
            format!("0::/kubepods/pod{UID}/{}\n", &id("a")[1..]),
            format!("0::/kubepods/pod{UID}/{}\n", id("A")),
            format!("0::/kubepods/pod{UID}/x/{}\n", id("a")),
            "0::/user.slice/session-1.scope\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(found(&text), None, "{text}");
        }
        assert_eq!(container(&format!("0::/pod/{}", id("a")), ""), None);
    }

    #[test]
    fn hierarchies_that_disagree_tell_nothing() {
        let one = format!("2:cpu:/kubepods/pod{UID}/{}\n", id("a"));
        for other in [
            format!("1:memory:/kubepods/pod{UID}/{}\n", id("b")),
            format!("1:memory:/kubepods/pod{UID}\n"),
            format!("1:memory:/kubepods/podx/{}\n", id("a")),
        ] {
            assert_eq!(found(&format!("{one}{other}")), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_no_container(text in r"\PC{0,300}") {
            prop_assert_eq!(found(&text), None);
        }

        #[test]
        fn an_id_has_its_length_and_its_digits(below in "[0-9a-f/:-]{0,150}") {
            if let Some(id) = found(&format!("0::/pod{UID}/{below}")) {
                prop_assert!(id.len() == ID_LEN && below.contains(&id));
            }
        }
    }
}
