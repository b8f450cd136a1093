use super::fields::Fields;
use super::init::InitRequest;

const HEADER: usize = 40;

/// What each request begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What is asked.
    pub opcode: u32,
    /// The request's number, which its answer carries.
    pub unique: u64,
    /// What it is about.
    pub node: u64,
    /// Who asks: user.
    pub uid: u32,
    /// Who asks: group.
    pub gid: u32,
    /// Who asks: thread.
    pub tid: u32,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its header.
    pub header: Header,
    /// What is asked.
    pub operation: Operation<'a>,
}

/// What is asked about the node of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation<'a> {
    /// What a name leads to.
    Lookup(&'a [u8]),
    /// Attributes, where told of a handle.
    GetAttributes(Option<u64>),
    /// Where a link leads.
    ReadLink,
    /// A new link, and where it leads.
    Link(&'a [u8], &'a [u8]),
    /// Takes a name away.
    Unlink(&'a [u8]),
    /// Takes a directory's name away.
    RemoveDirectory(&'a [u8]),
    /// Moves a name into a directory under another name.
    Rename {
        /// The name.
        from: &'a [u8],
        /// The other directory.
        to_directory: u64,
        /// The other name.
        to: &'a [u8],
        /// Whether it is to be done in a way of its own (`RENAME_EXCHANGE` and others).
        has_flags: bool,
    },
    /// Opens a file with these flags of open(2).
    Open(u32),
    /// Reads from a file.
    Read {
        /// From what was opened.
        handle: u64,
        /// From where.
        offset: u64,
        /// How much.
        size: u32,
        /// Whether this fills a page that stays in the kernel, as for a mapping.
        is_fill: bool,
    },
    /// Closes a file for good.
    Release(u64),
    /// Opens a directory.
    OpenDirectory,
    /// Lists a directory.
    ReadDirectory {
        /// After the entry with this cookie.
        after: u64,
        /// How many bytes of answer there is room for.
        size: u32,
    },
    /// Closes a directory.
    ReleaseDirectory,
    /// Sizes of the file system.
    StatFs,
    /// The first request of all.
    Init(InitRequest),
    /// The last request of all.
    Destroy,
    /// The caller of that request does not wait for it any more.
    Interrupt(u64),
    /// A number or several are not needed any more. There is no answer.
    Forget,
    /// Would change something.
    Change,
    /// Anything else.
    Other,
}

/// Why bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early, or the request says another length.
    #[error("a request has another length than it says or needs")]
    Short,
    /// A name is empty, too long, has no end, or has a slash.
    #[error("a request has a name that cannot be")]
    Name,
}

/// A request that cannot be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// Not even its number is known, so there is no answer.
    Nameless,
    /// It can be answered by an error.
    Malformed(Header, Malformed),
}

impl<'a> Request<'a> {
    /// Reads one request, which is all of `bytes`.
    ///
    /// # Errors
    ///
    /// It is no request.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RequestError> {
        let (header, body) = split(bytes).ok_or(RequestError::Nameless)?;
        let body = body.ok_or(RequestError::Malformed(header, Malformed::Short))?;
        match Operation::parse(header.opcode, Fields::new(body)) {
            Ok(operation) => Ok(Self { header, operation }),
            Err(malformed) => Err(RequestError::Malformed(header, malformed)),
        }
    }
}

/// The header, and what is between it and the extensions at the end.
fn split(bytes: &[u8]) -> Option<(Header, Option<&[u8]>)> {
    let mut fields = Fields::new(bytes.get(..HEADER)?);
    let header = |fields: &mut Fields<'_>| -> Result<_, Malformed> {
        let (len, opcode, unique, node) = (fields.u32()?, fields.u32()?, fields.u64()?, fields.u64()?);
        let (uid, gid, tid, extensions) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u16()?);
        Ok((len, Header { opcode, unique, node, uid, gid, tid }, extensions))
    };
    let (len, header, extensions) = header(&mut fields).ok()?;
    let is_whole = usize::try_from(len).is_ok_and(|len| len == bytes.len());
    let end = bytes.len().checked_sub(usize::from(extensions) * 8);
    Some((header, end.filter(|_| is_whole).and_then(|end| bytes.get(HEADER..end))))
}

impl<'a> Operation<'a> {
    fn parse(opcode: u32, mut fields: Fields<'a>) -> Result<Self, Malformed> {
        Ok(match opcode {
            1 => Self::Lookup(fields.name()?),
            2 | 42 => Self::Forget,
            3 => Self::attributes(fields)?,
            5 => Self::ReadLink,
            6 => Self::Link(fields.name()?, fields.target()?),
            10 => Self::Unlink(fields.name()?),
            11 => Self::RemoveDirectory(fields.name()?),
            12 | 45 => Self::rename(opcode == 45, fields)?,
            14 => Self::Open(fields.u32()?),
            15 => Self::read(fields)?,
            17 => Self::StatFs,
            18 => Self::Release(fields.u64()?),
            26 => Self::Init(InitRequest::parse(fields)?),
            27 => Self::OpenDirectory,
            28 => Self::read_directory(fields)?,
            29 => Self::ReleaseDirectory,
            36 => Self::Interrupt(fields.u64()?),
            38 => Self::Destroy,
            // SETATTR, MKNOD, MKDIR, LINK, WRITE, SETXATTR, REMOVEXATTR, CREATE, FALLOCATE, COPY_FILE_RANGE, TMPFILE
            4 | 8 | 9 | 13 | 16 | 21 | 24 | 35 | 43 | 47 | 51 => Self::Change,
            _ => Self::Other,
        })
    }

    fn attributes(mut fields: Fields<'a>) -> Result<Self, Malformed> {
        /// `FUSE_GETATTR_FH`.
        const BY_HANDLE: u32 = 1;
        let flags = fields.u32()?;
        fields.skip(4)?;
        let handle = fields.u64()?;
        Ok(Self::GetAttributes((flags & BY_HANDLE != 0).then_some(handle)))
    }

    fn rename(is_second: bool, mut fields: Fields<'a>) -> Result<Self, Malformed> {
        let to_directory = fields.u64()?;
        let mut has_flags = false;
        if is_second {
            has_flags = fields.u32()? != 0;
            fields.skip(4)?;
        }
        Ok(Self::Rename { from: fields.name()?, to_directory, to: fields.name()?, has_flags })
    }

    fn read(mut fields: Fields<'a>) -> Result<Self, Malformed> {
        /// `FUSE_READ_LOCKOWNER`: a program reads. A kernel that fills a page for itself has nobody to name.
        const BY_PROGRAM: u32 = 2;
        let (handle, offset, size, flags) = (fields.u64()?, fields.u64()?, fields.u32()?, fields.u32()?);
        Ok(Self::Read { handle, offset, size, is_fill: flags & BY_PROGRAM == 0 })
    }

    fn read_directory(mut fields: Fields<'a>) -> Result<Self, Malformed> {
        fields.skip(8)?;
        Ok(Self::ReadDirectory { after: fields.u64()?, size: fields.u32()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(opcode: u32, extensions: u16, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes: Vec<u8> = [len, opcode].into_iter().flat_map(u32::to_ne_bytes).collect();
        bytes.extend([5_u64, 9].into_iter().flat_map(u64::to_ne_bytes));
        bytes.extend([1_u32, 2, 3].into_iter().flat_map(u32::to_ne_bytes));
        bytes.extend([extensions, 0].into_iter().flat_map(u16::to_ne_bytes));
        [&bytes, body].concat()
    }

    fn operation(bytes: &[u8]) -> Result<Operation<'_>, Malformed> {
        match Request::parse(bytes) {
            Ok(request) => Ok(request.operation),
            Err(RequestError::Malformed(header, malformed)) => {
                assert_eq!(header.unique, 5);
                Err(malformed)
            }
            Err(RequestError::Nameless) => panic!("it has a header"),
        }
    }

    #[test]
    fn a_header_says_who_asks() {
        let header = Header { opcode: 5, unique: 5, node: 9, uid: 1, gid: 2, tid: 3 };
        let request = Request { header, operation: Operation::ReadLink };

        assert_eq!(Request::parse(&bytes(5, 0, b"")), Ok(request));
    }

    #[test]
    fn names_end_have_no_slash_and_have_a_length() {
        let long = [vec![b'a'; 1025], vec![0]].concat();
        assert_eq!(operation(&bytes(1, 0, b"a\0")), Ok(Operation::Lookup(b"a")));
        for wrong in [b"".as_slice(), b"\0", b"a", b"a/b\0", &long] {
            assert_eq!(operation(&bytes(1, 0, wrong)), Err(Malformed::Name), "{wrong:?}");
        }
        assert_eq!(operation(&bytes(6, 0, b"a\0b/c\0")), Ok(Operation::Link(b"a", b"b/c")));
    }

    #[test]
    fn extensions_are_no_part_of_the_body() {
        assert_eq!(operation(&bytes(1, 1, b"a\0\0\0\0\0\0\0\0\0")), Ok(Operation::Lookup(b"a")));
        assert_eq!(operation(&bytes(1, 1, b"12345678")), Err(Malformed::Name));
        assert_eq!(operation(&bytes(1, 2, b"a\0")), Err(Malformed::Short));
    }

    #[test]
    fn a_request_of_another_length_than_it_says_is_malformed() {
        let mut longer = bytes(1, 0, b"a\0");
        longer.push(0);
        assert_eq!(operation(&longer), Err(Malformed::Short));
        assert_eq!(Request::parse(&longer[..39]), Err(RequestError::Nameless));
    }

    #[test]
    fn a_read_for_a_mapping_is_told_from_a_read_by_a_program() {
        let body = |flags: u32| {
            let mut body: Vec<u8> = [7_u64, 4096].into_iter().flat_map(u64::to_ne_bytes).collect();
            body.extend([100, flags].into_iter().flat_map(u32::to_ne_bytes));
            bytes(15, 0, &[body, vec![0; 16]].concat())
        };
        let read = |is_fill| Operation::Read { handle: 7, offset: 4096, size: 100, is_fill };

        assert_eq!(operation(&body(2)), Ok(read(false)));
        assert_eq!(operation(&body(0)), Ok(read(true)));
    }

    #[test]
    fn what_changes_anything_and_what_is_unknown_needs_no_body() {
        assert_eq!(operation(&bytes(4, 0, b"")), Ok(Operation::Change));
        assert_eq!(operation(&bytes(999, 0, b"")), Ok(Operation::Other));
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(opcode in 0_u32..60, extensions in 0_u16..4, body: Vec<u8>) {
            let _ = Request::parse(&bytes(opcode, extensions, &body));
            let _ = Request::parse(&body);
        }
    }
}
