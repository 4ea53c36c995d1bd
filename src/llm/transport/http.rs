//! The transport that talks to servers.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_lite::Stream;

use super::Transport;
use super::exchange::Exchange;
use super::flight::Flight;
use super::limit::{Limit, Ticket};
use super::lines::Lines;
use super::request::HttpRequest;
use super::response::{Response, ResponsePart};
use super::settings::HttpSettings;
use crate::error::Result;
use crate::executor::{BlockingStream, unblock_stream};
use crate::llm::real_requests;

/// How many parts of an answer wait to be taken before the thread reads on.
const PARTS_AHEAD: usize = 16;

/// HTTP by blocking calls on a thread. Clones share the connections that are kept, and the limit of
/// requests at once.
#[derive(Clone, Default)]
pub struct HttpTransport {
    settings: HttpSettings,
    lines: Lines,
    limit: Option<Limit>,
}

impl HttpTransport {
    /// A transport with the default settings.
    pub fn new() -> Self {
        HttpTransport::default()
    }

    /// A transport with these settings.
    pub fn with_settings(settings: HttpSettings) -> Self {
        HttpTransport {
            limit: settings.max_concurrent.map(|most| Limit::new(most.get())),
            settings,
            lines: Lines::default(),
        }
    }

    /// How it waits and how often it tries.
    pub fn settings(&self) -> &HttpSettings {
        &self.settings
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: HttpRequest) -> Response {
        if let Err(error) = real_requests::check(&request.place(), self.settings.real_requests) {
            return Response::new(futures_lite::stream::once(Err(error)));
        }
        let flight = Arc::new(Flight::default());
        let exchange = Exchange {
            settings: self.settings.clone(),
            lines: self.lines.clone(),
            request,
            flight: Arc::clone(&flight),
        };
        let work = match &self.limit {
            None => Work::Running(running(exchange, ())),
            Some(limit) => {
                let mut ticket = limit.ticket();
                match ticket.poll(&Context::from_waker(Waker::noop())) {
                    Poll::Ready(permit) => Work::Running(running(exchange, permit)),
                    Poll::Pending => Work::Waiting(ticket, Some(Box::new(exchange))),
                }
            }
        };
        Response::new(Parts { work, flight })
    }
}

/// Lets a thread do the exchange; `permit` is held until that is over.
fn running<P: Send + 'static>(
    exchange: Exchange,
    permit: P,
) -> BlockingStream<Result<ResponsePart>> {
    unblock_stream(PARTS_AHEAD, move |sender| {
        let _permit = permit;
        exchange.run(&sender);
    })
}

/// The reader's end of an exchange.
struct Parts {
    work: Work,
    flight: Arc<Flight>,
}

enum Work {
    /// It is not its turn yet. The exchange is empty when it has begun.
    Waiting(Ticket, Option<Box<Exchange>>),
    Running(BlockingStream<Result<ResponsePart>>),
}

impl Stream for Parts {
    type Item = Result<ResponsePart>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Work::Waiting(ticket, exchange) = &mut self.work {
            let permit = ready!(ticket.poll(cx));
            if let Some(exchange) = exchange.take() {
                self.work = Work::Running(running(*exchange, permit));
            }
        }
        match &mut self.work {
            Work::Waiting(..) => Poll::Ready(None),
            Work::Running(items) => Pin::new(items)
                .poll_next(cx)
                .map(|item| item.map(|item| item.and_then(|part| part))),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        Flight::abandon(&self.flight);
    }
}
