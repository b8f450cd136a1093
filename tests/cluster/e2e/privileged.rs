//! The processes and rights of the only privileged container.

use std::fs;
use std::path::{Path, PathBuf};

use super::world::shared;

/// CAP_DAC_OVERRIDE, CAP_FOWNER and CAP_SYS_ADMIN.
const NEEDED: u64 = 1 << 1 | 1 << 3 | 1 << 21;

/// The processes in the container of process `pid`. It is in the process namespace of the node.
fn beside(pid: u32) -> Vec<u32> {
    let container = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
    let its_own = container(pid);
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|other| container(*other) == its_own).collect()
}

#[test]
fn the_privileged_container_runs_the_small_program_alone_and_it_keeps_three_capabilities_and_few_calls() {
    let (world, _shared) = shared();
    let pid = world.pid_of("mounter").expect("a running mounter");
    let at = PathBuf::from(format!("/proc/{pid}"));
    let (program, size) =
        (fs::read_link(at.join("exe")).unwrap(), fs::metadata(at.join("exe")).unwrap().len());
    let status = fs::read_to_string(at.join("status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name} in {status}")).trim().to_owned()
    };
    let set = |name: &str| u64::from_str_radix(&field(name), 16).unwrap();

    println!(
        "{}: {size} bytes, {} resident, CapEff {:x}, CapBnd {:x}, Seccomp {}",
        program.display(),
        field("VmRSS"),
        set("CapEff"),
        set("CapBnd"),
        field("Seccomp")
    );
    assert_eq!((program.as_path(), beside(pid)), (Path::new("/usr/bin/secretfs-mounter"), vec![pid]));
    assert_eq!((set("CapEff"), set("CapPrm"), set("CapBnd")), (NEEDED, NEEDED, NEEDED), "{status}");
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()), "{status}");
}
