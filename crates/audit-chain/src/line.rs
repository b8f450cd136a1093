//! The form of a line.

use crate::key::{ChainId, Code, Key};

const BEGIN: &str = ",\"chain\":{\"id\":\"";
const SEQ: &str = "\",\"seq\":";
const UNSURE: &str = ",\"unsure\":";
const PREV: &str = ",\"prev\":\"";
const MAC: &str = "\",\"mac\":\"";
const END: &str = "\"}}";

/// Where a line stands in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) id: &'a ChainId,
    pub(crate) seq: u64,
    /// The number from which on lines may be missing before this one.
    pub(crate) unsure: Option<u64>,
    /// The code of the line before.
    pub(crate) before: Option<&'a Code>,
}

/// `object` with its place and code, and a line end. `None` if it is no JSON object on one line.
pub(crate) fn seal(object: &str, place: Place<'_>, key: &Key) -> Option<(Vec<u8>, Code)> {
    let open = object.strip_suffix('}').filter(|open| open.starts_with('{') && open.len() > 1)?;
    if open.contains('\n') {
        return None;
    }
    let unsure = place.unsure.map(|from| format!("{UNSURE}{from}")).unwrap_or_default();
    let (id, seq, link) = (&place.id.0, place.seq, Code::link(place.before));
    // The quotation mark that ends `prev` is a part of `MAC`.
    let text = format!("{open}{BEGIN}{id}{SEQ}{seq}{unsure}{PREV}{link}");
    let code = key.code(text.as_bytes());
    Some((format!("{text}{MAC}{}{END}\n", code.0).into_bytes(), code))
}

/// A line that has the form of a sealed one. Whether it is true is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed<'a> {
    /// What the code is over.
    pub(crate) text: &'a str,
    pub(crate) id: &'a str,
    pub(crate) seq: u64,
    pub(crate) unsure: Option<u64>,
    pub(crate) link: &'a str,
    pub(crate) code: &'a str,
}

impl<'a> Sealed<'a> {
    /// Parses a line without its line end.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let (text, code) = line.strip_suffix(END)?.rsplit_once(MAC)?;
        let (_, member) = text.rsplit_once(BEGIN)?;
        let (id, rest) = member.split_once(SEQ)?;
        let (numbers, link) = rest.split_once(PREV)?;
        let (seq, unsure) = match numbers.split_once(UNSURE) {
            Some((seq, unsure)) => (seq, Some(number(unsure)?)),
            None => (numbers, None),
        };
        let is_plain = |text: &str| !text.contains(['"', '\\']);
        let is_whole = [id, link, code].into_iter().all(is_plain);
        is_whole.then_some(Self { text, id, seq: number(seq)?, unsure, link, code })
    }
}

/// A number in the one form that is written.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sealed_line_is_an_object_with_one_more_member_and_parses() {
        let key = Key::random().unwrap();
        let (id, before) = (key.id(), key.code(b"before"));
        let place = Place { id: &id, seq: 7, unsure: Some(5), before: Some(&before) };

        let (line, code) = seal(r#"{"a":",\"chain\":{"}"#, place, &key).unwrap();

        let line = line.strip_suffix(b"\n").unwrap();
        let json: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!((&json["chain"]["seq"], &json["chain"]["unsure"]), (&7.into(), &5.into()));
        let sealed = Sealed::parse(line).unwrap();
        assert_eq!((sealed.id, sealed.seq, sealed.unsure), (&*id.0, 7, Some(5)));
        assert_eq!((sealed.link, sealed.code), (&before.0[..22], &*code.0));
        assert_eq!(key.code(sealed.text.as_bytes()), code);
    }

    #[test]
    fn what_is_no_object_on_one_line_is_not_sealed() {
        let key = Key::random().unwrap();
        let id = key.id();
        for object in ["", "{", "}", "{}", "[1]", "{\"a\":1}\n", "{\"a\":\n1}"] {
            let place = Place { id: &id, seq: 0, unsure: None, before: None };
            assert!(seal(object, place, &key).is_none(), "{object}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_parsed_without_a_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Sealed::parse(&line);
        }
    }
}
