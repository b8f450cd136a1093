//! Privileges that a process needs, and gives up beside these: capabilities and system calls.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;
use rustix::thread::{self, CapabilitySet, CapabilitySets};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};

/// A filter of system calls for this processor: calls that `rules` have get `found`, and all others `other`.
///
/// # Errors
///
/// Nobody wrote the filter for this processor, or the rules do not fit.
pub fn call_filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    found: SeccompAction,
    other: SeccompAction,
) -> io::Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    SeccompFilter::new(rules, other, found, arch).and_then(BpfProgram::try_from).map_err(io::Error::other)
}

/// What a call gets that fails with `errno`.
pub fn refusal(errno: Errno) -> SeccompAction {
    SeccompAction::Errno(errno.raw_os_error().unsigned_abs())
}

/// Gives up every capability of the calling thread but the `needed`, and new ones by programs, for itself and for
/// every thread that it starts from now on: to be called while it is the only one.
///
/// # Errors
///
/// The kernel refuses, which it has no reason to.
pub fn keep(needed: CapabilitySet) -> io::Result<()> {
    thread::set_no_new_privs(true)?;
    thread::clear_ambient_capability_set()?;
    let held = thread::capabilities(None)?;
    if held.effective.contains(CapabilitySet::SETPCAP) {
        keep_in_bounding_set(needed)?;
    }
    let kept = held.permitted & needed;
    Ok(thread::set_capabilities(
        None,
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() },
    )?)
}

/// Those that this kernel does not know have no place in the set.
fn keep_in_bounding_set(needed: CapabilitySet) -> io::Result<()> {
    for capability in (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        match thread::capability_is_in_bounding_set(capability) {
            Ok(true) if !needed.contains(capability) => {
                thread::remove_capability_from_bounding_set(capability)?;
            }
            Ok(_) => {}
            Err(Errno::INVAL) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: CapabilitySet = CapabilitySet::CHOWN.union(CapabilitySet::FOWNER);

    #[test]
    fn a_thread_keeps_the_capabilities_that_it_needs_and_gets_no_other() {
        let held = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                keep(NEEDED).unwrap();
                (thread::capabilities(None).unwrap(), thread::no_new_privs().unwrap())
            });
            thread.join().unwrap()
        });

        assert_eq!(held.0.effective - NEEDED, CapabilitySet::empty());
        assert_eq!(held.0.permitted - NEEDED, CapabilitySet::empty());
        assert!(held.0.inheritable.is_empty() && held.1);
    }
}
