//! Addresses of repositories and of files below them.

use url::Url;

/// Why a text is no address.
#[derive(Debug, thiserror::Error)]
#[error("`{address}` is no address: {reason}")]
pub struct AddressError {
    /// The text.
    address: String,
    /// What is wrong with it.
    reason: String,
}

/// Returns the URL of a file below a repository's; a query of the repository's URL stays at its end, for it
/// may be what grants access.
///
/// The name is taken as it is: a `%` in it is a `%` of the file's name.
pub(crate) fn below(base: &str, name: &str) -> Result<String, AddressError> {
    let failed = |reason: String| AddressError { address: base.to_owned(), reason };
    let mut url = Url::parse(base).map_err(|error| failed(error.to_string()))?;
    url.path_segments_mut()
        .map_err(|()| failed("nothing can be below it".to_owned()))?
        .pop_if_empty()
        .extend(name.split('/').filter(|part| *part != "."));
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_below_the_repository() {
        for (base, name, expected) in [
            ("https://host/repo", "repodata/repomd.xml", "https://host/repo/repodata/repomd.xml"),
            ("https://host/repo/", "a.rpm", "https://host/repo/a.rpm"),
            ("https://host", "./a.rpm", "https://host/a.rpm"),
            ("https://host/repo?sig=a%2Fb", "p/a.rpm", "https://host/repo/p/a.rpm?sig=a%2Fb"),
            ("http://host/x", "g++-1^2~3#4?5%2e.rpm", "http://host/x/g++-1^2~3%234%3F5%252e.rpm"),
            ("http://host/x", "%2e%2e/%2e%2e/a", "http://host/x/%252e%252e/%252e%252e/a"),
        ] {
            assert_eq!(below(base, name).unwrap(), expected);
        }
        assert!(below("mailto:x", "a").is_err());
        assert!(below("not an address", "a").is_err());
    }
}
