use super::fields::Fields;
use super::request::Malformed;

/// What a kernel and who serves it may agree on.
pub mod flags {
    /// Pages of one file are asked for several at once.
    pub const ASYNC_READ: u64 = 1;
    /// More than a page at once.
    pub const BIG_WRITES: u64 = 1 << 5;
    /// Lookups and listings of one directory at once.
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    /// How many pages at once is said.
    pub const MAX_PAGES: u64 = 1 << 22;
    /// Targets of links are kept: ours never change.
    pub const CACHE_SYMLINKS: u64 = 1 << 23;
    /// Cached pages go only when they are told to.
    pub const EXPLICIT_INVAL_DATA: u64 = 1 << 25;
    /// There are flags beyond the first 32.
    pub const INIT_EXT: u64 = 1 << 30;
    /// Files that are read past the cache may be mapped. Linux 6.6.
    pub const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
    /// Requests can be sent again. Linux 6.9.
    pub const HAS_RESEND: u64 = 1 << 39;
    /// The mount may be idmapped. Linux 6.12.
    pub const ALLOW_IDMAP: u64 = 1 << 40;
}

/// The first request: what the kernel is able to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitRequest {
    /// Of the protocol.
    pub major: u32,
    /// Of the protocol.
    pub minor: u32,
    /// In bytes.
    pub max_readahead: u32,
    /// See [`flags`].
    pub flags: u64,
}

impl InitRequest {
    pub(super) fn parse(mut fields: Fields<'_>) -> Result<Self, Malformed> {
        let (major, minor) = (fields.u32()?, fields.u32()?);
        let (max_readahead, low) = (fields.u32()?, u64::from(fields.u32()?));
        let high = if low & flags::INIT_EXT == 0 { 0 } else { u64::from(fields.u32()?) };
        Ok(Self { major, minor, max_readahead, flags: high << 32 | low })
    }
}
