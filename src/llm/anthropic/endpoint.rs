//! Where requests go, with which credential, and in which version of the protocol.

use std::fmt;

use crate::error::{Error, Result, What};
use crate::llm::server::{Headers, add_lines, has_header, joined, place, said_or};
use crate::llm::transport::HttpRequest;

/// Where requests go unless told otherwise.
pub const DEFAULT_BASE_URL: &str = "https://api.anthropic.com";

/// The version of the protocol unless told otherwise. It allows `temperature`, `top_p` and `top_k`,
/// which `2026-10-21` refuses, and gateways know it.
pub const DEFAULT_VERSION: &str = "2023-06-01";

/// Where requests go, with which credential, and in which version of the protocol.
///
/// ```
/// use miniagents::llm::anthropic::Endpoint;
///
/// let env = |name: &str| (name == "ANTHROPIC_API_KEY").then(|| " sk-123\n".to_owned());
/// let request = Endpoint::new().resolve_with(env)?.request(b"{}".to_vec());
/// assert_eq!(request.url, "https://api.anthropic.com/v1/messages");
/// let header = |name| request.headers.iter().find(|it| it.name == name).map(|it| &*it.value);
/// assert_eq!(header("x-api-key"), Some("sk-123"));
/// assert_eq!(header("anthropic-version"), Some("2023-06-01"));
///
/// let gateway = Endpoint::new().with_base_url("http://localhost:4000/").with_auth_token("token");
/// let request = gateway.resolve_with(|_| None)?.request(b"{}".to_vec());
/// assert_eq!(request.url, "http://localhost:4000/v1/messages");
/// assert!(request.headers.iter().any(|it| it.value == "Bearer token"));
/// # Ok::<(), miniagents::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    base_url: Option<String>,
    api_key: Option<String>,
    auth_token: Option<String>,
    credential_style: Option<CredentialStyle>,
    version: Option<String>,
    betas: Vec<String>,
    /// Further headers; their values are treated as secrets.
    headers: Headers,
}

/// In which header the credential is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialStyle {
    /// `x-api-key: …`, as the documentation has it; the default for a key.
    ApiKey,
    /// `Authorization: Bearer …`, as newer SDKs of the vendor do; the default for a token.
    Bearer,
}

impl Endpoint {
    /// The vendor's server, with whatever the environment says.
    pub fn new() -> Self {
        Endpoint::default()
    }

    /// The same endpoint at another server. The path is that before `/v1/messages`; prefix and query are
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

    /// The same endpoint with this token, which is used when there is no key.
    #[must_use]
    pub fn with_auth_token(mut self, token: impl Into<String>) -> Self {
        self.auth_token = Some(token.into());
        self
    }

    /// The same endpoint with its credential, key or token, in that header. Some gateways look at one of
    /// the two only.
    #[must_use]
    pub fn with_credential_style(mut self, style: CredentialStyle) -> Self {
        self.credential_style = Some(style);
        self
    }

    /// The same endpoint in that version of the protocol, such as `2026-10-21`.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// The same endpoint with a feature that is not in every version, such as
    /// `fine-grained-tool-streaming-2025-05-14`.
    #[must_use]
    pub fn with_beta(mut self, beta: impl Into<String>) -> Self {
        self.betas.push(beta.into());
        self
    }

    /// The same endpoint with a further header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Fills from the environment what was not said. A credential that was said, also in a header, keeps
    /// those of the environment out.
    ///
    /// # Errors
    ///
    /// There is no credential, and the server is Anthropic's own, which needs one.
    pub fn resolve(self) -> Result<Self> {
        self.resolve_with(|name| std::env::var(name).ok())
    }

    /// [`resolve`](Self::resolve) with another environment.
    ///
    /// # Errors
    ///
    /// There is no credential, and the server is Anthropic's own, which needs one.
    pub fn resolve_with(mut self, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        self.api_key = said_or(self.api_key, None);
        self.auth_token = said_or(self.auth_token, None);
        if self.api_key.is_none() && self.auth_token.is_none() && !self.has_own_credential() {
            self.api_key = said_or(None, env("ANTHROPIC_API_KEY"));
            if self.api_key.is_none() {
                self.auth_token = said_or(None, env("ANTHROPIC_AUTH_TOKEN"));
            }
        }
        self.base_url = said_or(self.base_url, env("ANTHROPIC_BASE_URL"));
        self.version = said_or(self.version, None);
        add_lines(&mut self.headers, env("ANTHROPIC_CUSTOM_HEADERS"));
        let own_server = self.base_url().trim_end_matches('/') == DEFAULT_BASE_URL;
        let without = self.api_key.is_none() && self.auth_token.is_none();
        if own_server && without && !self.has_own_credential() {
            return Err(Error::own(
                What::Value,
                "there is no key for Anthropic: set the variable ANTHROPIC_API_KEY, \
                 or pass `api_key`, or pass the `base_url` of a server that needs none",
            ));
        }
        Ok(self)
    }

    fn has_own_credential(&self) -> bool {
        has_header(&self.headers, "authorization") || has_header(&self.headers, "x-api-key")
    }

    fn base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or(DEFAULT_BASE_URL)
    }

    /// Where it is, without what may be secret: scheme, host and path.
    pub fn place(&self) -> String {
        place(self.base_url())
    }

    /// The address of `path` at this server. The base keeps its path and its query.
    pub fn url(&self, path: &str) -> String {
        joined(self.base_url(), path)
    }

    /// The request that carries `body`, made by [`MessagesRequest::body`](super::MessagesRequest::body).
    pub fn request(&self, body: Vec<u8>) -> HttpRequest {
        let mut request = HttpRequest::post(self.url("/v1/messages"), body)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json");
        if !has_header(&self.headers, "anthropic-version") {
            let version = self.version.as_deref().unwrap_or(DEFAULT_VERSION);
            request = request.header("anthropic-version", version);
        }
        if !self.betas.is_empty() {
            request = request.header("anthropic-beta", self.betas.join(","));
        }
        let credential = match (&self.api_key, &self.auth_token) {
            _ if self.has_own_credential() => None,
            (Some(key), _) => Some((key, CredentialStyle::ApiKey)),
            (None, Some(token)) => Some((token, CredentialStyle::Bearer)),
            (None, None) => None,
        };
        if let Some((secret, style)) = credential {
            request = match self.credential_style.unwrap_or(style) {
                CredentialStyle::ApiKey => request.credential("x-api-key", secret),
                CredentialStyle::Bearer => {
                    request.credential("Authorization", format!("Bearer {secret}"))
                }
            };
        }
        for (name, value) in &self.headers {
            request = request.credential(name, value);
        }
        request
    }
}

/// Neither credentials nor the values of further headers are shown.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Endpoint")
            .field("place", &self.place())
            .field("has_api_key", &self.api_key.is_some())
            .field("has_auth_token", &self.auth_token.is_some())
            .field("credential_style", &self.credential_style)
            .field("version", &self.version)
            .field("betas", &self.betas)
            .field("headers", &headers)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: (&str, &str) = ("ANTHROPIC_API_KEY", " env-key ");
    const TOKEN: (&str, &str) = ("ANTHROPIC_AUTH_TOKEN", "env-token");

    /// The headers that `endpoint` sends beside those of every request.
    fn headers(endpoint: Endpoint, env: &[(&str, &str)]) -> Vec<String> {
        let said = |name: &str| {
            let found = env.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let request = endpoint.resolve_with(said).unwrap().request(Vec::new());
        let headers = request.headers.into_iter().skip(2);
        let lines = headers.map(|header| format!("{}: {}", header.name, header.value));
        lines.collect()
    }

    #[test]
    fn what_was_said_beats_the_environment_and_the_key_beats_the_token() {
        let version = "anthropic-version: 2023-06-01";
        for (endpoint, env, credential) in [
            (Endpoint::new(), &[KEY, TOKEN][..], "x-api-key: env-key"),
            (
                Endpoint::new(),
                &[("ANTHROPIC_API_KEY", " "), TOKEN],
                "Authorization: Bearer env-token",
            ),
            (
                Endpoint::new().with_api_key("key"),
                &[KEY, TOKEN],
                "x-api-key: key",
            ),
            (
                Endpoint::new().with_auth_token("t"),
                &[KEY, TOKEN],
                "Authorization: Bearer t",
            ),
            (
                Endpoint::new().with_api_key("key").with_auth_token("t"),
                &[],
                "x-api-key: key",
            ),
            (
                Endpoint::new().with_header("X-API-Key", "own"),
                &[KEY, TOKEN],
                "X-API-Key: own",
            ),
            (
                Endpoint::new().with_credential_style(CredentialStyle::Bearer),
                &[KEY],
                "Authorization: Bearer env-key",
            ),
            (
                Endpoint::new()
                    .with_auth_token("t")
                    .with_credential_style(CredentialStyle::ApiKey),
                &[],
                "x-api-key: t",
            ),
        ] {
            assert_eq!(headers(endpoint, env), [version, credential]);
        }
    }

    #[test]
    fn version_betas_and_headers_are_settings() {
        let endpoint = Endpoint::new()
            .with_base_url("http://localhost")
            .with_version("2026-10-21")
            .with_beta("a")
            .with_beta("b")
            .with_header("x-mine", "1");
        let env = [(
            "ANTHROPIC_CUSTOM_HEADERS",
            "X-Mine: 2\nx-other: 3\nnonsense",
        )];
        assert_eq!(
            headers(endpoint, &env),
            [
                "anthropic-version: 2026-10-21",
                "anthropic-beta: a,b",
                "x-mine: 1",
                "x-other: 3"
            ]
        );
        let own = Endpoint::new().with_base_url("http://localhost");
        let own = own.with_header("anthropic-version", "bedrock-2023-05-31");
        assert_eq!(headers(own, &[]), ["anthropic-version: bedrock-2023-05-31"]);
    }

    #[test]
    fn only_the_vendors_own_server_needs_a_key() {
        let error = Endpoint::new().resolve_with(|_| None).unwrap_err();
        assert!(error.is_value());
        assert!(error.to_string().contains("ANTHROPIC_API_KEY"), "{error}");
        let gateway =
            |name: &str| (name == "ANTHROPIC_BASE_URL").then(|| "http://h/x?y=1".to_owned());
        let endpoint = Endpoint::new().resolve_with(gateway).unwrap();
        assert_eq!(endpoint.url("/v1/messages"), "http://h/x/v1/messages?y=1");
    }

    #[test]
    fn secrets_do_not_show() {
        let endpoint = Endpoint::new()
            .with_base_url("http://me:s3cret@h/?k=s3cret")
            .with_api_key("s3cret")
            .with_auth_token("s3cret")
            .with_header("x", "s3cret");
        let shown = format!("{endpoint:?} {:?}", endpoint.request(Vec::new()));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
