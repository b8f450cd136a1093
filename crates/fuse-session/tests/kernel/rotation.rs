//! Another edition, as those see it who watch, hold files open, or have a part mounted elsewhere.

use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use fuse_session::{attach, private_clone};
use fuse_tree::AllowAll;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::mount::{OpenTreeFlags, UnmountFlags, open_tree, unmount};
use tempfile::TempDir;

use super::mounted::Mounted;
use super::shown::{edition, showing};

fn mounted() -> Mounted {
    Mounted::new(showing("rotation", Arc::new(AllowAll), edition(1, &[("a", b"old"), ("d/b", b"old too")])))
}

/// A mount of what is at a path, elsewhere and read-only, as a container has it.
struct Bind(TempDir);

impl Bind {
    fn of(path: &Path) -> Self {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let source = open_tree(rustix::fs::CWD, path, flags).unwrap();
        sys::make_read_only(source.as_fd()).unwrap();
        let bind = Self(TempDir::new().unwrap());
        let is_directory = fs::metadata(path).unwrap().is_dir();
        if !is_directory {
            File::create(bind.0.path().join("file")).unwrap();
        }
        attach(source.as_fd(), &bind.at(is_directory)).unwrap();
        bind
    }

    fn at(&self, is_directory: bool) -> std::path::PathBuf {
        if is_directory { self.0.path().to_owned() } else { self.0.path().join("file") }
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
        let _ = unmount(self.0.path().join("file"), UnmountFlags::DETACH);
    }
}

fn watch(path: &Path) -> OwnedFd {
    let watcher = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watcher, path, WatchFlags::ALL_EVENTS).unwrap();
    watcher
}

/// What the watcher has seen, but for who looks and who opens.
fn events(watcher: &OwnedFd) -> Vec<(ReadFlags, String)> {
    let mut space = [MaybeUninit::uninit(); 8192];
    let mut reader = Reader::new(watcher, &mut space);
    let mut events = Vec::new();
    while let Ok(event) = reader.next() {
        let looks = ReadFlags::ACCESS | ReadFlags::OPEN | ReadFlags::CLOSE_NOWRITE;
        let name = event.file_name().map(|name| name.to_str().unwrap().to_owned()).unwrap_or_default();
        if !event.events().intersects(looks) {
            events.push((event.events(), name));
        }
    }
    events
}

#[test]
fn watchers_in_a_container_see_kubelets_events() {
    let volume = mounted();
    let bind = Bind::of(volume.place.path());
    let watcher = watch(bind.0.path());

    volume.rotate(edition(2, &[("a", b"new"), ("more", b"m")]));

    let event = |flags, name: &str| (flags, name.to_owned());
    assert_eq!(
        events(&watcher),
        [
            event(ReadFlags::DELETE, "d"),
            event(ReadFlags::CREATE, "..data_tmp"),
            event(ReadFlags::MOVED_FROM, "..data_tmp"),
            event(ReadFlags::MOVED_TO, "..data"),
            event(ReadFlags::CREATE, "more"),
        ]
    );
    assert_eq!(fs::read(bind.0.path().join("a")).unwrap(), b"new");
}

#[test]
fn who_watches_a_file_sees_its_edition_deleted() {
    let volume = mounted();
    let (file, root) = (watch(&volume.at("a")), watch(volume.place.path()));
    volume.rotate(edition(2, &[("a", b"new"), ("d/b", b"new too")]));
    events(&root);

    volume.remove(1);

    let flags: Vec<_> = events(&file).into_iter().map(|(flags, _)| flags).collect();
    assert_eq!(flags, [ReadFlags::ATTRIB, ReadFlags::DELETE_SELF, ReadFlags::IGNORED]);
    assert_eq!(events(&root), [(ReadFlags::DELETE | ReadFlags::ISDIR, "..v1".to_owned())]);
}

#[test]
fn an_open_handle_keeps_its_edition_and_a_new_one_has_the_next() {
    let volume = mounted();
    let held = File::open(volume.at("a")).unwrap();
    let directory = File::open(volume.at("..data/")).unwrap();

    volume.rotate(edition(2, &[("a", b"newer")]));

    let mut into = [0; 9];
    assert_eq!((held.read_at(&mut into, 0).unwrap(), &into[..3]), (3, b"old".as_slice()));
    assert_eq!(volume.read("a").unwrap(), b"newer");
    let old =
        rustix::fs::openat(&directory, "a", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    assert_eq!((rustix::io::pread(&old, &mut into, 0).unwrap(), &into[..3]), (3, b"old".as_slice()));
    volume.remove(1);
    assert_eq!((held.read_at(&mut into, 0).unwrap(), &into[..3]), (3, b"old".as_slice()));
    assert_eq!(held.metadata().unwrap().len(), 5, "a kernel does not tell for which handle it asks");
}

#[test]
fn a_file_and_a_directory_that_are_mounted_elsewhere_rotate_too() {
    let volume = mounted();
    let (file, directory) = (Bind::of(&volume.at("a")), Bind::of(&volume.at("d")));
    assert_eq!(fs::read(file.at(false)).unwrap(), b"old");
    assert_eq!(fs::read(directory.0.path().join("b")).unwrap(), b"old too");

    for number in 2..5 {
        let text = format!("edition {number}");
        volume.rotate(edition(number, &[("a", text.as_bytes()), ("d/b", text.as_bytes()), ("d/c", b"c")]));
        volume.remove(number - 1);
        assert_eq!(fs::read(file.at(false)).unwrap(), text.as_bytes());
        assert_eq!(fs::metadata(file.at(false)).unwrap().len(), text.len() as u64);
        assert_eq!(fs::read(directory.0.path().join("b")).unwrap(), text.as_bytes());
        assert_eq!(fs::read(directory.0.path().join("c")).unwrap(), b"c");
    }
}

#[test]
fn an_edition_that_nobody_serves_in_time_can_be_shown_unseen() {
    let volume = mounted();
    volume.volume().add(edition(2, &[("a", b"new")])).unwrap();
    let closed = File::open("/").unwrap().into();

    assert!(fuse_session::rotate(volume.volume(), closed, 2, super::mounted::PATIENCE).is_err());
    let notices = volume.volume().show(2).unwrap();
    volume.sessions.tell(super::mounted::KEY, notices).unwrap().wait(super::mounted::PATIENCE).unwrap();

    assert_eq!(volume.read("a").unwrap(), b"new");
    assert!(fs::symlink_metadata(volume.at("d")).is_err());
}

#[test]
fn a_private_clone_keeps_the_volume_alive_until_it_is_closed() {
    let volume = mounted();
    let clone = private_clone(volume.place.clone.as_fd()).unwrap();
    let (served, path) = (volume.served.clone(), volume.place.path().to_owned());

    unmount(&path, UnmountFlags::empty()).unwrap();
    drop(volume.place);
    rustix::fs::statat(&clone, "a", rustix::fs::AtFlags::empty()).unwrap();
    drop(clone);

    super::mounted::eventually("it ends", || served.has_ended());
}
