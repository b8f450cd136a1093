//! What a kernel keeps of files.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use fuse_session::Store;
use fuse_tree::{AllowAll, Errno, Source};

use super::mapper::Mapper;
use super::mounted::{Mounted, PATIENCE, errno, eventually};
use super::shown::{edition_of, showing};

const SIZE: usize = 10_000;

fn mounted() -> Mounted {
    let mut store = Store::with_room(2 * SIZE).unwrap();
    store.push(&[b's'; SIZE]).unwrap();
    store.push(&[b't'; SIZE]).unwrap();
    let (_, slots) = store.build();
    let sources = slots.into_iter().map(|slot| Source::Known(Arc::new(slot)));
    Mounted::new(showing("pages", Arc::new(AllowAll), edition_of(1, ["a", "b"].into_iter().zip(sources))))
}

fn map(file: &File) -> Mapper {
    let mapper = Mapper::start();
    mapper.map(file, SIZE).unwrap();
    mapper
}

#[test]
fn no_page_of_a_file_stays_after_it_was_read() {
    let volume = mounted();
    let file = File::open(volume.at("a")).unwrap();
    let mapping = map(&file);

    assert_eq!(volume.read("a").unwrap(), [b's'; SIZE]);
    assert_eq!(file.read_at(&mut [0; SIZE], 0).unwrap(), SIZE);

    assert_eq!(mapping.resident_pages(), 0);
}

#[test]
fn pages_that_a_mapping_filled_go_when_the_file_is_closed() {
    let volume = mounted();
    let watching = map(&File::open(volume.at("a")).unwrap());
    let mapping = map(&File::open(volume.at("a")).unwrap());
    assert_eq!(mapping.read(), [b's'; SIZE]);
    assert!(watching.resident_pages() > 0);

    drop(mapping);

    eventually("the pages go", || watching.resident_pages() == 0);
    assert_eq!(watching.read(), [b's'; SIZE]);
}

#[test]
fn a_withdrawn_file_is_gone_for_handles_names_and_mappings() {
    let volume = mounted();
    let file = File::open(volume.at("a")).unwrap();
    let mapping = map(&file);
    assert_eq!(mapping.read(), [b's'; SIZE]);

    volume.sessions.withdraw(super::mounted::KEY, ["a"]).unwrap().wait(PATIENCE).unwrap();

    assert_eq!(errno(file.read_at(&mut [0; 1], 0)), Errno::ACCESS);
    assert_eq!(errno(volume.read("a")), Errno::NOENT);
    assert_eq!(errno(volume.read("..v1/a")), Errno::NOENT);
    assert_eq!(errno(std::fs::symlink_metadata(volume.at("a"))), Errno::NOENT);
    assert_eq!(mapping.resident_pages(), 0);
    assert_eq!(volume.read("b").unwrap(), [b't'; SIZE]);
}
