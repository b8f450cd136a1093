//! Checks the result for every common form of a store's answer. The expected files are OpenSSL's own conversions.

#![allow(clippy::unwrap_used, reason = "the files are in the repository")]

use tls_pair::{Unusable, bundle, certificates, key_of_bundle, private_key};

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("files/", $name)).as_slice()
    };
}

const RSA: &[u8] = file!("rsa-pkcs1.pem");
const EC: &[u8] = file!("ec-sec1.pem");
const ED25519: &[u8] = file!("ed25519.pem");

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The key of `ec-sec1.pem`, whose file begins with the curve's parameters.
fn elliptic() -> &'static str {
    let text = text(EC);
    &text[text.find("-----BEGIN EC PRIVATE KEY").unwrap()..]
}

#[test]
fn rsa_keys_become_pkcs1_and_elliptic_ones_sec1_whatever_they_were() {
    for form in [RSA, file!("rsa-pkcs8.pem"), file!("bundle.pem")] {
        assert_eq!(*private_key(form, "").unwrap(), text(RSA));
    }
    for form in [EC, file!("ec-pkcs8.pem")] {
        assert_eq!(*private_key(form, "").unwrap(), elliptic());
    }
}

#[test]
fn an_ed25519_key_has_no_older_form_and_stays_pkcs8() {
    assert_eq!(*private_key(ED25519, "").unwrap(), text(ED25519));
    assert_eq!(*private_key(file!("ed25519.pfx"), "hunter2").unwrap(), text(ED25519));
}

#[test]
fn a_pfx_gives_its_key_and_its_certificates_the_keys_own_first() {
    let chain = format!("{}{}", text(file!("rsa.crt")), text(file!("ca.crt")));
    for (pfx, password) in [(file!("rsa.pfx"), ""), (file!("rsa-legacy.pfx"), "hunter2")] {
        assert_eq!(*private_key(pfx, password).unwrap(), text(RSA));
        assert_eq!(certificates(pfx, password).unwrap(), chain);
    }
    assert_eq!(*private_key(file!("ec-password.pfx"), "hunter2").unwrap(), elliptic());
    assert_eq!(certificates(file!("ec-password.pfx"), "hunter2").unwrap(), text(file!("ec.crt")));
}

#[test]
fn certificates_keep_the_files_order_and_lose_what_stands_between() {
    let chain = format!("{}{}", text(file!("rsa.crt")), text(file!("ca.crt")));
    let commented =
        format!("Bag Attributes\n    key: a\n{}", text(file!("bundle.pem")).replace('\n', "\r\n"));
    assert_eq!(certificates(file!("bundle.pem"), "").unwrap(), chain);
    assert_eq!(certificates(commented.as_bytes(), "").unwrap(), chain);
}

#[test]
fn the_last_of_several_keys_is_taken() {
    let both = [RSA, ED25519, b"-----BEGIN DH PARAMETERS-----\nMAA=\n-----END DH PARAMETERS-----\n"].concat();
    assert_eq!(*private_key(&both, "").unwrap(), text(ED25519));
}

#[test]
fn what_cannot_be_used_says_why() {
    let pfx = |hint| Unusable::Pfx(hint);
    let cut = &RSA[..RSA.len() - 40];
    let bare = b"-----BEGIN EC PRIVATE KEY-----\nMAYCAQEEAQE=\n-----END EC PRIVATE KEY-----\n";
    let nonsense = b"-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n";
    for (file, password, expected) in [
        (b"hunter2".as_slice(), "", Unusable::Form),
        (cut, "", Unusable::Pem),
        (file!("ca.crt"), "", Unusable::NoKey),
        (file!("encrypted-pkcs8.pem"), "", Unusable::Encrypted),
        (file!("encrypted-pkcs1.pem"), "", Unusable::Encrypted),
        (bare, "", Unusable::Curve),
        (nonsense, "", Unusable::Key("RSA")),
        (file!("ed25519.pfx"), "", pfx("; if it has a password, name the file that holds it")),
        (file!("ed25519.pfx"), "wrong", pfx("; it is damaged, or the password is not its own")),
    ] {
        assert_eq!(private_key(file, password).unwrap_err(), expected);
    }
    assert_eq!(certificates(RSA, "").unwrap_err(), Unusable::NoCertificate);
}

#[test]
fn a_pfx_becomes_a_pkcs8_key_and_the_chain_from_leaf_to_root() {
    let chain = format!("{}{}", text(file!("rsa.crt")), text(file!("ca.crt")));
    let whole = format!("{}{chain}", text(file!("rsa-pkcs8.pem")));

    for (pfx, password) in [(file!("rsa.pfx"), ""), (file!("rsa-legacy.pfx"), "hunter2")] {
        assert_eq!(*bundle(pfx, password).unwrap(), whole);
    }
    assert_eq!(*key_of_bundle(whole.as_bytes()).unwrap(), text(file!("rsa-pkcs8.pem")));
    assert_eq!(certificates(whole.as_bytes(), "").unwrap(), chain);
}

#[test]
fn a_chain_is_ordered_however_it_stands_and_strangers_come_last() {
    for pfx in [file!("chain-shuffled.pfx"), file!("chain-stranger.pfx")] {
        let pem = bundle(pfx, "").unwrap();
        let ordered = certificates(pem.as_bytes(), "").unwrap();
        assert!(ordered.starts_with(text(file!("chain.crt"))), "{ordered}");
    }
    let stranger = bundle(file!("chain-stranger.pfx"), "").unwrap();
    assert!(stranger.ends_with(text(file!("ed.crt"))));
}

#[test]
fn what_is_pem_already_is_left_as_it_is_and_its_key_too() {
    assert_eq!(*bundle(file!("bundle.pem"), "").unwrap(), text(file!("bundle.pem")));
    assert_eq!(*key_of_bundle(RSA).unwrap(), text(RSA));
    assert_eq!(*key_of_bundle(file!("rsa-pkcs8.pem")).unwrap(), text(file!("rsa-pkcs8.pem")));
    assert_eq!(key_of_bundle(file!("rsa.crt")).unwrap_err(), Unusable::NoKey);
}
