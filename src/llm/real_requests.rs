//! Whether requests to real servers may be made at all.

use crate::agent::MiniAgents;
use crate::error::{Error, Result, What};

/// The variable of the environment that forbids real requests.
///
/// A test that was meant to run without a network should fail when it does not, before it costs
/// anything or depends on anybody. Three places say whether an
/// [`HttpTransport`](super::transport::HttpTransport) may send, and the nearest that says anything
/// decides:
///
/// 1. the transport itself:
///    [`HttpSettings::with_real_requests`](super::transport::HttpSettings::with_real_requests);
/// 2. the context that is current where the request is made:
///    [`MiniAgents::with_real_requests`](crate::MiniAgents::with_real_requests);
/// 3. the environment: with this variable set to anything but nothing, `0`, `false`, `no` or
///    `off`, nobody may.
///
/// Where none says anything, requests may be made. What is forbidden is an error that
/// [says so](crate::Error::is_forbidden), and nothing is sent, whatever the address: a server on
/// this machine is a real one too. Scripted models, the embedded one and transports of your own are
/// not asked.
///
/// To forbid them in all tests of a project, two lines in its `.cargo/config.toml` do:
///
/// ```toml
/// [env]
/// MINIAGENTS_FORBID_REQUESTS = "1"
/// ```
pub const FORBID_REQUESTS: &str = "MINIAGENTS_FORBID_REQUESTS";

/// Whether a request to `place` may be made by a transport that itself says `own`.
///
/// # Errors
///
/// It may not; the error names the place, who forbids it, and what to do.
pub(crate) fn check(place: &str, own: Option<bool>) -> Result<()> {
    let context = || MiniAgents::try_current().ok()?.real_requests();
    let forbidden_by = match (own, own.is_none().then(context).flatten()) {
        (Some(true), _) | (None, Some(true)) => return Ok(()),
        (Some(false), _) => "the settings of this transport; allow them there",
        (None, Some(false)) => {
            "the context; allow them with `MiniAgents::with_real_requests(true)`"
        }
        (None, None) if is_set(std::env::var(FORBID_REQUESTS).ok().as_deref()) => {
            "the variable MINIAGENTS_FORBID_REQUESTS; unset it, or allow them with \
             `MiniAgents::with_real_requests(true)`"
        }
        (None, None) => return Ok(()),
    };
    let text = format_args!(
        "{place}: not sent, since real requests are forbidden by {forbidden_by}, or use a \
         `ScriptedModel` here"
    );
    Err(Error::own(What::Forbidden, text))
}

fn is_set(value: Option<&str>) -> bool {
    let value = value.unwrap_or_default().trim().to_ascii_lowercase();
    !matches!(&*value, "" | "0" | "false" | "no" | "off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_may_be_set_to_nothing() {
        for value in [
            None,
            Some(""),
            Some(" "),
            Some("0"),
            Some("False"),
            Some("no"),
            Some("off"),
        ] {
            assert!(!is_set(value), "{value:?}");
        }
        for value in [Some("1"), Some("true"), Some("yes"), Some("forbid")] {
            assert!(is_set(value), "{value:?}");
        }
    }

    #[test]
    fn the_nearest_decides() {
        let within = |miniagents: MiniAgents, own| {
            miniagents.run(async move { check("POST http://localhost/v1", own) })
        };
        let forbidding = || MiniAgents::new().with_real_requests(false);

        assert!(check("x", Some(true)).is_ok());
        assert!(within(MiniAgents::new().with_real_requests(true), None).is_ok());
        assert!(within(forbidding(), Some(true)).is_ok());
        let by_context = within(forbidding(), None).unwrap_err();
        let by_transport = within(MiniAgents::new(), Some(false)).unwrap_err();
        assert!(by_context.is_forbidden() && by_transport.is_forbidden());
        assert_eq!(
            by_context.to_string(),
            "POST http://localhost/v1: not sent, since real requests are forbidden by the context; allow \
             them with `MiniAgents::with_real_requests(true)`, or use a `ScriptedModel` here"
        );
        assert!(
            by_transport
                .to_string()
                .contains("the settings of this transport")
        );
    }
}
