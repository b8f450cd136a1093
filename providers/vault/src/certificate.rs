//! Finds the end of a certificate, the one field of X.509 that decides when to ask for the next certificate.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;

/// `notAfter` of the first certificate in `pem`.
pub(crate) fn not_after(pem: &str) -> Option<Timestamp> {
    let inner = pem.split_once("-----BEGIN CERTIFICATE-----")?.1.split_once("-----END CERTIFICATE-----")?.0;
    let base64: String = inner.split_ascii_whitespace().collect();
    let der = STANDARD.decode(base64).ok()?;
    let certificate = take(&mut der.as_slice(), SEQUENCE)?;
    let mut fields = take(&mut &*certificate, SEQUENCE)?;
    if fields.first() == Some(&EXPLICIT_VERSION) {
        take(&mut fields, EXPLICIT_VERSION)?;
    }
    // RFC 5280, 4.1: serial number, signature algorithm, issuer, validity.
    take(&mut fields, INTEGER)?;
    take(&mut fields, SEQUENCE)?;
    take(&mut fields, SEQUENCE)?;
    let mut validity = take(&mut fields, SEQUENCE)?;
    time(&mut validity)?;
    time(&mut validity)
}

/// The contents of the next element, which must have this `tag`.
fn take<'a>(der: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    *der = rest;
    (found == tag).then_some(contents)
}

fn time(der: &mut &[u8]) -> Option<Timestamp> {
    let text = match der.first()? {
        &UTC_TIME => {
            let short = std::str::from_utf8(take(der, UTC_TIME)?).ok()?;
            // RFC 5280, 4.1.2.5.1: years from 50 on belong to the last century.
            let century = if short.get(..2)?.parse::<u8>().ok()? >= 50 { "19" } else { "20" };
            format!("{century}{short}")
        }
        _ => std::str::from_utf8(take(der, GENERALIZED_TIME)?).ok()?.to_owned(),
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn ending(year: i32) -> String {
        let mut params = CertificateParams::new(vec!["shop.example.com".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1999, 1, 1);
        params.not_after = date_time_ymd(year, 2, 3);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn the_end_is_found_in_either_form_of_time() {
        for year in [2031, 2049, 2051] {
            let end = not_after(&ending(year)).unwrap();
            assert_eq!(end.to_string(), format!("{year}-02-03T00:00:00Z"));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8), cut in any::<proptest::sample::Index>()) {
            let pem = ending(2031);
            let inner: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            let mut der = STANDARD.decode(inner).unwrap();
            for (at, byte) in flips {
                let at = at.index(der.len());
                der[at] = byte;
            }
            der.truncate(cut.index(der.len()) + 1);
            let _ = not_after(&format!("-----BEGIN CERTIFICATE-----{}-----END CERTIFICATE-----", STANDARD.encode(der)));
        }
    }
}
