//! The rules that turn the facts of a node into findings.

use std::path::PathBuf;

use super::finding::Finding;
use super::host::{Host, Kubelet, Purpose, Socket, State};

/// From this kernel on, a mount can be cloned writable (`mount_setattr`).
const CLONES: (u32, u32) = (5, 12);
/// From this kernel on, a tmpfs can stay out of swap (`noswap`).
const NO_SWAP: (u32, u32) = (6, 4);

/// All findings about a node.
pub(super) fn findings(host: &Host) -> Vec<Finding> {
    if !host.is_node() {
        let root = host.kubelet.root.display();
        let why = format!("this is no node: no kubelet runs here, and there is no {root}/plugins_registry");
        return vec![Finding::not_looked_at("node", why)];
    }
    let fixed = [kernel(host), swap(host), fuse(host), kubelet(&host.kubelet), state(&host.state)];
    fixed.into_iter().chain(host.chain.as_ref().map(chain)).chain(host.sockets.iter().map(socket)).collect()
}

fn number(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn kernel(host: &Host) -> Finding {
    let release = &host.kernel;
    match number(release) {
        None => Finding::not_looked_at("kernel", format!("{release:?} is no version of Linux")),
        Some(number) if number < CLONES => Finding::error(
            "kernel",
            format!("Linux {release} cannot change a mounted volume (mount_setattr)"),
            "use Linux 5.12 or newer",
        ),
        Some(_) => Finding::ok("kernel", format!("Linux {release}")),
    }
}

fn swap(host: &Host) -> Finding {
    let keeps_out = number(&host.kernel).is_some_and(|number| number >= NO_SWAP);
    let release = &host.kernel;
    match (keeps_out, host.swap) {
        (true, _) => Finding::ok("swap", "volumes stay out of it (noswap)"),
        (false, false) => Finding::warning(
            "swap",
            format!("there is no swap, but Linux {release} could not keep volumes out of it"),
            "use Linux 6.4 or newer, or leave swap off",
        ),
        (false, true) => Finding::error(
            "swap",
            format!("it is on, and Linux {release} cannot keep volumes out of it"),
            "turn it off, use Linux 6.4 or newer, or accept it with --allow-swap",
        ),
    }
}

fn fuse(host: &Host) -> Finding {
    match host.fuse {
        true => Finding::ok("fuse", "/dev/fuse is there"),
        false => {
            Finding::ok("fuse", "there is no /dev/fuse; only classes with secretfs.dev/mode: fuse need it")
        }
    }
}

fn kubelet(kubelet: &Kubelet) -> Finding {
    let root = kubelet.root.display();
    let elsewhere = kubelet.running.first().filter(|_| !kubelet.running.contains(&kubelet.root));
    if let Some(running) = elsewhere {
        let found = format!("kubelet runs with --root-dir={}, and not with {root}", running.display());
        let remedy =
            format!("set --kubelet-root={0} (linux.kubeletRootDir={0} in the chart)", running.display());
        return Finding::error("kubelet-root", found, remedy);
    }
    match kubelet.registry {
        true => Finding::ok("kubelet-root", format!("{root}")),
        false => Finding::error(
            "kubelet-root",
            format!("{root} has no plugins_registry, where kubelet looks for drivers"),
            "set --kubelet-root to kubelet's --root-dir (linux.kubeletRootDir in the chart)",
        ),
    }
}

fn state((path, in_memory): &(PathBuf, Option<bool>)) -> Finding {
    let path = path.display();
    match in_memory {
        Some(true) => Finding::ok("state-dir", format!("{path} is in memory")),
        Some(false) => Finding::error(
            "state-dir",
            format!("{path} is on a disk: records and the key of this boot would outlive it"),
            "set --state-dir to a directory on a tmpfs, such as /run/secretfs",
        ),
        None => Finding::not_looked_at("state-dir", format!("the file system of {path} is not known")),
    }
}

fn chain((path, was_begun): &(PathBuf, Option<bool>)) -> Finding {
    let path = path.display();
    match was_begun {
        Some(true) => Finding::ok("audit-trail", format!("its records are a chain ({path})")),
        // Who needs no chain has no fault.
        Some(false) => Finding::ok(
            "audit-trail",
            "its records are no chain, so nobody sees a change of them; `secretfs audit init` begins one",
        ),
        None => Finding::not_looked_at("audit-trail", format!("{path} cannot be read; ask as root")),
    }
}

impl Purpose {
    fn check(self) -> &'static str {
        match self {
            Self::Csi => "csi-socket",
            Self::Registration => "registration-socket",
            Self::Mounter => "mounter-socket",
            Self::Admin => "admin-socket",
            Self::Provider => "provider-socket",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Csi => "is `secretfs node` up, and does its --csi-endpoint lead here?",
            Self::Registration => {
                "is `secretfs node` up, and does its --registration-dir lead here? Its log says why it does not register"
            }
            Self::Mounter => "is `secretfs-mounter` up, and does its --socket lead here?",
            Self::Admin => "is `secretfs node` up, and does its --admin-dir lead here?",
            Self::Provider => "start the provider, or remove what it left",
        }
    }
}

fn socket(socket: &Socket) -> Finding {
    let (check, path) = (socket.purpose.check(), socket.path.display());
    let wrong = |what: &str| Finding::error(check, format!("{path}: {what}"), socket.purpose.remedy());
    match &socket.state {
        State::OutOfSight => Finding::not_looked_at(check, format!("{path} cannot be seen from here")),
        State::Nowhere => wrong("there is not even its directory"),
        State::Missing => wrong("it is missing"),
        State::Other => wrong("it is no socket"),
        State::Silent(why) => wrong(why),
        State::Answers { owner, .. } if !is_ours(*owner) => Finding::error(
            check,
            format!("{path} belongs to uid {owner}, who may put what they like in its place"),
            "have root make it, in a directory that only root writes",
        ),
        State::Answers { mode, .. } if mode & 0o002 != 0 => Finding::warning(
            check,
            format!("{path} may be used by everybody on this node (mode {mode:04o})"),
            format!("chmod o-w {path}"),
        ),
        State::Answers { .. } => Finding::ok(check, format!("{path} answers")),
    }
}

fn is_ours(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Level;

    fn sound() -> Host {
        let answers = State::Answers { owner: 0, mode: 0o600 };
        let socket = |purpose, path: &str| Socket { purpose, path: path.into(), state: answers.clone() };
        Host {
            kernel: "6.18.44-generic".to_owned(),
            swap: true,
            fuse: true,
            kubelet: Kubelet { root: "/k".into(), registry: true, running: vec!["/k".into()] },
            state: ("/run/secretfs".into(), Some(true)),
            chain: None,
            sockets: vec![
                socket(Purpose::Csi, "/k/csi.sock"),
                socket(Purpose::Registration, "/k/reg.sock"),
                socket(Purpose::Mounter, "/run/mounter.sock"),
                socket(Purpose::Admin, "/run/admin/node.sock"),
                socket(Purpose::Provider, "/providers/acme.sock"),
            ],
        }
    }

    /// The findings for a node with one fault, without those that are `Ok`.
    fn found(fault: impl FnOnce(&mut Host)) -> Vec<(Level, &'static str)> {
        let mut host = sound();
        fault(&mut host);
        let findings = findings(&host);
        assert!(
            findings.iter().all(|finding| finding.remedy.is_empty() == (finding.level < Level::Warning)),
            "{findings:#?}"
        );
        findings
            .iter()
            .filter(|finding| finding.level != Level::Ok)
            .map(|finding| (finding.level, finding.check))
            .collect()
    }

    fn broken(index: usize, state: State) -> Vec<(Level, &'static str)> {
        found(|host| host.sockets[index].state = state)
    }

    #[test]
    fn a_sound_node_has_no_findings() {
        assert_eq!(found(|_| {}), []);
    }

    #[test]
    fn each_fault_of_a_node_is_named() {
        let error = |check| vec![(Level::Error, check)];
        let warning = |check| vec![(Level::Warning, check)];
        assert_eq!(found(|host| host.kernel = "5.4.0".to_owned()), [error("kernel"), error("swap")].concat());
        assert_eq!(found(|host| host.kernel = "6.1.0-13-amd64".to_owned()), error("swap"));
        assert_eq!(found(|host| (host.kernel, host.swap) = ("6.1.0".to_owned(), false)), warning("swap"));
        assert_eq!(found(|host| host.kubelet.running = vec!["/other".into()]), error("kubelet-root"));
        assert_eq!(found(|host| host.kubelet.registry = false), error("kubelet-root"));
        assert_eq!(found(|host| host.state.1 = Some(false)), error("state-dir"));
        assert_eq!(broken(0, State::Missing), error("csi-socket"));
        assert_eq!(broken(1, State::Nowhere), error("registration-socket"));
        assert_eq!(broken(0, State::OutOfSight), [(Level::NotLookedAt, "csi-socket")]);
        assert_eq!(broken(2, State::Silent("no".to_owned())), error("mounter-socket"));
        assert_eq!(broken(3, State::Other), error("admin-socket"));
        assert_eq!(broken(4, State::Answers { owner: 4711, mode: 0o600 }), error("provider-socket"));
        assert_eq!(broken(4, State::Answers { owner: 0, mode: 0o777 }), warning("provider-socket"));
    }

    #[test]
    fn where_there_is_an_audit_trail_it_is_told_whether_it_is_a_chain() {
        let told = |was_begun| {
            let host = Host { chain: Some(("/log/audit.chain".into(), was_begun)), ..sound() };
            let findings = findings(&host);
            let own = findings.into_iter().find(|finding| finding.check == "audit-trail").unwrap();
            (own.level, own.found)
        };

        assert_eq!(told(Some(true)), (Level::Ok, "its records are a chain (/log/audit.chain)".to_owned()));
        let (level, without) = told(Some(false));
        assert!(level == Level::Ok && without.contains("no chain"), "{without}");
        assert_eq!(told(None).0, Level::NotLookedAt);
        assert!(findings(&sound()).iter().all(|finding| finding.check != "audit-trail"));
    }

    #[test]
    fn what_is_no_node_is_not_judged_as_one() {
        let mut host = sound();
        (host.kubelet.registry, host.kubelet.running) = (false, Vec::new());
        host.sockets.iter_mut().for_each(|socket| socket.state = State::Nowhere);
        assert_eq!(findings(&host).len(), 1);
        assert_eq!(findings(&host)[0].level, Level::NotLookedAt);
    }
}
