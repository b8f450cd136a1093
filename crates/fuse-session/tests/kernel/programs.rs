//! What programs do to files.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use fuse_tree::{AllowAll, Errno};
use rustix::fs::{FlockOperation, fcntl_lock, flock};

use super::mapper::Mapper;
use super::mounted::{KEY, Mounted, PATIENCE, Place, errno};
use super::shown::{edition, showing};

const TEXT: &[u8] = b"the quick brown fox\n";

fn large() -> Vec<u8> {
    (0..200_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn mounted() -> Mounted {
    let large = large();
    let script = b"#!/bin/sh\n".as_slice();
    let files = [("a", TEXT), ("d/b", b"bb"), ("empty", b""), ("large", &large), ("script", script)];
    Mounted::new(showing("programs", Arc::new(AllowAll), edition(1, &files)))
}

#[test]
fn files_read_as_they_are() {
    let volume = mounted();

    assert_eq!(volume.read("a").unwrap(), TEXT);
    assert_eq!(volume.read("d/b").unwrap(), b"bb");
    assert_eq!(volume.read("empty").unwrap(), b"");
    assert_eq!(volume.read("large").unwrap(), large());
    assert_eq!(fs::read_link(volume.at("a")).unwrap().to_str(), Some("..data/a"));
    let mut names: Vec<_> =
        fs::read_dir(volume.place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["..data", "..v1", "a", "d", "empty", "large", "script"]);
    let about = fs::metadata(volume.at("a")).unwrap();
    assert_eq!((about.len(), about.mode(), about.nlink(), about.mtime()), (20, 0o100_444, 1, 1_700_000_000));
}

#[test]
fn reading_past_the_end_reads_nothing() {
    let volume = mounted();
    let mut file = File::open(volume.at("a")).unwrap();
    let mut into = [0; 100];

    assert_eq!(file.read_at(&mut into, 15).unwrap(), 5);
    assert_eq!(file.read_at(&mut into, 20).unwrap(), 0);
    assert_eq!(file.read_at(&mut into, 1 << 62).unwrap(), 0);
    assert_eq!(file.seek(SeekFrom::End(-4)).unwrap(), 16);
    assert_eq!(file.read(&mut into).unwrap(), 4);
}

#[test]
fn nothing_can_be_changed() {
    let volume = mounted();
    let (a, new) = (volume.at("a"), volume.at("new"));
    let write = |options: &mut OpenOptions| errno(options.open(&a));

    assert_eq!(write(OpenOptions::new().write(true)), Errno::ROFS);
    assert_eq!(write(OpenOptions::new().read(true).write(true)), Errno::ROFS);
    assert_eq!(write(OpenOptions::new().append(true)), Errno::ROFS);
    assert_eq!(write(OpenOptions::new().write(true).truncate(true)), Errno::ROFS);
    assert_eq!(errno(File::create(&new)), Errno::ROFS);
    assert_eq!(errno(fs::rename(&a, &new)), Errno::ROFS);
    assert_eq!(errno(fs::rename(volume.at("..data"), volume.at("..data_tmp"))), Errno::ROFS);
    assert_eq!(errno(fs::remove_file(&a)), Errno::ROFS);
    assert_eq!(errno(fs::remove_dir(volume.at("..v1"))), Errno::ROFS);
    assert_eq!(errno(fs::create_dir(&new)), Errno::ROFS);
    assert_eq!(errno(symlink("a", &new)), Errno::ROFS);
    assert_eq!(errno(fs::hard_link(volume.at("..v1/a"), &new)), Errno::ROFS);
    assert_eq!(errno(fs::set_permissions(&a, PermissionsExt::from_mode(0o777))), Errno::ROFS);
    assert_eq!(errno(std::os::unix::fs::chown(&a, Some(1), None)), Errno::ROFS);
    let flags = rustix::fs::XattrFlags::empty();
    assert_eq!(rustix::fs::setxattr(&a, "user.x", b"1", flags), Err(Errno::ROFS));
    assert_eq!(volume.read("a").unwrap(), TEXT);
}

#[test]
fn nothing_runs() {
    let volume = mounted();

    assert_eq!(errno(Command::new(volume.at("script")).spawn()), Errno::ACCESS);
}

#[test]
fn what_is_no_file_is_told_apart() {
    let volume = mounted();
    let not_followed = |path| OpenOptions::new().read(true).custom_flags(0o400_000).open(path);

    assert_eq!(errno(File::open(volume.at("none"))), Errno::NOENT);
    assert_eq!(errno(File::open(volume.at("a/b"))), Errno::NOTDIR);
    assert_eq!(errno(fs::read(volume.at("d"))), Errno::ISDIR);
    assert_eq!(errno(not_followed(volume.at("a"))), Errno::LOOP);
    assert_eq!(errno(fs::read_link(volume.at("..v1/a"))), Errno::INVAL);
    assert_eq!(rustix::fs::getxattr_query(volume.at("a"), "user.x"), Err(Errno::OPNOTSUPP));
}

#[test]
fn a_file_can_be_mapped_for_reading() {
    let volume = mounted();
    let large = large();
    let file = File::open(volume.at("large")).unwrap();
    let mapper = Mapper::start();

    mapper.map(&file, large.len()).unwrap();

    assert_eq!(mapper.read(), large);
    assert!(volume.served.agreed().allows_mapping());
}

#[test]
fn locks_are_the_kernels_own() {
    let volume = mounted();
    let (one, other) = (File::open(volume.at("a")).unwrap(), File::open(volume.at("a")).unwrap());

    fcntl_lock(&one, FlockOperation::NonBlockingLockShared).unwrap();
    assert_eq!(
        fcntl_lock(&one, FlockOperation::NonBlockingLockExclusive),
        Err(Errno::BADF),
        "it is open for reading"
    );
    flock(&one, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(flock(&other, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK));
    drop(one);
    flock(&other, FlockOperation::NonBlockingLockShared).unwrap();
}

#[test]
fn a_file_can_be_sent_and_spliced() {
    let volume = mounted();
    let (mut from, to) = std::io::pipe().unwrap();
    let mut into = [0; 20];

    let sent = rustix::fs::sendfile(&to, File::open(volume.at("a")).unwrap(), None, 100).unwrap();
    from.read_exact(&mut into).unwrap();
    assert_eq!((sent, into.as_slice()), (20, TEXT));

    into.fill(0);
    let file = File::open(volume.at("a")).unwrap();
    let spliced =
        rustix::pipe::splice(&file, None, &to, None, 100, rustix::pipe::SpliceFlags::empty()).unwrap();
    from.read_exact(&mut into).unwrap();
    assert_eq!((spliced, into.as_slice()), (20, TEXT));
}

#[test]
fn a_thousand_readers_at_once_read_the_same() {
    let volume = mounted();
    let large = large();
    std::thread::scope(|scope| {
        let reader = || {
            assert_eq!(volume.read("a").unwrap(), TEXT);
            assert!(volume.read("large").unwrap() == large);
        };
        let start = |_| std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, reader).unwrap();
        let readers: Vec<_> = (0..1000).map(start).collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn volumes_that_are_read_all_the_time_keep_no_other_waiting() {
    let (first, is_over) = (mounted(), AtomicBool::new(false));
    let more = (1..=3).map(|number| {
        let (place, device) = Place::new();
        let volume = showing("more", Arc::new(AllowAll), edition(1, &[("a", TEXT)]));
        first.sessions.serve(KEY + number, device, place.agreed, volume).unwrap();
        place
    });
    let more: Vec<_> = more.collect();

    let (busy, quiet) = more.split_at(2);
    let read_on = |place: &Place| {
        while !is_over.load(Ordering::Relaxed) {
            assert_eq!(fs::read(place.at("a")).unwrap(), TEXT);
        }
    };
    let look = |_| {
        let started = Instant::now();
        assert_eq!(fs::read(quiet[0].at("a")).unwrap(), TEXT);
        started.elapsed()
    };
    let longest = std::thread::scope(|scope| {
        for place in busy {
            scope.spawn(|| read_on(place));
        }
        let longest = (0..200).map(look).max().unwrap();
        is_over.store(true, Ordering::Relaxed);
        longest
    });

    println!("the longest look took {longest:?}");
    assert!(longest < PATIENCE, "{longest:?}");
}

#[test]
fn a_volume_that_is_unmounted_is_served_no_longer() {
    let Mounted { place, sessions, served } = mounted();

    drop(place);

    super::mounted::eventually("it ends", || served.has_ended() && sessions.health().volumes == 0);
}
