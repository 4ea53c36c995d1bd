//! What the endpoints of all vendors do with addresses, variables and headers.

use super::transport::HttpRequest;

/// `value` without the space around it; `None` if nothing is left.
pub(crate) fn trimmed(value: &str) -> Option<String> {
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// What was said, or else what the variable says.
pub(crate) fn said_or(argument: Option<String>, variable: Option<String>) -> Option<String> {
    let argument = argument.as_deref().and_then(trimmed);
    argument.or_else(|| variable.as_deref().and_then(trimmed))
}

/// The address of `path` below `base`, which keeps its path and its query.
pub(crate) fn joined(base: &str, path: &str) -> String {
    let base = &base[..base.find('#').unwrap_or(base.len())];
    let (base, query) = base.split_at(base.find('?').unwrap_or(base.len()));
    format!("{}{path}{query}", base.trim_end_matches('/'))
}

/// Scheme, host and path of an address, without what may be secret.
pub(crate) fn place(url: &str) -> String {
    let place = HttpRequest::post(url, []).place();
    place.trim_start_matches("POST ").to_owned()
}

/// Headers of the user's, by name and value.
pub(crate) type Headers = Vec<(String, String)>;

pub(crate) fn has_header(headers: &Headers, name: &str) -> bool {
    let mut names = headers.iter().map(|(name, _)| name);
    names.any(|known| known.eq_ignore_ascii_case(name))
}

/// Adds the headers of a variable with a line `Name: value` for each; those that are there already win.
pub(crate) fn add_lines(headers: &mut Headers, lines: Option<String>) {
    for line in lines.unwrap_or_default().lines() {
        if let Some((name, value)) = line.split_once(':') {
            let (name, value) = (name.trim(), value.trim());
            if !name.is_empty() && !has_header(headers, name) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}
