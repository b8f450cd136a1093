//! System calls that a running process is made to try.

use std::time::Duration;

use nix::libc::{c_long, user_regs_struct};
use nix::sys::ptrace;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// The instruction `syscall`, in the lower half of a word.
const SYSCALL: c_long = 0x050f;

/// A process whose main thread is stopped where it waits in the kernel. Dropping it lets the process go on.
pub(crate) struct Stopped {
    pid: Pid,
    registers: user_regs_struct,
}

impl Stopped {
    pub(crate) fn stop(pid: u32) -> Self {
        let pid = Pid::from_raw(pid.cast_signed());
        for _ in 0..100 {
            ptrace::attach(pid).unwrap();
            waitpid(pid, None).unwrap();
            let registers = ptrace::getregs(pid).unwrap();
            let before = ptrace::read(pid, (registers.rip - 2) as ptrace::AddressType).unwrap();
            if before & 0xffff == SYSCALL {
                return Self { pid, registers };
            }
            ptrace::detach(pid, None).unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("process {pid} is never in a system call");
    }

    /// What the kernel returns to the process for `call`: a number, or the negative number of an error.
    pub(crate) fn tries(&self, call: c_long, arguments: [u64; 3]) -> i64 {
        let mut registers = self.registers;
        registers.rip -= 2;
        // It goes on with no earlier call.
        registers.orig_rax = u64::MAX;
        registers.rax = call.cast_unsigned();
        [registers.rdi, registers.rsi, registers.rdx] = arguments;
        [registers.r10, registers.r8, registers.r9] = [0; 3];
        ptrace::setregs(self.pid, registers).unwrap();
        ptrace::step(self.pid, None).unwrap();
        waitpid(self.pid, None).unwrap();
        let after = ptrace::getregs(self.pid).unwrap();
        assert_eq!(after.rip, self.registers.rip, "the call was made");
        after.rax.cast_signed()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = ptrace::setregs(self.pid, self.registers);
        let _ = ptrace::detach(self.pid, None);
    }
}
