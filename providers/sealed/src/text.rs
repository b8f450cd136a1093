//! The text of a sealed value: words with white space between them, so that it may stand on one line or on many.
//!
//! ```text
//! SFS1 environment=production namespace=shop class=till object=db/password
//! kms=vault key=transit/shop wrapped=vault:v1:…
//! value=AAAA… AAAA… end
//! ```

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use provider::{Error, ErrorKind, Result, SecretBytes};

use crate::envelope::{self, Binding};
use crate::place::Place;

/// The first word.
pub(crate) const FIRST: &str = "SFS1";
/// The last word.
pub(crate) const LAST: &str = "end";
/// Columns of a line of the value. A change of one value is then a change of its own lines.
const COLUMNS: usize = 76;
/// The longest text that is read, in bytes.
const LONGEST: usize = 1 << 20;

/// One sealed value. Not secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedText {
    /// Where the value may be shown.
    pub place: Place,
    /// The provider whose store has the key.
    pub kms: String,
    /// The key, as that provider writes it.
    pub key: String,
    /// The data key, encrypted with that key.
    pub wrapped: String,
    /// The value, encrypted with the data key.
    pub(crate) value: Vec<u8>,
}

impl SealedText {
    /// Encrypts `value` with `data_key`, which the store of `kms` has encrypted as `wrapped` with `key`.
    ///
    /// # Errors
    ///
    /// The value is too long, or the system gives no random numbers.
    pub fn seal(
        place: Place,
        [kms, key]: [&str; 2],
        (data_key, wrapped): (&SecretBytes, String),
        value: &SecretBytes,
    ) -> Result<Self> {
        let value = envelope::seal(Binding { place: &place, kms, key }, data_key, value)?;
        Ok(Self { place, kms: kms.to_owned(), key: key.to_owned(), wrapped, value })
    }

    /// The value, if it was sealed with `data_key` as what this text says.
    pub(crate) fn open(&self, data_key: &SecretBytes) -> Result<SecretBytes> {
        let Self { place, kms, key, value, .. } = self;
        envelope::open(Binding { place, kms, key }, data_key, value).ok_or_else(|| {
            let what = "it was altered, or put together from several";
            Error::new(ErrorKind::Invalid, format!("the sealed text does not open as {place}: {what}"))
                .remedy("restore it, or seal the value again")
        })
    }

    /// Parses a text. Only the text that [`lines`](Self::lines) writes is one, but for the white space between words.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<Self, &'static str> {
        if text.len() > LONGEST {
            return Err("it is longer than 1 MiB");
        }
        let mut words = text.split_ascii_whitespace();
        if words.next() != Some(FIRST) {
            return Err("it does not begin with SFS1");
        }
        let mut field = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=').and_then(decoded);
        let mut next = |name, why| field(name).ok_or(why);
        let place = Place {
            environment: next("environment", "it says no environment")?,
            namespace: next("namespace", "it says no namespace")?,
            class: next("class", "it says no class")?,
            object: next("object", "it says no object")?,
        };
        let kms = next("kms", "it says no kms")?;
        let key = next("key", "it says no key")?;
        let wrapped = next("wrapped", "it has no data key")?;
        let value = value(words)?;
        let sealed = Self { place, kms, key, wrapped, value };
        // Wherever the value is split: the characters are the same.
        let same = plain(&sealed.lines().join(" ")).eq(plain(text));
        if same { Ok(sealed) } else { Err("it was edited") }
    }

    /// The lines of the text.
    pub fn lines(&self) -> Vec<String> {
        let place = self.place.parts().map(|(name, value)| format!("{name}={}", encoded(value))).join(" ");
        let how = [("kms", &self.kms), ("key", &self.key)]
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        let mut lines =
            vec![format!("{FIRST} {place}"), how.join(" "), format!("wrapped={}", encoded(&self.wrapped))];
        let value = format!("value={}", BASE64_URL_SAFE_NO_PAD.encode(&self.value));
        lines.extend(value.as_bytes().chunks(COLUMNS).map(|line| String::from_utf8_lossy(line).into_owned()));
        lines.push(LAST.to_owned());
        lines
    }

    /// A name for exactly this text.
    pub(crate) fn version(&self) -> String {
        let hash = digest(&SHA256, self.lines().join("\n").as_bytes());
        hash.as_ref().iter().take(8).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The characters without the white space.
fn plain(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_ascii_whitespace())
}

/// The value behind `value=` up to the last word.
fn value<'a>(mut words: impl Iterator<Item = &'a str>) -> std::result::Result<Vec<u8>, &'static str> {
    let mut joined =
        words.next().and_then(|word| word.strip_prefix("value=")).ok_or("it has no value")?.to_owned();
    loop {
        match words.next() {
            Some(LAST) if words.next().is_none() => break,
            Some(LAST) => return Err("something stands behind its end"),
            Some(more) => joined.push_str(more),
            None => return Err("its end is missing"),
        }
    }
    BASE64_URL_SAFE_NO_PAD.decode(joined).map_err(|_| "its value is no base64")
}

/// `text` as one word.
fn encoded(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"%\"'\\#".contains(&byte) {
            word.push(char::from(byte));
        } else {
            let _ = write!(word, "%{byte:02X}");
        }
    }
    word
}

fn decoded(word: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn sample(object: &str, value: &[u8]) -> SealedText {
        SealedText {
            place: Place {
                environment: "production".to_owned(),
                namespace: "shop".to_owned(),
                class: "till".to_owned(),
                object: object.to_owned(),
            },
            kms: "vault".to_owned(),
            key: "transit/shop".to_owned(),
            wrapped: "vault:v1:QUJD+/==".to_owned(),
            value: value.to_vec(),
        }
    }

    #[test]
    fn a_text_stands_on_one_line_or_on_many() {
        let sealed = sample("db/password", &[7; 200]);
        let lines = sealed.lines();

        assert_eq!(lines[0], "SFS1 environment=production namespace=shop class=till object=db/password");
        assert_eq!(lines[1], "kms=vault key=transit/shop");
        assert_eq!(lines[2], "wrapped=vault:v1:QUJD+/==");
        assert!(lines.iter().all(|line| line.len() <= COLUMNS) && lines.last().unwrap() == "end");
        for joined in [lines.join(" "), lines.join("\n    "), format!("  {}\n", lines.join("\r\n"))] {
            assert_eq!(SealedText::parse(&joined), Ok(sealed.clone()), "{joined}");
        }
    }

    #[test]
    fn what_is_no_sealed_text_is_told() {
        let text = sample("a", b"x").lines().join(" ");
        for (broken, why) in [
            (String::new(), "begin with SFS1"),
            (text.replace("SFS1", "SFS2"), "begin with SFS1"),
            (text.replace(" end", ""), "its end is missing"),
            (format!("{text} more"), "behind its end"),
            (text.replace("class=till ", ""), "no class"),
            (text.replace("object=a", "object=%61"), "it was edited"),
            (text.replace("value=", "value=*"), "no base64"),
            (text.replace("kms=vault ", ""), "no kms"),
        ] {
            let told = SealedText::parse(&broken).unwrap_err();
            assert!(told.contains(why), "{broken}: {told}");
        }
    }

    proptest! {
        #[test]
        fn any_name_and_any_value_survive_the_text(name in "\\PC{0,20}", value in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut sealed = sample("o", &value);
            sealed.place.class.clone_from(&name);
            sealed.key = name;
            prop_assert_eq!(SealedText::parse(&sealed.lines().join("\n")), Ok(sealed.clone()));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(SFS1 )?\\PC{0,200}") {
            let _ = SealedText::parse(&text);
        }
    }
}
