//! Where a service is: a URL that holds nothing but that.

use url::Url;

/// Reads the URL of a service; `form` says what one looks like.
///
/// # Errors
/// Says in words what is wrong.
pub(crate) fn parse_origin(text: &str, form: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| form.to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(form.into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a `?` or `#` part".into());
    }
    Ok(url)
}
