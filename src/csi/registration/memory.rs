use std::fs;
use std::io;
use std::path::Path;

use super::Registration;
use super::sockets::SocketFile;

impl Registration {
    /// Writes down that kubelet registered the driver through `file`.
    pub(super) fn remember(&self, file: &SocketFile) {
        warn(&self.memory, fs::write(&self.memory, self.note(file)));
    }

    /// Removes the note, because kubelet may not know the driver any more.
    pub(super) fn forget(&self) {
        match fs::remove_file(&self.memory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => warn(&self.memory, removed),
        }
    }

    /// Whether kubelet registered the driver through `file`, with the same name and endpoint as now.
    pub(super) fn remembers(&self, file: &SocketFile) -> bool {
        fs::read_to_string(&self.memory).is_ok_and(|note| note == self.note(file))
    }

    fn note(&self, file: &SocketFile) -> String {
        format!("{file} {} {}\n", self.driver, self.endpoint)
    }
}

/// Logs a failure. Without the note the next process registers again, so nothing else is lost.
fn warn(memory: &Path, outcome: io::Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(path = %memory.display(), %error, "the note of the registration is not kept");
    }
}
