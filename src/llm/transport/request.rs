//! What is sent: method, address, headers and body, and which of it are secrets.

use std::fmt;

use super::address::without_secrets;

/// What is sent.
#[derive(Clone)]
pub struct HttpRequest {
    /// `GET`, `POST` and the like.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// The headers beside those of HTTP itself.
    pub headers: Vec<HttpHeader>,
    /// The bytes; empty when there are none.
    pub body: Vec<u8>,
    /// Whether the answer is of use only as a whole: then it may be read to its end before it is handed
    /// out, and be asked for again if it breaks off.
    pub whole: bool,
}

/// A header of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpHeader {
    /// The name, in any case.
    pub name: String,
    /// The value.
    pub value: String,
    /// Whether the value is shown to nobody, and does not go along to another origin.
    pub secret: bool,
}

impl HttpRequest {
    /// A request that sends `body` to `url`.
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        HttpRequest {
            method: "POST".into(),
            url: url.into(),
            headers: Vec::new(),
            body: body.into(),
            whole: false,
        }
    }

    /// The same request, whose answer is of use only as a whole.
    #[must_use]
    pub fn in_one_piece(mut self) -> Self {
        self.whole = true;
        self
    }

    /// The same request with another header. Those that are known to carry secrets
    /// (`authorization`, `x-api-key`, `api-key`, `cookie`) are treated as
    /// [credentials](Self::credential).
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        let secret = [
            "authorization",
            "proxy-authorization",
            "x-api-key",
            "api-key",
            "cookie",
        ]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known));
        self.headers.push(HttpHeader {
            name,
            value: value.into(),
            secret,
        });
        self
    }

    /// The same request with a header whose value is a secret.
    #[must_use]
    pub fn credential(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(HttpHeader {
            name: name.into(),
            value: value.into(),
            secret: true,
        });
        self
    }

    /// Method, host and path: what an error says about where it happened.
    pub fn place(&self) -> String {
        format!("{} {}", self.method, without_secrets(&self.url))
    }

    /// `text` with every credential of this request replaced. Some servers repeat in their refusal
    /// what they were sent.
    pub fn scrub(&self, text: &str) -> String {
        let secrets = self.headers.iter().filter(|header| header.secret);
        secrets.fold(text.to_owned(), |text, header| {
            let secret = header.value.rsplit(' ').next().unwrap_or_default();
            if secret.len() < 4 {
                text
            } else {
                text.replace(secret, "***")
            }
        })
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("place", &self.place())
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

impl fmt::Debug for HttpHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.secret { "***" } else { &self.value };
        write!(f, "{}: {value}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let request = HttpRequest::post("https://me:s3cret@host/a?key=s3cret#s3cret", "s3cret")
            .header("Authorization", "Bearer s3cret")
            .header("Accept", "text/plain")
            .credential("x-mine", "s3cret");

        assert_eq!(
            format!("{request:?}"),
            "HttpRequest { place: \"POST https://host/a\", headers: [Authorization: ***, Accept: text/plain, \
             x-mine: ***], body_bytes: 6 }"
        );
        assert_eq!(
            request.scrub("the key s3cret is wrong"),
            "the key *** is wrong"
        );
    }
}
