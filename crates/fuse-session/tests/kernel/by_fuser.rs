//! What `fuse-fuser` does beside answering as this crate does: it waits, tells and withdraws.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use fuse_session::{Device, mount};
use fuse_tree::{AllowAll, Answer, Ask, Errno, Plain, Question, Source, Volume};
use rustix::fs::OFlags;

use super::mapper::Mapper;
use super::mounted::{PATIENCE, errno, eventually, leave_mounts};
use super::peer::Peer;
use super::shown::{edition, edition_of, showing};

const SIZE: usize = 10_000;

/// Keeps who asks waiting until the test says otherwise.
#[derive(Debug, Default)]
struct Store(Mutex<Vec<Answer>>);

impl Ask for Store {
    fn ask(&self, _: Question, answer: Answer) {
        self.0.lock().unwrap().push(answer);
    }
}

fn asking() -> (Peer, Arc<Store>) {
    let store = Arc::new(Store::default());
    let files = [("a", Source::Asked(store.clone())), ("b", Source::Known(Plain::of("known")))];
    (Peer::new(showing("asked", Arc::new(AllowAll), edition_of(1, files))), store)
}

fn known(files: &[(&str, &[u8])]) -> (Peer, Arc<Volume>) {
    let volume = showing("known", Arc::new(AllowAll), edition(1, files));
    (Peer::new(volume.clone()), volume)
}

#[test]
fn by_fuser_who_opens_waits_for_the_answer_and_nobody_else_does() {
    leave_mounts();
    let (peer, store) = asking();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(peer.path().join("a")));
        eventually("it is asked", || !store.0.lock().unwrap().is_empty());
        assert_eq!(fs::read(peer.path().join("b")).unwrap(), b"known");

        store.0.lock().unwrap().remove(0).holds(3, Plain::of("asked for"));

        assert_eq!(reader.join().unwrap().unwrap(), b"asked for");
    });
}

#[test]
fn by_fuser_an_answer_that_is_dropped_is_an_error_and_the_next_open_asks_again() {
    leave_mounts();
    let (peer, store) = asking();
    for _ in 0..2 {
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| errno(fs::read(peer.path().join("a"))));
            eventually("it is asked", || !store.0.lock().unwrap().is_empty());
            store.0.lock().unwrap().clear();
            assert_eq!(reader.join().unwrap(), Errno::IO);
        });
    }
}

#[test]
fn by_fuser_a_rotation_is_made_through_the_mount_and_an_open_handle_keeps_its_edition() {
    leave_mounts();
    let (peer, volume) = known(&[("a", b"first")]);
    let held = File::open(peer.path().join("a")).unwrap();
    volume.add(edition(2, &[("a", b"second"), ("new", b"n")])).unwrap();
    let root = File::open(peer.path()).unwrap();

    fuse_session::rotate(&volume, root.into(), 2, PATIENCE).unwrap();

    let mut bytes = [0; 5];
    held.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!((&bytes, fs::read(peer.path().join("a")).unwrap().as_slice()), (b"first", &b"second"[..]));
    assert_eq!(fs::read(peer.path().join("new")).unwrap(), b"n");
    assert_eq!(errno(fs::remove_file(peer.path().join("new"))), Errno::ROFS);
}

#[test]
fn by_fuser_a_withdrawn_file_is_gone_for_handles_and_names() {
    leave_mounts();
    let (peer, _) = known(&[("a", b"secret"), ("b", b"stays")]);
    let held = File::open(peer.path().join("a")).unwrap();

    peer.session().withdraw(["a"]).unwrap().wait(PATIENCE).unwrap();

    assert_eq!(errno(held.read_at(&mut [0; 1], 0)), Errno::ACCESS);
    assert_eq!(errno(fs::read(peer.path().join("a"))), Errno::NOENT);
    assert_eq!(fs::read(peer.path().join("b")).unwrap(), b"stays");
}

#[test]
fn by_fuser_a_volume_that_nobody_uses_takes_no_processor() {
    leave_mounts();
    let device = Device::open().unwrap();
    let root = mount(&device, "fuser-test").unwrap();
    let of_fuser = device.as_fd().try_clone_to_owned().unwrap();
    let volume = showing("idle", Arc::new(AllowAll), edition(1, &[("a", b"1")]));

    let _session = fuse_fuser::serve(volume, of_fuser).unwrap();

    // Its reads wait, though those of our own layer do not.
    assert!(!rustix::fs::fcntl_getfl(&device).unwrap().contains(OFlags::NONBLOCK));
    drop(root);
}

fn map(file: &File) -> Mapper {
    let mapper = Mapper::start();
    mapper.map(file, SIZE).unwrap();
    mapper
}

#[test]
fn by_fuser_no_page_of_a_file_stays_after_it_was_read_or_closed() {
    leave_mounts();
    let (peer, _) = known(&[("a", &[b's'; SIZE])]);
    let file = File::open(peer.path().join("a")).unwrap();
    let watching = map(&file);

    assert_eq!(file.read_at(&mut [0; SIZE], 0).unwrap(), SIZE);
    assert_eq!(watching.resident_pages(), 0);
    let mapping = map(&File::open(peer.path().join("a")).unwrap());
    assert_eq!(mapping.read(), [b's'; SIZE]);
    assert!(watching.resident_pages() > 0);
    drop(mapping);

    eventually("the pages go", || watching.resident_pages() == 0);
}

#[test]
fn by_fuser_a_withdrawn_file_is_gone_for_mappings() {
    leave_mounts();
    let (peer, _) = known(&[("a", &[b's'; SIZE])]);
    let file = File::open(peer.path().join("a")).unwrap();
    let mapping = map(&file);
    assert_eq!(mapping.read(), [b's'; SIZE]);

    peer.session().withdraw(["a"]).unwrap().wait(PATIENCE).unwrap();

    assert_eq!(mapping.resident_pages(), 0);
}

#[test]
fn by_fuser_a_volume_that_is_mounted_nowhere_any_more_is_told_nothing() {
    leave_mounts();
    let (peer, _) = known(&[("a", b"1")]);

    rustix::mount::unmount(peer.path(), rustix::mount::UnmountFlags::empty()).unwrap();

    eventually("it has ended", || {
        peer.session().withdraw(["a"]).and_then(|delivery| delivery.wait(PATIENCE)).is_err()
    });
}
