use crate::Unusable;

/// The format of a file.
pub(crate) enum Form {
    /// Text with PEM blocks.
    Pem,
    /// A PKCS#12 archive (`.pfx`, `.p12`).
    Pfx,
}

/// How every PEM block begins.
const BEGIN: &[u8] = b"-----BEGIN ";
/// The tag of a SEQUENCE in DER. A PKCS#12 archive is such a sequence.
const SEQUENCE: u8 = 0x30;

impl Form {
    pub(crate) fn of(file: &[u8]) -> Result<Self, Unusable> {
        if file.windows(BEGIN.len()).any(|window| window == BEGIN) {
            return Ok(Self::Pem);
        }
        if file.first() == Some(&SEQUENCE) { Ok(Self::Pfx) } else { Err(Unusable::Form) }
    }
}
