//! What is asked where a redirect leads.

use super::address::{origin, resolve};
use super::request::HttpRequest;

/// The request that follows a redirect.
pub(super) fn redirected(mut request: HttpRequest, status: u16, location: &str) -> HttpRequest {
    let url = resolve(&request.url, location);
    if origin(&url) != origin(&request.url) {
        request.headers.retain(|header| !header.secret);
    }
    if matches!(status, 301..=303) && request.method == "POST" {
        request.method = "GET".into();
        request.body = Vec::new();
        request
            .headers
            .retain(|header| !header.name.eq_ignore_ascii_case("content-type"));
    }
    request.url = url;
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_keep_what_they_should() {
        let request = HttpRequest::post("http://a/x", "body")
            .header("Content-Type", "text/plain")
            .credential("key", "s3cret");

        let same = redirected(request.clone(), 307, "/y");
        assert_eq!(
            (same.method.as_str(), same.body.as_slice()),
            ("POST", &b"body"[..])
        );
        assert_eq!(same.headers.len(), 2);

        let other = redirected(request.clone(), 308, "http://b/y");
        assert_eq!(
            (other.method.as_str(), other.body.as_slice()),
            ("POST", &b"body"[..])
        );
        assert!(other.headers.iter().all(|header| !header.secret));

        let downgraded = redirected(other, 307, "http://a/x");
        assert!(
            downgraded.headers.iter().all(|header| !header.secret),
            "gone for good"
        );

        let got = redirected(request, 302, "/y");
        assert_eq!(
            (got.method.as_str(), got.body.len(), got.headers.len()),
            ("GET", 0, 1)
        );
    }
}
