use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use fuse_tree::Errno;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};

use crate::agreed::Agreed;
use crate::wire::{
    Body, InitRequest, Notification, Operation, REQUEST_MAX, Request, notification, reply_header,
};

/// One open `/dev/fuse`: the other end of one mount. The mount lives as long as anybody has it open.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
    /// Who tells the kernel of changes; this process if nobody does.
    told_by: Option<Arc<dyn Tell>>,
}

/// Tells a kernel of changes in the stead of the process that serves: a call that waits does not keep that process from
/// its end.
pub trait Tell: fmt::Debug + Send + Sync {
    /// Writes `notification` to the device.
    ///
    /// # Errors
    ///
    /// Those of writing.
    fn tell(&self, notification: &[u8]) -> io::Result<()>;
}

impl Device {
    /// Opens the device. It belongs to no mount yet.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(Self { fd: rustix::fs::open("/dev/fuse", flags, Mode::empty())?, told_by: None })
    }

    /// A device that an earlier process opened and mounted.
    ///
    /// # Errors
    ///
    /// It cannot be made to return at once.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        Ok(Self { fd, told_by: None })
    }

    /// Has the kernel told of changes by somebody else.
    #[must_use]
    pub fn told_by(self, who: Arc<dyn Tell>) -> Self {
        Self { told_by: Some(who), ..self }
    }

    /// Whether its mount lives: it is mounted somewhere, or somebody has a file of it open.
    pub fn is_connected(&self) -> bool {
        let mut polled = [PollFd::new(&self.fd, PollFlags::IN)];
        let is_known = rustix::event::poll(&mut polled, Some(&Timespec::default())).is_ok();
        is_known && polled.iter().all(|polled| !polled.revents().contains(PollFlags::ERR))
    }

    /// Answers the kernel's first request, which it makes when the file system is mounted, and waits for it so long.
    ///
    /// # Errors
    ///
    /// `TimedOut`; `Unsupported` where the kernel is too old; those of reading and writing.
    pub fn agree(&self, patience: Duration) -> io::Result<Agreed> {
        self.wait(patience)?;
        let mut bytes = vec![0; REQUEST_MAX];
        let count = rustix::io::read(&self.fd, &mut bytes)?;
        let request = bytes.get(..count).and_then(|bytes| Request::parse(bytes).ok());
        let Some(Request { header, operation: Operation::Init(init) }) = request else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        self.settle(header.unique, &init)
    }

    fn settle(&self, unique: u64, init: &InitRequest) -> io::Result<Agreed> {
        let Some(agreed) = Agreed::with(init) else {
            self.refuse(unique, Errno::PROTO)?;
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut body = Body::default();
        body.init(init, agreed.minor(), agreed.flags());
        self.reply(unique, body.bytes())?;
        Ok(agreed)
    }

    /// Waits so long for a request.
    pub(crate) fn wait(&self, patience: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(patience).map_err(|_| io::ErrorKind::InvalidInput)?;
        match rustix::event::poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// Answers a request. `false` where nobody waits for that any more.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn reply(&self, unique: u64, body: &[u8]) -> io::Result<bool> {
        self.write(&reply_header(unique, None, body.len()), body)
    }

    /// Answers a request by an error. `false` where nobody waits for that any more.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn refuse(&self, unique: u64, errno: Errno) -> io::Result<bool> {
        self.write(&reply_header(unique, Some(errno), 0), &[])
    }

    /// Tells the kernel something. That may wait for a lookup that is under way, so whoever answers lookups must not
    /// call it.
    ///
    /// # Errors
    ///
    /// Those of writing. That the kernel knows nothing of what it was told is none.
    pub fn notify(&self, told: &Notification) -> io::Result<()> {
        let message = notification(told);
        let written = match (&self.told_by, told) {
            (Some(who), Notification::Changed(_)) => who.tell(&message),
            _ => rustix::io::write(&self.fd, &message).map(drop).map_err(Into::into),
        };
        match written.map_err(|error| (Errno::from_io_error(&error), error)) {
            // A directory whose name is gone may still have names that somebody uses: it goes with them.
            Ok(()) | Err((Some(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    fn write(&self, header: &[u8], body: &[u8]) -> io::Result<bool> {
        match rustix::io::writev(&self.fd, &[IoSlice::new(header), IoSlice::new(body)]) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
