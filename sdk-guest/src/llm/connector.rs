//! Being a model.

use super::{Event, Model, Request, Response};
use crate::{Error, Result};

/// A connector to models. Exported with `export!(llm: MyConnector)`.
///
/// ```
/// use ampoule_sdk::Result;
/// use ampoule_sdk::llm::{Connector, Event, EventStream, Message, Model, Request, Response};
///
/// struct Parrot;
///
/// impl Connector for Parrot {
///     async fn models() -> Result<Vec<Model>> {
///         Ok(vec![Model { name: "parrot".into(), ..Model::default() }])
///     }
///
///     async fn stream(request: Request) -> Result<impl EventStream> {
///         let message = request.messages.into_iter().next_back().unwrap_or_default();
///         Ok(Once(Some(Response { message, finish: "stop".into(), ..Response::default() })))
///     }
/// }
///
/// struct Once(Option<Response>);
///
/// impl EventStream for Once {
///     async fn next(&mut self) -> Result<Option<Event>> {
///         Ok(self.0.take().map(Event::response))
///     }
/// }
/// ```
pub trait Connector: 'static {
    /// The models of this binding.
    ///
    /// # Errors
    /// The provider's, in the contract's codes.
    fn models() -> impl Future<Output = Result<Vec<Model>>>;

    /// Asks and gives the response as it comes.
    ///
    /// # Errors
    /// The provider's, in the contract's codes; `unsupported` for a part it cannot send,
    /// `bad-arguments` for an option it does not know.
    fn stream(request: Request) -> impl Future<Output = Result<impl EventStream>>;

    /// Asks and waits for the whole response. By default: the last event of
    /// [`Connector::stream`].
    ///
    /// # Errors
    /// As [`Connector::stream`]; `unavailable` where the stream ends without a response.
    fn complete(request: Request) -> impl Future<Output = Result<Response>> {
        async {
            let mut events = Self::stream(request).await?;
            while let Some(event) = events.next().await? {
                if let Some(response) = event.response {
                    return Ok(response);
                }
            }
            Err(Error::unavailable("the answer ended before it was complete").with_retry())
        }
    }
}

/// A response on its way. The last event of one that ends well carries the whole response.
pub trait EventStream: 'static {
    /// The next event, waiting for it; `None` after the last. It is not called again after an
    /// error or `None`.
    ///
    /// # Errors
    /// The provider's, in the contract's codes.
    fn next(&mut self) -> impl Future<Output = Result<Option<Event>>>;
}
