//! Where requests go, and with which credentials.

use std::fmt;

use crate::error::{Error, Result, What};
use crate::llm::server::{Headers, add_lines, has_header, joined, place, said_or};
use crate::llm::transport::HttpRequest;

/// Where requests go unless told otherwise.
pub const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";

/// Where requests go, and with which credentials.
///
/// ```
/// use miniagents::llm::openai::Endpoint;
///
/// let local = Endpoint::new().with_base_url("http://localhost:8080/v1").resolve_with(|_| None)?;
/// assert_eq!(local.url("/chat/completions"), "http://localhost:8080/v1/chat/completions");
///
/// let env = |name: &str| (name == "OPENAI_API_KEY").then(|| " sk-123\n".to_owned());
/// let request = Endpoint::new().resolve_with(env)?.request(b"{}".to_vec());
/// assert_eq!(request.url, "https://api.openai.com/v1/chat/completions");
/// assert!(request.headers.iter().any(|header| header.value == "Bearer sk-123"));
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    base_url: Option<String>,
    api_key: Option<String>,
    organization: Option<String>,
    project: Option<String>,
    /// Further headers; their values are treated as secrets.
    headers: Headers,
}

impl Endpoint {
    /// The default server, with whatever the environment says.
    pub fn new() -> Self {
        Endpoint::default()
    }

    /// The same endpoint at another server. The path usually ends in `/v1`; prefix and query are
    /// kept.
    #[must_use]
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// The same endpoint with this key.
    #[must_use]
    pub fn with_api_key(mut self, api_key: impl Into<String>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// The same endpoint on the account of this organization.
    #[must_use]
    pub fn with_organization(mut self, organization: impl Into<String>) -> Self {
        self.organization = Some(organization.into());
        self
    }

    /// The same endpoint on the account of this project.
    #[must_use]
    pub fn with_project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// The same endpoint with a further header, such as the `api-key` of Azure.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Fills from the environment what was not said.
    ///
    /// # Errors
    ///
    /// There is no key, and the server is OpenAI's own, which needs one.
    pub fn resolve(self) -> Result<Self> {
        self.resolve_with(|name| std::env::var(name).ok())
    }

    /// [`resolve`](Self::resolve) with another environment.
    ///
    /// # Errors
    ///
    /// There is no key, and the server is OpenAI's own, which needs one.
    pub fn resolve_with(mut self, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        // Whoever brings credentials of their own gets none of the environment's.
        let has_own = ["authorization", "api-key", "x-api-key"]
            .iter()
            .any(|name| has_header(&self.headers, name));
        let key = if has_own { None } else { env("OPENAI_API_KEY") };
        self.api_key = said_or(self.api_key, key);
        self.base_url = said_or(self.base_url, env("OPENAI_BASE_URL"));
        self.organization = said_or(self.organization, env("OPENAI_ORG_ID"));
        self.project = said_or(self.project, env("OPENAI_PROJECT_ID"));
        add_lines(&mut self.headers, env("OPENAI_CUSTOM_HEADERS"));
        let own_server = self.base_url().trim_end_matches('/') == DEFAULT_BASE_URL;
        if own_server && self.api_key.is_none() && !has_header(&self.headers, "authorization") {
            return Err(Error::own(
                What::Value,
                "there is no key for OpenAI: set the variable OPENAI_API_KEY, \
                 or pass `api_key`, or pass the `base_url` of a server that needs none",
            ));
        }
        Ok(self)
    }

    fn base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or(DEFAULT_BASE_URL)
    }

    /// Where it is, without what may be secret: scheme, host and path.
    ///
    /// ```
    /// use miniagents::llm::openai::Endpoint;
    ///
    /// let endpoint = Endpoint::new().with_base_url("http://me:s3cret@localhost:8080/v1?key=s3cret");
    /// assert_eq!(endpoint.place(), "http://localhost:8080/v1");
    /// ```
    pub fn place(&self) -> String {
        place(self.base_url())
    }

    /// The address of `path` at this server. The base keeps its path and its query.
    pub fn url(&self, path: &str) -> String {
        joined(self.base_url(), path)
    }

    /// The request that carries `body`, made by [`ChatRequest::body`](super::ChatRequest::body).
    pub fn request(&self, body: Vec<u8>) -> HttpRequest {
        self.post("/chat/completions", body)
    }

    /// A request that carries `body` to `path` at this server.
    pub fn post(&self, path: &str, body: Vec<u8>) -> HttpRequest {
        let mut request = HttpRequest::post(self.url(path), body)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json");
        if let (Some(key), false) = (&self.api_key, has_header(&self.headers, "authorization")) {
            request = request.credential("Authorization", format!("Bearer {key}"));
        }
        if let Some(organization) = &self.organization {
            request = request.header("OpenAI-Organization", organization);
        }
        if let Some(project) = &self.project {
            request = request.header("OpenAI-Project", project);
        }
        for (name, value) in &self.headers {
            request = request.credential(name, value);
        }
        request
    }
}

/// Neither the key nor the values of further headers are shown.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Endpoint")
            .field("place", &self.place())
            .field("has_api_key", &self.api_key.is_some())
            .field("organization", &self.organization)
            .field("project", &self.project)
            .field("headers", &headers)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_prefix_and_query() {
        for (base, url) in [
            ("http://h/v1", "http://h/v1/chat/completions"),
            ("http://h/api/v1//", "http://h/api/v1/chat/completions"),
            ("http://h", "http://h/chat/completions"),
            (
                "https://h/openai/deployments/d?api-version=1#x",
                "https://h/openai/deployments/d/chat/completions?api-version=1",
            ),
        ] {
            let endpoint = Endpoint::new().with_base_url(base);
            assert_eq!(endpoint.url("/chat/completions"), url);
        }
    }

    #[test]
    fn arguments_beat_the_environment() {
        let env = |name: &str| {
            let value = match name {
                "OPENAI_API_KEY" => " env-key ",
                "OPENAI_BASE_URL" => "http://env/v1\n",
                "OPENAI_ORG_ID" => "env-org",
                "OPENAI_PROJECT_ID" => "  ",
                "OPENAI_CUSTOM_HEADERS" => "X-A: 1\nx-b : b: 2\nnonsense\n: 3\n",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let headers = |endpoint: Endpoint| {
            let request = endpoint.resolve_with(env).unwrap().request(Vec::new());
            let headers = request.headers.into_iter().skip(2);
            let lines = headers.map(|header| format!("{}: {}", header.name, header.value));
            (request.url, lines.collect::<Vec<_>>())
        };

        let (url, lines) = headers(Endpoint::new());
        assert_eq!(url, "http://env/v1/chat/completions");
        assert_eq!(
            lines,
            [
                "Authorization: Bearer env-key",
                "OpenAI-Organization: env-org",
                "X-A: 1",
                "x-b: b: 2"
            ]
        );

        let endpoint = Endpoint::new()
            .with_api_key("key")
            .with_base_url("http://own/v1")
            .with_organization("org")
            .with_project("project")
            .with_header("x-a", "own");
        let (url, lines) = headers(endpoint);
        assert_eq!(url, "http://own/v1/chat/completions");
        assert_eq!(
            lines,
            [
                "Authorization: Bearer key",
                "OpenAI-Organization: org",
                "OpenAI-Project: project",
                "x-a: own",
                "x-b: b: 2"
            ]
        );
    }

    #[test]
    fn whoever_brings_credentials_gets_none_of_the_environment() {
        let env = |name: &str| (name == "OPENAI_API_KEY").then(|| "env-key".to_owned());
        let azure = Endpoint::new()
            .with_base_url("http://localhost/openai/deployments/d?api-version=1")
            .with_header("API-Key", "own");
        let request = azure.resolve_with(env).unwrap().request(Vec::new());
        let credentials: Vec<_> = request
            .headers
            .iter()
            .skip(2)
            .map(|it| &*it.value)
            .collect();
        assert_eq!(credentials, ["own"]);
    }

    #[test]
    fn only_the_vendors_own_server_needs_a_key() {
        let none = |_: &str| None;
        let blank = |_: &str| Some(" ".to_owned());

        for error in [
            Endpoint::new().resolve_with(none).unwrap_err(),
            Endpoint::new()
                .with_api_key(" ")
                .resolve_with(blank)
                .unwrap_err(),
            Endpoint::new()
                .with_base_url("https://api.openai.com/v1/")
                .resolve_with(none)
                .unwrap_err(),
        ] {
            assert!(error.is_value());
            assert!(error.to_string().contains("OPENAI_API_KEY"));
            assert!(error.to_string().contains("`api_key`"));
        }
        let local = Endpoint::new()
            .with_base_url("http://localhost/v1")
            .resolve_with(none)
            .unwrap();
        let request = local.request(Vec::new());
        assert!(
            request
                .headers
                .iter()
                .all(|header| header.name != "Authorization")
        );
    }
}
