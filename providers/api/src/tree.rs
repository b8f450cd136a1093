//! Files below one directory whose names only an answer of the store knows: a listing.

use crate::{
    Encoding, Error, ErrorKind, FileMode, InvalidPath, ObjectPath, ObjectRef, Reading, Request, Result,
};

/// The most bytes of all values of one listing. That much memory may be held for each.
pub const MOST_TREE_BYTES: usize = 16 << 20;

/// Every file that a listing of the store names. A session answers its request with [`Leaf::pack`].
#[derive(Debug, Clone)]
pub struct Tree {
    /// What is listed, in the words of the class, for messages.
    pub name: String,
    /// The store's address. Used later to say where a file came from.
    pub address: String,
    /// The directory that contains the files.
    pub directory: ObjectPath,
    /// Permission bits of each file, if the class sets them.
    pub mode: Option<FileMode>,
    /// The request that brings names and values.
    pub request: Request,
    /// Whether the listing may be empty.
    pub optional: bool,
    /// How the store holds each value.
    pub encoding: Encoding,
    /// A JMESPath expression for each value.
    pub jmes_path: Option<String>,
    /// Whether they are files of their own, and not only parts of composed files.
    pub file: bool,
    /// The most files. If there are more, the listing is an error.
    pub most: usize,
    /// How many calls one refresh takes at least.
    pub least_calls: usize,
}

impl Tree {
    /// The file at `path` below its directory; `optional` if the store may lack it. Composed files call it by its path
    /// in the volume.
    ///
    /// # Errors
    ///
    /// `path` is none: stores allow names that no volume can show.
    pub fn object(&self, path: &str, optional: bool) -> std::result::Result<ObjectRef, InvalidPath> {
        // The path alone first: a name such as `../x` is refused as it is.
        ObjectPath::try_from(path)?;
        let path = ObjectPath::try_from(format!("{}/{path}", self.directory).as_str())?;
        Ok(ObjectRef {
            mode: self.mode,
            optional,
            encoding: self.encoding,
            jmes_path: self.jmes_path.clone(),
            file: self.file,
            ..ObjectRef::new(path, self.request.clone())
        })
    }

    /// Whether an object called `name` may be one of the tree's files.
    pub fn may_have(&self, name: &str) -> bool {
        let below = name.strip_prefix(self.directory.as_str()).and_then(|rest| rest.strip_prefix('/'));
        below.is_some_and(|below| !below.is_empty())
    }

    /// Why a listing of more than its [most](Self::most) files is refused.
    pub fn overfull(most: usize) -> Error {
        Error::new(ErrorKind::Invalid, format!("the listing has more than {most} files, and none is shown"))
            .remedy("list less, or set a higher maxFiles")
    }
}

/// One file of a tree, from the store's answer.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Its path below the tree's directory, made from the store's name. It is not checked yet.
    pub path: String,
    /// The store's name for it.
    pub name: String,
    /// Its value, or why it cannot be read although it is listed. `NotFound` and `Revoked` mean that it has no value.
    pub found: Result<Reading>,
}

/// A [`Leaf`] inside of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed<'a> {
    /// Its path below the tree's directory, unchecked.
    pub path: &'a str,
    /// The store's name for it.
    pub name: &'a str,
    kind: Option<ErrorKind>,
    /// The version, or the message of the error.
    text: &'a str,
    body: &'a [u8],
}

/// The kinds, by the byte that stands for each in a reading. 0 stands for a value.
const KINDS: [ErrorKind; 7] = [
    ErrorKind::Invalid,
    ErrorKind::NotFound,
    ErrorKind::Revoked,
    ErrorKind::Denied,
    ErrorKind::Unauthenticated,
    ErrorKind::NoCredential,
    ErrorKind::Unavailable,
];

impl Leaf {
    /// The file at `path` that the store calls `name`, with what reading it brought. A fault of one file takes no other
    /// along.
    ///
    /// # Errors
    ///
    /// The fault is of all files: the store is away, or it does not take the login.
    pub fn of(path: String, name: String, found: Result<Reading>) -> Result<Self> {
        use ErrorKind::{NoCredential, Unauthenticated, Unavailable};
        match found {
            Err(error) if matches!(error.kind(), Unavailable | Unauthenticated | NoCredential) => Err(error),
            found => Ok(Self { path, name, found }),
        }
    }

    /// One reading that holds `leaves`.
    ///
    /// # Errors
    ///
    /// `Invalid` if there are more than `most`, or more than [`MOST_TREE_BYTES`].
    pub fn pack(leaves: &[Self], most: usize) -> Result<Reading> {
        if leaves.len() > most {
            return Err(Tree::overfull(most));
        }
        let length = leaves.iter().fold(0_usize, |length, leaf| length.saturating_add(leaf.length()));
        if length > MOST_TREE_BYTES {
            let message = format!("the listing has more than {MOST_TREE_BYTES} bytes, and none is shown");
            return Err(Error::new(ErrorKind::Invalid, message).remedy("list less"));
        }
        // Allocated at its full size: a buffer that grows leaves copies of secrets behind.
        let mut packed = Vec::with_capacity(length);
        leaves.iter().for_each(|leaf| leaf.put(&mut packed));
        Ok(Reading::new(packed.into()))
    }

    fn length(&self) -> usize {
        let rest = match &self.found {
            Ok(reading) => reading.body.len().saturating_add(reading.version.as_ref().map_or(0, String::len)),
            Err(error) => error.to_string().len(),
        };
        rest.saturating_add(self.path.len()).saturating_add(self.name.len()).saturating_add(1 + 4 * 4)
    }

    fn put(&self, packed: &mut Vec<u8>) {
        let (tag, text, body): (u8, String, &[u8]) = match &self.found {
            Ok(reading) => (0, reading.version.clone().unwrap_or_default(), reading.body.expose()),
            Err(error) => (tag_of(error.kind()), error.to_string(), &[]),
        };
        packed.push(tag);
        for field in [self.path.as_bytes(), self.name.as_bytes(), text.as_bytes(), body] {
            packed.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes());
            packed.extend_from_slice(field);
        }
    }
}

fn tag_of(kind: ErrorKind) -> u8 {
    (1_u8..).zip(KINDS).find(|(_, known)| *known == kind).map_or(1, |(tag, _)| tag)
}

impl<'a> Packed<'a> {
    /// The leaves that `reading` holds.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is not what [`Leaf::pack`] makes.
    pub fn all(reading: &'a Reading) -> Result<Vec<Self>> {
        Self::each(reading).collect()
    }

    /// The leaf at `path`, if `reading` holds it.
    ///
    /// # Errors
    ///
    /// As [`all`](Self::all), if what is wrong comes before it.
    pub fn at(reading: &'a Reading, path: &str) -> Result<Option<Self>> {
        Self::each(reading).find(|leaf| leaf.as_ref().map_or(true, |leaf| leaf.path == path)).transpose()
    }

    /// Each leaf in turn, and at last an error if what is left is none.
    fn each(reading: &'a Reading) -> impl Iterator<Item = Result<Self>> {
        let mut rest = reading.body.expose();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (leaf, behind) =
                Self::first(rest).map_or((None, &rest[..0]), |(leaf, behind)| (Some(leaf), behind));
            rest = behind;
            Some(leaf.ok_or_else(|| Error::new(ErrorKind::Invalid, "the answer is no listing")))
        })
    }

    fn first(packed: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (tag, rest) = packed.split_first()?;
        let (path, rest) = field(rest)?;
        let (name, rest) = field(rest)?;
        let (text, rest) = field(rest)?;
        let (body, rest) = field(rest)?;
        let kind = match tag.checked_sub(1) {
            None => None,
            Some(at) => Some(*KINDS.get(usize::from(at))?),
        };
        let [path, name, text] = [path, name, text].map(|field| std::str::from_utf8(field).ok());
        Some((Self { path: path?, name: name?, kind, text: text?, body }, rest))
    }

    /// Whether it is listed but has no value.
    pub fn is_bare(&self) -> bool {
        matches!(self.kind, Some(ErrorKind::NotFound | ErrorKind::Revoked))
    }

    /// Its value.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn found(&self) -> Result<Reading> {
        match self.kind {
            Some(kind) => Err(Error::new(kind, self.text)),
            None => {
                let version = (!self.text.is_empty()).then(|| self.text.to_owned());
                Ok(Reading { version, ..Reading::new(self.body.to_vec().into()) })
            }
        }
    }
}

fn field(packed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = packed.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(path: &str, found: Result<Reading>) -> Leaf {
        Leaf { path: path.to_owned(), name: format!("/shop/{path}"), found }
    }

    fn value(text: &str, version: Option<&str>) -> Result<Reading> {
        Ok(Reading { version: version.map(str::to_owned), ..Reading::new(text.to_owned().into()) })
    }

    fn tree(directory: &str) -> Tree {
        Tree {
            name: "/shop".to_owned(),
            address: String::new(),
            directory: directory.try_into().unwrap(),
            mode: None,
            request: Request::shared("/shop"),
            optional: false,
            encoding: Encoding::None,
            jmes_path: None,
            file: true,
            most: 3,
            least_calls: 1,
        }
    }

    #[test]
    fn leaves_come_out_of_a_reading_as_they_were_put_in() {
        let denied = Err(Error::new(ErrorKind::Denied, "no").remedy("ask"));
        let leaves = [leaf("a/b", value("v", Some("7"))), leaf("", value("", None)), leaf("c", denied)];

        let reading = Leaf::pack(&leaves, 3).unwrap();
        let packed = Packed::all(&reading).unwrap();

        let names: Vec<_> = packed.iter().map(|leaf| (leaf.path, leaf.name)).collect();
        assert_eq!(names, [("a/b", "/shop/a/b"), ("", "/shop/"), ("c", "/shop/c")]);
        let first = packed[0].found().unwrap();
        assert_eq!((first.body.expose(), first.version.as_deref()), (&b"v"[..], Some("7")));
        assert_eq!(packed[1].found().unwrap().version, None);
        let error = packed[2].found().unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Denied, "no; ask"));
        assert!(Packed::all(&Leaf::pack(&[], 3).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn every_kind_of_error_is_kept() {
        for kind in KINDS {
            let reading = Leaf::pack(&[leaf("a", Err(Error::new(kind, "x")))], 1).unwrap();
            assert_eq!(Packed::all(&reading).unwrap()[0].found().unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn more_files_or_bytes_than_may_be_are_refused_and_not_cut() {
        let many = vec![leaf("a", value("v", None)); 4];
        let error = Leaf::pack(&many, 3).unwrap_err();
        assert!(error.to_string().contains("more than 3 files") && error.kind() == ErrorKind::Invalid);

        let long = "x".repeat(MOST_TREE_BYTES / 2);
        let error = Leaf::pack(&vec![leaf("a", value(&long, None)); 2], 3).unwrap_err();
        assert!(error.to_string().contains("bytes"), "{error}");
    }

    #[test]
    fn what_is_no_packed_listing_is_refused() {
        for body in
            [&b"x"[..], b"\0\x01\0\0\0", b"\0\xff\xff\xff\xff", b"\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"]
        {
            let reading = Reading::new(body.to_vec().into());
            assert_eq!(Packed::all(&reading).unwrap_err().kind(), ErrorKind::Invalid, "{body:?}");
        }
    }

    #[test]
    fn a_file_of_a_tree_is_below_its_directory_and_nowhere_else() {
        let tree = tree("conf/shop");
        assert_eq!(tree.object("db/user", false).unwrap().path.as_str(), "conf/shop/db/user");
        for odd in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a\nb", &"d/".repeat(8)] {
            assert!(tree.object(odd, false).is_err(), "{odd}");
        }
        assert!(
            tree.may_have("conf/shop/db") && !tree.may_have("conf/shop") && !tree.may_have("conf/shops/a")
        );
        assert!(!tree.may_have("conf/shop/"));
    }
}
