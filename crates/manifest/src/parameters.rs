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

/// As [`unknown`], with what `of_objects` finds in the parameter that lists the objects.
pub fn unknown_everywhere(
    provider: &Declaration,
    parameters: &Parameters,
    objects: &str,
    of_objects: fn(&str) -> Vec<Invalid>,
) -> Vec<Invalid> {
    let of_objects = parameters.get(objects).map(|text| of_objects(text)).unwrap_or_default();
    unknown(provider, parameters).into_iter().chain(of_objects).collect()
}

/// A parameter that is there and not empty. One that is not declared is never there, so that none is read which nobody
/// can find in the reference.
pub fn text<'a>(provider: &Declaration, parameters: &'a Parameters, key: &str) -> Option<&'a str> {
    provider.parameter(key)?;
    parameters.get(key).map(String::as_str).filter(|text| !text.is_empty())
}

/// What is right of a class. What is wrong goes to `faults`, so that its author is told of everything at once.
pub fn kept<T>(faults: &mut Vec<Invalid>, outcome: Result<T, impl Into<Vec<Invalid>>>) -> Option<T> {
    outcome.map_err(|found| faults.extend(found.into())).ok()
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
        let in_objects = |text: &str| vec![Invalid::new(text, "", "")];
        let everywhere =
            unknown_everywhere(&SHOP, &parameters(&[("objects", "itme")]), "objects", in_objects);
        assert_eq!(everywhere.iter().map(|told| &*told.key).collect::<Vec<_>>(), ["objects", "itme"]);
    }

    #[test]
    fn a_parameter_is_read_if_it_is_declared_and_not_empty() {
        let given = parameters(&[("address", "a"), ("adress", "b")]);

        assert_eq!(text(&SHOP, &given, "address"), Some("a"));
        assert_eq!(text(&SHOP, &given, "adress"), None);
        assert_eq!(text(&SHOP, &parameters(&[("address", "")]), "address"), None);
    }

    #[test]
    fn everything_that_is_wrong_is_collected_and_what_is_right_is_kept() {
        let wrong = |key: &str| Invalid::new(key, "", "");
        let mut faults = Vec::new();

        assert_eq!(kept(&mut faults, Ok::<_, Invalid>(1)), Some(1));
        assert_eq!(kept(&mut faults, Err::<u8, _>(wrong("a"))), None);
        assert_eq!(kept(&mut faults, Err::<u8, _>(vec![wrong("b"), wrong("c")])), None);
        assert_eq!(faults.iter().map(|fault| &*fault.key).collect::<Vec<_>>(), ["a", "b", "c"]);
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
