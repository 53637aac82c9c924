//! Values that show which generation they belong to and whether they are whole.

/// Returns a value of exactly `bytes` bytes that carries `generation` at both ends.
///
/// # Panics
///
/// When `bytes` has no room for both.
pub fn value(generation: u64, bytes: usize) -> String {
    let fill = bytes.checked_sub(format!("{generation}::{generation}").len()).expect("room for both ends");
    format!("{generation}:{}:{generation}", "x".repeat(fill))
}

/// Returns the generation of a whole value.
///
/// # Errors
///
/// What is wrong with it: cut, mixed, or something else.
pub fn read(value: &[u8]) -> Result<u64, String> {
    let broken = || format!("a broken value of {} bytes: {:?}…", value.len(), shown(value));
    let text = std::str::from_utf8(value).map_err(|_not_text| broken())?;
    let (first, rest) = text.split_once(':').ok_or_else(broken)?;
    let (fill, last) = rest.rsplit_once(':').ok_or_else(broken)?;
    if first != last || fill.bytes().any(|byte| byte != b'x') {
        return Err(broken());
    }
    first.parse().map_err(|_not_a_number| broken())
}

fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned()
}
