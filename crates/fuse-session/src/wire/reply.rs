use std::time::Duration;

use fuse_tree::{Attributes, Entry, Errno, Kind, Notice};

use super::init::InitRequest;
use super::{READ_PAGES, WRITE_MAX};

/// How long a kernel keeps what it is told, unless it is told otherwise.
const LASTING: Duration = Duration::from_secs(3600);
/// The size of blocks that sizes are told in.
const BLOCK: u64 = 512;
const PAGE: u32 = 4096;
const NAME_MAX: u32 = 255;
/// All numbers are of one generation: none is ever used for something else.
const GENERATION: u64 = 1;
/// `FOPEN_DIRECT_IO`: each read is asked for. `FOPEN_NOFLUSH`: closing is not.
const OPENED: u32 = 1 | 1 << 5;

/// The header of an answer whose body has this length.
pub fn reply_header(unique: u64, errno: Option<Errno>, body: usize) -> [u8; 16] {
    header(body, errno.map_or(0, |errno| errno.raw_os_error().wrapping_neg()), unique)
}

fn header(body: usize, error: i32, unique: u64) -> [u8; 16] {
    let len = u32::try_from(body + 16).unwrap_or(u32::MAX);
    let mut header = [0; 16];
    let fields = len.to_ne_bytes().into_iter().chain(error.to_ne_bytes()).chain(unique.to_ne_bytes());
    header.iter_mut().zip(fields).for_each(|(to, byte)| *to = byte);
    header
}

/// The body of an answer without secrets.
#[derive(Debug, Default)]
pub struct Body(Vec<u8>);

impl Body {
    /// Begins anew.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn u16(&mut self, value: u16) {
        self.0.extend(value.to_ne_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_ne_bytes());
    }

    /// The target of a link.
    pub fn text(&mut self, text: &str) {
        self.0.extend(text.as_bytes());
    }

    /// `fuse_entry_out`.
    pub fn entry(&mut self, attributes: &Attributes) {
        self.u64(attributes.node.raw());
        self.u64(GENERATION);
        let lasting = lasting(attributes);
        self.u64(lasting.as_secs());
        self.u64(lasting.as_secs());
        self.u64(0);
        self.attr(attributes);
    }

    /// `fuse_attr_out`.
    pub fn attributes(&mut self, attributes: &Attributes) {
        self.u64(lasting(attributes).as_secs());
        self.u64(0);
        self.attr(attributes);
    }

    /// `fuse_attr`.
    fn attr(&mut self, attributes: &Attributes) {
        let changed = attributes.changed;
        self.u64(attributes.node.raw());
        self.u64(attributes.size);
        self.u64(attributes.size.div_ceil(BLOCK));
        (0..3).for_each(|_| self.u64(changed.seconds));
        (0..3).for_each(|_| self.u32(changed.nanoseconds));
        self.u32(kind_bits(attributes.kind) | attributes.mode & 0o7777);
        self.u32(attributes.links);
        self.u32(attributes.uid);
        self.u32(attributes.gid);
        self.u32(0);
        self.u32(PAGE);
        self.u32(0);
    }

    /// `fuse_open_out` of a file.
    pub fn opened(&mut self, handle: u64) {
        self.u64(handle);
        self.u32(OPENED);
        self.u32(0);
    }

    /// `fuse_open_out` of a directory.
    pub fn opened_directory(&mut self) {
        self.u64(0);
        self.u64(0);
    }

    /// `fuse_statfs_out`.
    pub fn statfs(&mut self) {
        (0..5).for_each(|_| self.u64(0));
        self.u32(PAGE);
        self.u32(NAME_MAX);
        self.u32(PAGE);
        (0..7).for_each(|_| self.u32(0));
    }

    /// Adds a `fuse_dirent`, unless that would take more than `room` bytes in all.
    pub fn directory_entry(&mut self, entry: &Entry, room: usize) -> bool {
        let len = (24 + entry.name.len()).next_multiple_of(8);
        let end = self.0.len() + len;
        if end > room {
            return false;
        }
        self.u64(entry.node.raw());
        self.u64(entry.cookie);
        self.u32(u32::try_from(entry.name.len()).unwrap_or(0));
        self.u32(kind_bits(entry.kind) >> 12);
        self.text(&entry.name);
        self.0.resize(end, 0);
        true
    }

    /// `fuse_init_out`.
    pub fn init(&mut self, request: &InitRequest, minor: u32, agreed: u64) {
        let [low, high] = halves(agreed);
        self.u32(request.major);
        self.u32(minor);
        self.u32(request.max_readahead);
        self.u32(low);
        self.u16(BACKGROUND);
        self.u16(BACKGROUND / 4 * 3);
        self.u32(WRITE_MAX);
        self.u32(1);
        self.u16(READ_PAGES);
        self.u16(0);
        self.u32(high);
        (0..7).for_each(|_| self.u32(0));
    }
}

/// How many requests that nobody waits for a kernel has under way.
const BACKGROUND: u16 = 64;

fn halves(value: u64) -> [u32; 2] {
    [value & u64::from(u32::MAX), value >> 32].map(|half| u32::try_from(half).unwrap_or_default())
}

fn lasting(attributes: &Attributes) -> Duration {
    if attributes.lasts { LASTING } else { Duration::ZERO }
}

fn kind_bits(kind: Kind) -> u32 {
    match kind {
        Kind::Directory => 0o040_000,
        Kind::Link => 0o120_000,
        Kind::File => 0o100_000,
    }
}

/// What a kernel is told without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// All requests that were read and not answered are to be asked again. Linux 6.9.
    Resend,
    /// What it may have kept is not true any more.
    Changed(Notice),
}

/// The message to write.
pub fn notification(notification: &Notification) -> Vec<u8> {
    let mut body = Body::default();
    let code = match notification {
        Notification::Resend => 7,
        Notification::Changed(Notice::Node(node)) => {
            body.u64(node.raw());
            body.u64(0);
            body.u64(0);
            2
        }
        Notification::Changed(Notice::Entry { parent, name }) => {
            body.u64(parent.raw());
            body.name_after_length(name);
            3
        }
        Notification::Changed(Notice::Deleted { parent, child, name }) => {
            body.u64(parent.raw());
            body.u64(child.raw());
            body.name_after_length(name);
            6
        }
    };
    [header(body.0.len(), code, 0).as_slice(), body.bytes()].concat()
}

impl Body {
    fn name_after_length(&mut self, name: &str) {
        self.u32(u32::try_from(name.len()).unwrap_or(0));
        self.u32(0);
        self.text(name);
        self.0.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuse_tree::{Moment, NodeId};

    fn attributes(lasts: bool) -> Attributes {
        let (node, changed) = (NodeId::from_raw(9), Moment { seconds: 3, nanoseconds: 4 });
        Attributes {
            node,
            kind: Kind::File,
            size: 513,
            mode: 0o440,
            links: 1,
            uid: 1,
            gid: 2,
            changed,
            lasts,
        }
    }

    fn written(write: impl FnOnce(&mut Body)) -> Vec<u8> {
        let mut body = Body::default();
        write(&mut body);
        body.0
    }

    #[test]
    fn bodies_have_the_lengths_of_the_protocol() {
        assert_eq!(written(|body| body.entry(&attributes(true))).len(), 128);
        assert_eq!(written(|body| body.attributes(&attributes(true))).len(), 104);
        assert_eq!(written(|body| body.opened(1)).len(), 16);
        assert_eq!(written(Body::opened_directory).len(), 16);
        assert_eq!(written(Body::statfs).len(), 80);
        let request = InitRequest { major: 7, minor: 45, max_readahead: 1, flags: 0 };
        assert_eq!(written(|body| body.init(&request, 45, u64::MAX)).len(), 64);
    }

    #[test]
    fn what_does_not_last_is_asked_again() {
        let seconds = |lasts| written(|body| body.attributes(&attributes(lasts)))[..8].to_vec();

        assert_eq!((seconds(true), seconds(false)), (3600_u64.to_ne_bytes().to_vec(), vec![0; 8]));
    }

    #[test]
    fn an_entry_of_a_listing_is_whole_or_left_out() {
        let entry = Entry { node: NodeId::ROOT, kind: Kind::Link, name: "..data".to_owned(), cookie: 5 };
        let mut body = Body::default();

        assert!(!body.directory_entry(&entry, 31) && body.bytes().is_empty());
        assert!(body.directory_entry(&entry, 32) && !body.directory_entry(&entry, 63));
        assert_eq!(body.bytes()[20..], [10, 0, 0, 0, b'.', b'.', b'd', b'a', b't', b'a', 0, 0]);
    }

    #[test]
    fn an_answer_says_its_length_and_error() {
        let [length, error, unique] =
            [0..4, 4..8, 8..16].map(|range| reply_header(7, Some(Errno::NOENT), 0)[range].to_vec());

        assert_eq!(length, 16_u32.to_ne_bytes());
        assert_eq!((error, unique), ((-2_i32).to_ne_bytes().to_vec(), 7_u64.to_ne_bytes().to_vec()));
    }

    #[test]
    fn notifications_carry_their_code_where_answers_carry_an_error() {
        let name = "a".to_owned();
        let deleted = Notice::Deleted { parent: NodeId::ROOT, child: NodeId::from_raw(9), name };
        let message = notification(&Notification::Changed(deleted));

        assert_eq!((message[..4].to_vec(), message[4]), (42_u32.to_ne_bytes().to_vec(), 6));
        assert_eq!(message[40..], [b'a', 0]);
        assert_eq!(notification(&Notification::Resend)[..8], [16, 0, 0, 0, 7, 0, 0, 0]);
    }
}
