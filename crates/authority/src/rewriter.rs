use std::fmt;

use fluke_hpack::Decoder;

use crate::Malformed;
use crate::block::{self, MAX_BLOCK};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest payload that a server with default settings accepts, in bytes.
const MAX_FRAME: usize = 16 * 1024;

const HEADER: usize = 9;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The size of the priority fields in a HEADERS frame, in bytes.
const PRIORITY_FIELDS: usize = 5;

/// Turns the bytes of one client into the bytes for a strict server, piece by piece.
pub struct Rewriter {
    decoder: Decoder<'static>,
    expects: Expects,
    /// The part of a preface, frame header or header frame that has arrived so far.
    partial: Vec<u8>,
    /// A header block whose end has not arrived.
    begun: Option<Begun>,
}

/// What the next bytes of the client are.
#[derive(Debug, Clone, Copy)]
enum Expects {
    Preface,
    FrameHeader,
    /// The rest of a frame that is passed on unchanged. The number is its bytes.
    Payload(usize),
    /// A frame with a part of a header block.
    HeaderFrame(FrameHeader),
}

#[derive(Debug, Clone, Copy)]
struct FrameHeader {
    length: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

/// A header block whose end has not arrived.
struct Begun {
    stream: [u8; 4],
    end_stream: u8,
    block: Vec<u8>,
}

impl Rewriter {
    /// For a new connection, before its first byte is read.
    pub fn new() -> Self {
        Self { decoder: block::decoder(), expects: Expects::Preface, partial: Vec::new(), begun: None }
    }

    /// Takes bytes of the client and appends the bytes for the server to `out`.
    ///
    /// # Errors
    ///
    /// The connection cannot be used any more. Bytes that were already appended are valid.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let mut input = input;
        while !input.is_empty() {
            input = match self.expects {
                Expects::Preface => self.preface(input, out)?,
                Expects::FrameHeader => self.frame_header(input, out)?,
                Expects::Payload(left) => self.payload(left, input, out),
                Expects::HeaderFrame(header) => self.header_frame(header, input, out)?,
            };
        }
        Ok(())
    }

    fn preface<'i>(&mut self, input: &'i [u8], out: &mut Vec<u8>) -> Result<&'i [u8], Malformed> {
        let rest = self.collect(PREFACE.len(), input);
        if !PREFACE.starts_with(&self.partial) {
            return Err(Malformed::Preface);
        }
        if self.partial.len() == PREFACE.len() {
            out.append(&mut self.partial);
            self.expects = Expects::FrameHeader;
        }
        Ok(rest)
    }

    fn frame_header<'i>(&mut self, input: &'i [u8], out: &mut Vec<u8>) -> Result<&'i [u8], Malformed> {
        let rest = self.collect(HEADER, input);
        let Some(header) = FrameHeader::parse(&self.partial) else { return Ok(rest) };
        self.expects = self.expected_after(header)?;
        if matches!(self.expects, Expects::Payload(_)) {
            out.extend_from_slice(&self.partial);
        }
        self.partial.clear();
        // A header frame may be empty. No further bytes of it will arrive, so it is handled now.
        if let (Expects::HeaderFrame(header), 0) = (self.expects, header.length) {
            self.header_frame(header, &[], out)?;
        }
        Ok(rest)
    }

    /// What comes after `header`. Frames in a wrong order are found here.
    fn expected_after(&self, header: FrameHeader) -> Result<Expects, Malformed> {
        if header.length > MAX_FRAME {
            return Err(Malformed::FrameSize);
        }
        let begun = self.begun.as_ref().map(|begun| begun.stream);
        match (header.kind, begun) {
            (CONTINUATION, Some(stream)) if stream == header.stream => Ok(Expects::HeaderFrame(header)),
            (CONTINUATION, _) | (_, Some(_)) => Err(Malformed::Continuation),
            (HEADERS, None) => Ok(Expects::HeaderFrame(header)),
            (_, None) => Ok(Expects::Payload(header.length)),
        }
    }

    fn payload<'i>(&mut self, left: usize, input: &'i [u8], out: &mut Vec<u8>) -> &'i [u8] {
        let (now, rest) = input.split_at(left.min(input.len()));
        out.extend_from_slice(now);
        self.expects = match left - now.len() {
            0 => Expects::FrameHeader,
            left => Expects::Payload(left),
        };
        rest
    }

    fn header_frame<'i>(
        &mut self,
        header: FrameHeader,
        input: &'i [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'i [u8], Malformed> {
        let rest = self.collect(header.length, input);
        if self.partial.len() == header.length {
            self.continue_block(header)?;
            self.partial.clear();
            self.expects = Expects::FrameHeader;
            if header.flags & END_HEADERS != 0 {
                self.end_block(out)?;
            }
        }
        Ok(rest)
    }

    /// Adds the frame in `partial` to its header block.
    fn continue_block(&mut self, header: FrameHeader) -> Result<(), Malformed> {
        let fragment = header.fragment(&self.partial)?;
        let begun = self.begun.get_or_insert_with(|| Begun {
            stream: header.stream,
            end_stream: header.flags & END_STREAM,
            block: Vec::new(),
        });
        if begun.block.len() + fragment.len() > MAX_BLOCK {
            return Err(Malformed::HeaderList);
        }
        begun.block.extend_from_slice(fragment);
        Ok(())
    }

    fn end_block(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let Some(begun) = self.begun.take() else { return Ok(()) };
        let block = block::rewrite(&mut self.decoder, &begun.block)?;
        begun.write(&block, out);
        Ok(())
    }

    /// Moves bytes from `input` to `partial` until `partial` has `wanted` bytes. Returns the rest of `input`.
    fn collect<'i>(&mut self, wanted: usize, input: &'i [u8]) -> &'i [u8] {
        let missing = wanted.saturating_sub(self.partial.len());
        let (now, rest) = input.split_at(missing.min(input.len()));
        self.partial.extend_from_slice(now);
        rest
    }
}

impl Default for Rewriter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Rewriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewriter").field("expects", &self.expects).finish_non_exhaustive()
    }
}

impl FrameHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[high, middle, low, kind, flags, a, b, c, d] = bytes else { return None };
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        Some(Self { length, kind, flags, stream: [a, b, c, d] })
    }

    fn write(self, out: &mut Vec<u8>) {
        let [.., high, middle, low] = self.length.to_be_bytes();
        out.extend_from_slice(&[high, middle, low, self.kind, self.flags]);
        out.extend_from_slice(&self.stream);
    }

    /// The part of the header block in `payload`, without padding and priority.
    fn fragment(self, payload: &[u8]) -> Result<&[u8], Malformed> {
        if self.kind == CONTINUATION {
            return Ok(payload);
        }
        let (padding, rest) = match payload.split_first() {
            _ if self.flags & PADDED == 0 => (0, payload),
            Some((padding, rest)) => (usize::from(*padding), rest),
            None => return Err(Malformed::Truncated),
        };
        let priority = if self.flags & PRIORITY == 0 { 0 } else { PRIORITY_FIELDS };
        let end = rest.len().checked_sub(padding).ok_or(Malformed::Truncated)?;
        rest.get(priority..end).ok_or(Malformed::Truncated)
    }
}

impl Begun {
    /// Writes `block` as one HEADERS frame and as many CONTINUATIONs as it needs.
    fn write(&self, block: &[u8], out: &mut Vec<u8>) {
        let (first, mut rest) = block.split_at(block.len().min(MAX_FRAME));
        self.write_frame(HEADERS, self.end_stream, first, rest.is_empty(), out);
        while !rest.is_empty() {
            let (next, after) = rest.split_at(rest.len().min(MAX_FRAME));
            self.write_frame(CONTINUATION, 0, next, after.is_empty(), out);
            rest = after;
        }
    }

    fn write_frame(&self, kind: u8, flags: u8, fragment: &[u8], last: bool, out: &mut Vec<u8>) {
        let flags = if last { flags | END_HEADERS } else { flags };
        FrameHeader { length: fragment.len(), kind, flags, stream: self.stream }.write(out);
        out.extend_from_slice(fragment);
    }
}

#[cfg(test)]
mod tests;
