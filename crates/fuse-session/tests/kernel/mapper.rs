//! Mappings of files. Each is in a process of its own, since the process of a test serves the files: its threads would
//! wait for each other in the kernel, for ever (see the documentation of the crate).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::program::Program;

/// A process that has one file mapped at a time.
#[derive(Debug)]
pub(crate) struct Mapper(Program);

impl Mapper {
    pub(crate) fn start() -> Self {
        Self(Program::start("map", [""; 0]))
    }

    /// Maps the first `len` bytes of a file, instead of what was mapped before.
    pub(crate) fn map(&self, file: &File, len: usize) -> io::Result<()> {
        self.0.send(&format!("map {len}"), Some(file.as_fd()));
        let answer = self.0.receive().0;
        if let Some(errno) = answer.strip_prefix("errno ") {
            return Err(io::Error::from_raw_os_error(errno.parse().unwrap()));
        }
        assert_eq!(answer, "mapped");
        Ok(())
    }

    /// What it reads through the mapping.
    pub(crate) fn read(&self) -> Vec<u8> {
        self.0.send("read", None);
        let file = File::from(self.0.receive().1.unwrap());
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// How many pages of what is mapped the kernel has in memory.
    pub(crate) fn resident_pages(&self) -> usize {
        self.0.send("resident", None);
        self.0.receive().0.parse().unwrap()
    }
}
