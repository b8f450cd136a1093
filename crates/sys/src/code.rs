use std::fs;
use std::io;

use rustix::mm::{Advice, madvise};

/// Unmaps the pages of the running program's code and constants that were read so far. If a page is used again, the
/// kernel maps it again from the page cache or from the program's file. Call it when the start is complete: most pages
/// that the start read are not needed later.
///
/// # Errors
///
/// The process cannot read which files are mapped where.
pub fn give_back_code() -> io::Result<()> {
    let program = fs::read_link("/proc/self/exe")?;
    let Some(program) = program.to_str() else { return Ok(()) };
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        if let Some((start, end)) = code_of(program, line) {
            let start = std::ptr::with_exposed_provenance_mut(start);
            // SAFETY: the range is a private mapping of a file, and nothing was ever written through it: each page
            // reads the same when it is mapped again.
            let advised = unsafe { madvise(start, end, Advice::LinuxDontNeed) };
            advised?;
        }
    }
    Ok(())
}

/// Start and length of the mapping in `line` of `/proc/self/maps`, if it is code of `program` or its constants.
///
/// The constants are in the mapping that begins with the program's first byte. Another read-only mapping has addresses
/// that the loader wrote at the start and then protected. That one must stay. It never begins at the first byte.
fn code_of(program: &str, line: &str) -> Option<(usize, usize)> {
    let (mapping, path) = line.split_at_checked(line.find('/')?)?;
    let mut fields = mapping.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (rights, offset) = (fields.next()?, fields.next()?);
    let constants = rights == "r--p" && usize::from_str_radix(offset, 16) == Ok(0);
    if path != program || !(rights == "r-xp" || constants) {
        return None;
    }
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_and_constants_of_the_program_itself_are_meant() {
        let line = |rights: &str, path: &str| format!("5000-7000 {rights} 00001000 fe:00 12      {path}");

        assert_eq!(code_of("/bin/a program", &line("r-xp", "/bin/a program")), Some((0x5000, 0x2000)));
        assert_eq!(code_of("/bin/a", &line("r--p", "/bin/a")), None);
        let constants = "5000-7000 r--p 00000000 fe:00 12      /bin/a";
        assert_eq!(code_of("/bin/a", constants), Some((0x5000, 0x2000)));
        assert_eq!(code_of("/bin/a", &line("rwxp", "/bin/a")), None);
        assert_eq!(code_of("/bin/a", &line("r-xs", "/bin/a")), None);
        assert_eq!(code_of("/bin/a", &line("r-xp", "/bin/a (deleted)")), None);
        assert_eq!(code_of("/bin/a", "5000-7000 r-xp 00000000 00:00 0 [vdso]"), None);
    }

    #[test]
    fn a_program_that_gave_back_its_code_runs_on() {
        for _ in 0..10 {
            give_back_code().unwrap();
        }
    }
}
