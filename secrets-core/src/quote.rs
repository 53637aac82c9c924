//! Quotes texts for those who read them as something else.

/// Quotes a text for a POSIX shell: between single quotes, in which nothing is special (XCU 2.2.2). `None` for a text with a NUL, which
/// no shell can carry.
pub fn shell(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| format!("'{}'", text.replace('\'', r"'\''")))
}

/// Quotes a text for a `.env` file. `None` for a text with a NUL, which no environment can carry.
///
/// It stands between single quotes where it can, which every reader of such files takes literally; one with a single quote, a
/// backslash or the end of a line stands between double quotes, with `\\`, `\"`, `\$` and `\n`.
pub fn dotenv(text: &str) -> Option<String> {
    if text.contains('\0') {
        return None;
    }
    if !text.contains(['\'', '\\', '\n', '\r']) {
        return Some(format!("'{text}'"));
    }
    let mut quoted = String::with_capacity(2 * text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '\n' => quoted.push_str("\\n"),
            '\\' | '"' | '$' => quoted.extend(['\\', c]),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Some(quoted)
}
