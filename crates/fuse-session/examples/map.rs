//! A process that maps files, for the tests: who serves a volume must not map its files.
//!
//! Standard input is a socket. `map LENGTH` with a file maps that in place of the file before, and is answered by
//! `mapped`, or by `errno NUMBER`. `read` is answered with a memory file of the bytes, `resident` by how many pages the
//! kernel has.
#![allow(clippy::unwrap_used, reason = "a test starts it and sees it fail")]

#[path = "../tests/kernel/packet.rs"]
mod packet;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::MemfdFlags;
use sys::Mapping;

fn main() {
    let socket = io::stdin();
    let mut mapping = None;
    while let Ok((text, file)) = packet::receive(&socket) {
        let (answer, bytes) = answer(&mut mapping, &text, file);
        packet::send(&socket, &answer, bytes.as_ref().map(AsFd::as_fd)).unwrap();
    }
}

fn answer(mapping: &mut Option<Mapping>, text: &str, file: Option<OwnedFd>) -> (String, Option<OwnedFd>) {
    match text {
        "read" => ("bytes".to_owned(), Some(memory_file(&mapping.as_ref().unwrap().read()))),
        "resident" => (mapping.as_ref().unwrap().resident_pages().unwrap().to_string(), None),
        _ => {
            *mapping = None;
            let len = text.strip_prefix("map ").unwrap().parse().unwrap();
            let mapped = Mapping::new(file.unwrap().as_fd(), len).map(|mapped| *mapping = Some(mapped));
            (mapped.map_or_else(|error| told(&error), |()| "mapped".to_owned()), None)
        }
    }
}

fn told(error: &io::Error) -> String {
    format!("errno {}", error.raw_os_error().unwrap())
}

fn memory_file(bytes: &[u8]) -> OwnedFd {
    let mut file = File::from(rustix::fs::memfd_create("mapped", MemfdFlags::CLOEXEC).unwrap());
    file.write_all(bytes).unwrap();
    file.into()
}
