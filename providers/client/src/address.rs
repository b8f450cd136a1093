use url::Url;

/// An address as a class or the administrator writes it, in its plain form: without a slash at its end.
///
/// # Errors
///
/// Why it is none, in one clause.
pub fn plain_address(raw: &str) -> Result<String, &'static str> {
    let url = Url::parse(raw.trim()).map_err(|_| "it is no URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("its scheme is neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or fragment");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_plain_http_url() {
        assert_eq!(plain_address("https://vault.vault:8200/").unwrap(), "https://vault.vault:8200");
        assert_eq!(plain_address("http://h:1/prefix/").unwrap(), "http://h:1/prefix");
        for raw in
            ["", "vault:8200", "ftp://h", "unix:///run/x", "https://u:p@h", "https://h?x=1", "https://h#x"]
        {
            assert!(plain_address(raw).is_err(), "{raw:?}");
        }
    }
}
