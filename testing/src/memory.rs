use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// How many bytes are read at once.
const CHUNK: usize = 1 << 20;

/// How often `needle` occurs in the anonymous memory (heap, stacks, anonymous mappings) of process `pid`. The process
/// must not be the caller, whose memory holds `needle` itself. Needs root.
///
/// # Panics
///
/// The process has ended, or its memory cannot be read.
pub fn occurrences_in_memory(pid: u32, needle: &[u8]) -> usize {
    occurrences_where(pid, needle, |path| {
        path.is_empty() || path == "[heap]" || path.starts_with("[stack") || path.starts_with("[anon")
    })
}

/// The same in all memory that the process has mapped for reading, files too. What the kernel itself may not read
/// (`memfd_secret`) is not found.
///
/// # Panics
///
/// As [`occurrences_in_memory`].
pub fn occurrences_in_all_memory(pid: u32, needle: &[u8]) -> usize {
    occurrences_where(pid, needle, |_| true)
}

fn occurrences_where(pid: u32, needle: &[u8], is_wanted: impl Fn(&str) -> bool) -> usize {
    assert!(!needle.is_empty(), "an empty needle is everywhere");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process runs");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("tests that read memory run as root");
    let ranges = maps.lines().filter_map(|line| readable(line, &is_wanted));
    ranges.map(|range| occurrences(&memory, range, needle)).sum()
}

/// The address range in a line of `maps`, if it is readable and its file is wanted.
fn readable(line: &str, is_wanted: impl Fn(&str) -> bool) -> Option<Range<u64>> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_readable = fields.next()?.starts_with('r');
    let path = fields.nth(3).unwrap_or("");
    (is_readable && is_wanted(path))
        .then_some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

fn occurrences(memory: &File, range: Range<u64>, needle: &[u8]) -> usize {
    let mut found = 0;
    let mut window = Vec::new();
    for at in range.clone().step_by(CHUNK) {
        let mut chunk = vec![0; CHUNK.min(usize::try_from(range.end - at).unwrap_or(CHUNK))];
        // The process may return memory to the kernel while it is read.
        let read = memory.read_at(&mut chunk, at).unwrap_or(0);
        window.extend_from_slice(chunk.get(..read).unwrap_or_default());
        found += memchr::memmem::find_iter(&window, needle).count();
        window.drain(..window.len().saturating_sub(needle.len() - 1));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_another_process_holds_is_found_and_what_it_does_not_hold_is_not() {
        // `read` keeps the line in a variable, and then waits for the next line.
        let mut shell = Command::new("bash")
            .args(["-c", "read held; echo ready; read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = shell.stdin.take().unwrap();
        writeln!(input, "canary-in-a-mine").unwrap();
        shell.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();

        let held = occurrences_in_memory(shell.id(), b"canary-in-a-mine");
        let not_held = occurrences_in_all_memory(shell.id(), b"canary-in-a-cage");
        let (of_file, anonymous) = (
            occurrences_in_all_memory(shell.id(), b"\x7fELF"),
            occurrences_in_memory(shell.id(), b"\x7fELF\x02\x01\x01"),
        );

        drop(input);
        shell.wait().unwrap();
        assert!(held >= 1);
        assert_eq!(not_held, 0);
        assert!(of_file > anonymous, "programs are files that a process has mapped");
    }
}
