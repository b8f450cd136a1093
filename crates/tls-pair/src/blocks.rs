//! Files of PEM blocks.

use pem::{EncodeConfig, LineEnding, Pem};
use zeroize::Zeroizing;

use crate::{Unusable, key};

const CERTIFICATE: &str = "CERTIFICATE";

/// A PEM block. Its contents are wiped when it is dropped.
struct Block {
    label: String,
    encrypted: bool,
    contents: Zeroizing<Vec<u8>>,
}

impl From<Pem> for Block {
    fn from(block: Pem) -> Self {
        let encrypted = block.headers().get("Proc-Type").is_some_and(|kind| kind.contains("ENCRYPTED"));
        let label = block.tag().to_owned();
        Self { label, encrypted, contents: Zeroizing::new(block.into_contents()) }
    }
}

pub(crate) fn certificates(file: &[u8]) -> Result<String, Unusable> {
    let blocks = blocks(file)?;
    let found = blocks.iter().filter(|block| block.label == CERTIFICATE);
    let text: String = found.map(|block| certificate(&block.contents)).collect();
    if text.is_empty() { Err(Unusable::NoCertificate) } else { Ok(text) }
}

/// A certificate as a PEM block.
pub(crate) fn certificate(der: &[u8]) -> String {
    pem::encode_config(&Pem::new(CERTIFICATE, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

pub(crate) fn private_key(file: &[u8]) -> Result<Zeroizing<String>, Unusable> {
    last_key(file, key::encode)
}

/// The last private key, in the form in which the file has it.
pub(crate) fn private_key_as_it_is(file: &[u8]) -> Result<Zeroizing<String>, Unusable> {
    last_key(file, key::keep)
}

type Written = Result<Zeroizing<String>, Unusable>;

fn last_key(file: &[u8], write: fn(&str, &[u8]) -> Written) -> Written {
    let blocks = blocks(file)?;
    let last = blocks.iter().rev().find(|block| block.label.ends_with("PRIVATE KEY"));
    match last.ok_or(Unusable::NoKey)? {
        block if block.encrypted => Err(Unusable::Encrypted),
        block => write(&block.label, &block.contents),
    }
}

fn blocks(file: &[u8]) -> Result<Vec<Block>, Unusable> {
    let blocks = pem::parse_many(file).map_err(|_| Unusable::Pem)?;
    if blocks.is_empty() { Err(Unusable::Pem) } else { Ok(blocks.into_iter().map(Block::from).collect()) }
}
