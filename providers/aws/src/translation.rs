/// How the name of a secret becomes the name of a file: `pathTranslation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Translation {
    /// Each slash becomes this character.
    To(char),
    /// Slashes stay, but for those at the beginning: files lie in directories.
    Off,
}

impl Translation {
    /// What `raw` stands for.
    ///
    /// # Errors
    ///
    /// Why it stands for nothing, in one clause.
    pub(crate) fn new(raw: Option<&str>) -> Result<Self, &'static str> {
        let Some(raw) = raw.filter(|raw| !raw.is_empty()) else { return Ok(Self::To('_')) };
        if raw.eq_ignore_ascii_case("false") {
            return Ok(Self::Off);
        }
        let mut characters = raw.chars();
        match (characters.next(), characters.next()) {
            (Some('/'), None) => Err("it is the slash itself"),
            (Some(one), None) if one.is_ascii_graphic() => Ok(Self::To(one)),
            _ => Err("it is neither one character nor \"False\""),
        }
    }

    pub(crate) fn of(self, name: &str) -> String {
        match self {
            Self::To(one) => name.replace('/', one.encode_utf8(&mut [0; 4])),
            Self::Off => name.trim_start_matches('/').to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_becomes_one_character_or_stays() {
        let of = |raw, name| Translation::new(raw).unwrap().of(name);

        assert_eq!(of(None, "/shop/prod/flag"), "_shop_prod_flag");
        assert_eq!(of(Some("-"), "shop/db"), "shop-db");
        assert_eq!(of(Some("False"), "/shop/prod/flag"), "shop/prod/flag");
        assert_eq!(of(Some("FALSE"), "a"), "a");
        for raw in ["/", "__", " ", "\n", "ü", "no"] {
            assert!(Translation::new(Some(raw)).is_err(), "{raw:?}");
        }
    }
}
