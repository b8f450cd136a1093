//! Remarks on the parameters of a class. Upstream's providers ignore parameters that they do not know, so the providers
//! here accept them too.

use provider::{Declaration, Invalid, Parameters};

use crate::fields::meant;

/// Parameters that no provider reads. They may be spelling errors.
pub fn unknown(provider: &Declaration, parameters: &Parameters) -> Vec<Invalid> {
    let known = provider.parameters.iter().map(|key| key.name);
    let unknown = parameters.keys().filter(|key| provider.parameter(key).is_none());
    let reason = format!("provider {} has no such parameter", provider.label());
    unknown.map(|key| Invalid::new(key, &*reason, meant(key, known.clone()))).collect()
}

/// Parameters with a line break or another control character, except the parameter `lines`, which may have line breaks.
/// Messages repeat these parameters, and would get extra lines from them. `read` gives the part of the text that is
/// used.
pub fn odd(parameters: &Parameters, lines: &str, read: fn(&str) -> &str) -> Vec<Invalid> {
    let odd = parameters.iter().filter(|(key, text)| *key != lines && read(text).contains(char::is_control));
    let reason = "it has a line break or another control character";
    odd.map(|(key, _)| Invalid::new(key, reason, "write it on one line, without `|`")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use provider::{Holds, Key};

    use super::*;

    const SHOP: Declaration = Declaration {
        names: &["shop", "store"],
        title: "",
        about: "",
        default_refresh: Duration::ZERO,
        credentials: &[],
        annotations: &[],
        parameters: &[Key::new("address", Holds::Text, "", "")],
        object: &[],
    };

    fn parameters(of: &[(&str, &str)]) -> Parameters {
        of.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_parameter_that_nobody_reads_is_told_with_the_one_that_was_meant() {
        let told = unknown(&SHOP, &parameters(&[("adress", "a"), ("address", "b")]));

        let [told] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&*told.key, &*told.reason), ("adress", "provider shop has no such parameter"));
        assert!(told.remedy.contains("address"), "{told}");
    }

    #[test]
    fn only_the_lists_of_objects_may_have_lines() {
        let parameters = parameters(&[("objects", "a\nb"), ("one", "a\nb"), ("end", "a\n"), ("none", "a b")]);
        let keys =
            |read| odd(&parameters, "objects", read).into_iter().map(|odd| odd.key).collect::<Vec<_>>();

        assert_eq!(keys(|text| text), ["end", "one"]);
        assert_eq!(keys(str::trim), ["one"]);
    }
}
