//! What matters of an address: its origin, and what a redirect makes of it.

use std::net::IpAddr;

/// Whether a server is on this machine, where no proxy could reach it.
pub(super) fn is_loopback(origin: &str) -> bool {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

/// Where `location` points to when it is said by `url`. Dots in a path are left to the server.
pub(super) fn resolve(url: &str, location: &str) -> String {
    let path_begins = origin_end(url);
    let query_begins = url.find(['?', '#']).unwrap_or(url.len());
    if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        let scheme = url.split_once("//").map_or("https:", |(scheme, _)| scheme);
        format!("{scheme}{location}")
    } else if location.starts_with('/') {
        format!("{}{location}", &url[..path_begins])
    } else if location.starts_with(['?', '#']) {
        format!("{}{location}", &url[..query_begins])
    } else {
        let folder = url[path_begins..query_begins]
            .rfind('/')
            .map_or(path_begins, |slash| path_begins + slash);
        format!("{}/{location}", &url[..folder])
    }
}

/// Where the path of `url` begins.
fn origin_end(url: &str) -> usize {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| host + at)
}

/// Scheme, host and port in lower case, the port always said; user and password are left out.
pub(super) fn origin(url: &str) -> String {
    let origin = url[..origin_end(url)].to_ascii_lowercase();
    let (scheme, authority) = origin.split_once("://").unwrap_or(("", &origin));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.contains(']'));
    let port = match scheme {
        _ if has_port => "",
        "https" => ":443",
        _ => ":80",
    };
    format!("{scheme}://{host}{port}")
}

/// `url` without user, password, query and fragment.
pub(super) fn without_secrets(url: &str) -> String {
    let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    let (before, path) = url.split_at(origin_end(url));
    match (before.split_once("://"), before.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}{path}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_no_secrets() {
        for (url, place) in [
            ("http://host", "http://host"),
            ("http://host?a@b/c", "http://host"),
            ("http://a@b@host:80/x@y/z#q", "http://host:80/x@y/z"),
            ("no address", "no address"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(url), place, "{url}");
        }
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        for (url, expected) in [
            ("HTTP://Host/Path", "http://host:80"),
            ("https://me:pw@host", "https://host:443"),
            ("https://host:8443?x", "https://host:8443"),
            ("http://[::1]/x", "http://[::1]:80"),
            ("http://[::1]:8080/x", "http://[::1]:8080"),
        ] {
            assert_eq!(origin(url), expected, "{url}");
        }
        assert_ne!(origin("http://host"), origin("https://host"));
    }

    #[test]
    fn servers_on_this_machine_are_known() {
        for (url, expected) in [
            ("http://localhost", true),
            ("http://LOCALHOST:8080/v1", true),
            ("http://127.0.0.1:8080/v1", true),
            ("http://127.1.2.3", true),
            ("https://[::1]:8080", true),
            ("http://[::1]", true),
            ("http://[::2]", false),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&origin(url)), expected, "{url}");
        }
    }

    #[test]
    fn locations_are_resolved() {
        let url = "http://host:1/a/b?q=1/2";
        for (location, expected) in [
            ("https://other/x", "https://other/x"),
            ("//other/x", "http://other/x"),
            ("/x?y", "http://host:1/x?y"),
            ("x", "http://host:1/a/x"),
            ("?y", "http://host:1/a/b?y"),
        ] {
            assert_eq!(resolve(url, location), expected, "{location}");
        }
        assert_eq!(resolve("http://host", "x"), "http://host/x");
        assert_eq!(resolve("http://host?q", "/x"), "http://host/x");
    }
}
