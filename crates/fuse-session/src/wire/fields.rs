use super::request::Malformed;

/// Reads fields one after another. What is not there is an error, and never read.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

/// The longest name that FUSE has.
const NAME_MAX: usize = 1024;
/// The longest target of a link that Linux has.
const TARGET_MAX: usize = 4096;

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_ne_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_ne_bytes)
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        self.0 = self.0.get(count..).ok_or(Malformed::Short)?;
        Ok(())
    }

    /// A name in a directory.
    pub(super) fn name(&mut self) -> Result<&'a [u8], Malformed> {
        let name = self.text(NAME_MAX)?;
        if name.contains(&b'/') { Err(Malformed::Name) } else { Ok(name) }
    }

    /// Where a link leads.
    pub(super) fn target(&mut self) -> Result<&'a [u8], Malformed> {
        self.text(TARGET_MAX)
    }

    fn text(&mut self, longest: usize) -> Result<&'a [u8], Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed::Name)?;
        let (text, rest) = self.0.split_at_checked(end).ok_or(Malformed::Name)?;
        self.0 = rest.get(1..).unwrap_or_default();
        if text.is_empty() || text.len() > longest { Err(Malformed::Name) } else { Ok(text) }
    }
}
