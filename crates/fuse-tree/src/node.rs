use crate::{DATA, NEXT_DATA};

/// How many bits of a number say which path it is; the others say which edition.
const PATH_BITS: u32 = 40;
const PATH_MASK: u64 = (1 << PATH_BITS) - 1;
/// How many editions are told apart. Their numbers follow one another, so two that live at the same time differ.
const EDITIONS: u64 = (1 << 23) - 1;
/// Numbers of paths below this one have a meaning of their own.
const FIRST_PATH: u64 = 16;

/// The number of a directory, link or file, as the kernel knows it (`nodeid`, `st_ino`).
///
/// It says which edition and which path of its volume is meant, by hashes that no process remembers: the same in every
/// process that serves the volume. The top bit is never set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// The root of every volume, as FUSE has it.
    pub const ROOT: Self = Self(1);

    /// The number that a kernel told. It may mean nothing.
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number to tell a kernel.
    pub fn raw(self) -> u64 {
        self.0
    }

    pub(crate) fn new(edition: EditionTag, path: PathId) -> Self {
        Self(u64::from(edition.0) << PATH_BITS | path.0)
    }

    pub(crate) fn at_top(path: PathId) -> Self {
        Self::new(EditionTag::NONE, path)
    }

    pub(crate) fn edition(self) -> EditionTag {
        EditionTag(u32::try_from(self.0 >> PATH_BITS).unwrap_or_default())
    }

    pub(crate) fn path(self) -> PathId {
        PathId(self.0 & PATH_MASK)
    }
}

/// Which edition a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EditionTag(u32);

impl EditionTag {
    /// Of what stands in the root beside the editions.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn of(number: u64) -> Self {
        Self(u32::try_from(number % EDITIONS + 1).unwrap_or_default())
    }
}

/// Which path of a volume a number means, whatever edition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PathId(u64);

impl PathId {
    /// A number that tells entries of one directory apart and orders them: above those for `.` and `..`.
    pub(crate) fn cookie(self) -> u64 {
        self.0
    }
}

/// Makes the numbers of one volume.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbering(Fnv);

impl Numbering {
    pub(crate) fn of(volume: &str) -> Self {
        Self(Fnv::new().and(volume.as_bytes()).and(&[0]))
    }

    /// The number of a path within an edition; the empty path is the edition's own directory.
    pub(crate) fn inner(self, path: &str) -> PathId {
        self.path(b'e', path)
    }

    /// The number of a link in the root.
    pub(crate) fn top(self, name: &str) -> PathId {
        self.path(b'r', name)
    }

    /// The number of the link [`DATA`], which is also that of [`NEXT_DATA`]: it is the same link.
    pub(crate) fn data(self) -> PathId {
        self.top(DATA)
    }

    /// The number of a name in the root that is no node of its own.
    pub(crate) fn next_data(self) -> PathId {
        self.top(NEXT_DATA)
    }

    fn path(self, kind: u8, path: &str) -> PathId {
        let hash = self.0.and(&[kind]).and(path.as_bytes()).mixed();
        PathId(hash & PATH_MASK | FIRST_PATH)
    }
}

/// FNV-1a of 64 bits: the same on every machine and in every version.
#[derive(Debug, Clone, Copy)]
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn and(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// Every bit depends on every other one, as the last step of MurmurHash3 has it. Without that, the numbers of names
    /// which differ in their last letter lie so close together that one volume in ten thousand had two alike.
    fn mixed(self) -> u64 {
        let hash = (self.0 ^ self.0 >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ hash >> 33
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_in_every_process_and_version() {
        let numbering = Numbering::of("a volume");

        let node = NodeId::new(EditionTag::of(7), numbering.inner("db/password"));

        assert_eq!(node.raw(), 0x809_bdc3_35ba, "a change of this number breaks handles that are open");
    }

    #[test]
    fn a_number_says_edition_and_path_and_is_never_negative() {
        let numbering = Numbering::of("a volume");
        for number in [0, 1, EDITIONS - 1, EDITIONS, u64::MAX] {
            let node = NodeId::new(EditionTag::of(number), numbering.inner("a"));

            assert_eq!((node.edition(), node.path()), (EditionTag::of(number), numbering.inner("a")));
            assert!(node.raw() < 1 << 63 && node.edition() != EditionTag::NONE && node != NodeId::ROOT);
        }
    }

    #[test]
    fn names_that_differ_little_have_numbers_of_their_own_in_every_volume() {
        for volume in 0..50_000 {
            let numbering = Numbering::of(&format!("pods/{volume}/mount"));
            let names = (0..20).map(|file| format!("s{file}"));
            let mut all: Vec<_> =
                names.flat_map(|name| [numbering.top(&name), numbering.inner(&name)]).collect();
            all.sort();
            all.dedup();

            assert_eq!(all.len(), 40, "volume {volume}");
        }
    }

    #[test]
    fn volumes_kinds_and_paths_have_numbers_of_their_own() {
        let (one, other) = (Numbering::of("one"), Numbering::of("other"));
        let mut all =
            vec![one.inner("a"), one.inner("b"), one.top("a"), one.data(), other.inner("a"), other.top("a")];
        all.sort();
        all.dedup();

        assert_eq!(all.len(), 6);
    }
}
