//! When the work behind a promise begins.

/// When the work behind a promise begins.
///
/// ```
/// use miniagents::Start;
///
/// assert_eq!(Start::from(true), Start::Soon);
/// assert_eq!(Start::from(false), Start::OnDemand);
/// assert_eq!(Start::default(), Start::AsContext);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Start {
    /// As the context says, which is soon unless it was told otherwise.
    #[default]
    AsContext,
    /// By itself, at the next task switch, whether or not anybody asks.
    Soon,
    /// When somebody waits for it or reads it.
    OnDemand,
}

impl From<bool> for Start {
    fn from(soon: bool) -> Self {
        if soon { Start::Soon } else { Start::OnDemand }
    }
}

impl From<Option<bool>> for Start {
    fn from(soon: Option<bool>) -> Self {
        soon.map_or(Start::AsContext, Start::from)
    }
}
