//! Messages as lines, in both directions, with bounds on what is read.

use std::io;
use std::sync::Arc;

use futures::SinkExt;
use rmcp::RoleServer;
use rmcp::model::{ClientJsonRpcMessage, ErrorData, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::JsonRpcMessageCodec;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tokio::sync::Mutex;
use tokio_util::codec::FramedWrite;
use tokio_util::sync::CancellationToken;

use crate::inspect::Inspect;
use crate::message::parse;

/// What is read at once of a line that is too long, and what the buffer keeps between lines.
const CHUNK: usize = 64 << 10;

type Output<W> = FramedWrite<W, JsonRpcMessageCodec<ServerJsonRpcMessage>>;

/// A client that writes a message a line and is answered a message a line.
pub(crate) struct Lines<R, W> {
    input: BufReader<R>,
    /// What has been read of the current line.
    line: Vec<u8>,
    max_bytes: usize,
    /// The rest of the current line is read past.
    skipping: bool,
    /// A request has come; what comes before one belongs to nothing.
    begun: bool,
    refusal: Option<Refusal>,
    output: Arc<Mutex<Option<Output<W>>>>,
    /// The input has ended or the output is broken.
    gone: CancellationToken,
    closed: CancellationToken,
    inspect: Option<Watching>,
}

/// Who watches, and for whom the client calls.
type Watching = (Arc<dyn Inspect>, Option<String>);

/// An answer of the transport's own; `receive` can be dropped between the two.
enum Refusal {
    Write(Box<ServerJsonRpcMessage>),
    Flush,
}

enum Line {
    Whole,
    TooLong,
    End,
}

impl<R, W> Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub(crate) fn new(
        input: R,
        output: W,
        max_bytes: usize,
        inspect: Option<Watching>,
    ) -> Lines<R, W> {
        Lines {
            input: BufReader::new(input),
            line: Vec::new(),
            max_bytes,
            skipping: false,
            begun: false,
            refusal: None,
            output: Arc::new(Mutex::new(Some(FramedWrite::new(output, Default::default())))),
            gone: CancellationToken::new(),
            closed: CancellationToken::new(),
            inspect,
        }
    }

    /// Is cancelled once the client has gone: its input has ended or its output is broken.
    pub(crate) fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    async fn next(&mut self) -> io::Result<Option<ClientJsonRpcMessage>> {
        loop {
            self.send_refusal().await?;
            let refused = match self.read_line().await? {
                Line::End => return Ok(None),
                Line::TooLong => Some(too_long(self.max_bytes)),
                Line::Whole => {
                    let parsed = parse(&self.line);
                    self.line.clear();
                    self.line.shrink_to(CHUNK);
                    match parsed {
                        Ok(message) if self.begun || is_request(&message) => {
                            self.begun = true;
                            self.show(&message);
                            return Ok(Some(message));
                        }
                        Ok(_) => None,
                        Err(refused) => refused,
                    }
                }
            };
            match refused {
                Some(refused) => {
                    tracing::warn!(?refused, "a message was refused");
                    self.refusal = Some(Refusal::Write(refused));
                }
                None => tracing::debug!("a message that wants no answer was passed over"),
            }
        }
    }

    fn show(&self, message: &ClientJsonRpcMessage) {
        if let Some((inspect, principal)) = &self.inspect
            && let Ok(message) = serde_json::to_value(message)
        {
            inspect.message(principal.as_deref(), &message);
        }
    }

    /// Reads on until the line in `self.line` is whole.
    ///
    /// It can be dropped and called again: `read_until` puts what it takes from the input into
    /// `self.line` before it waits for more.
    async fn read_line(&mut self) -> io::Result<Line> {
        loop {
            let room = if self.skipping {
                CHUNK
            } else {
                self.max_bytes.saturating_add(1) - self.line.len()
            };
            let mut input = (&mut self.input).take(room as u64);
            let n = input.read_until(b'\n', &mut self.line).await?;
            let whole = self.line.last() == Some(&b'\n');
            if self.skipping {
                self.line.clear();
                self.skipping = !whole;
            } else if whole {
                return Ok(Line::Whole);
            } else if self.line.len() > self.max_bytes {
                self.line = Vec::new();
                self.skipping = true;
                return Ok(Line::TooLong);
            }
            if n == 0 {
                // The last line may lack its end.
                return Ok(if self.line.is_empty() { Line::End } else { Line::Whole });
            }
        }
    }

    async fn send_refusal(&mut self) -> io::Result<()> {
        if self.refusal.is_none() {
            return Ok(());
        }
        let mut output = self.output.lock().await;
        let output = output.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        if let Some(Refusal::Write(message)) = &self.refusal {
            output.feed(ServerJsonRpcMessage::clone(message)).await?;
            self.refusal = Some(Refusal::Flush);
        }
        output.flush().await?;
        self.refusal = None;
        Ok(())
    }
}

impl<R, W> Transport<RoleServer> for Lines<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (output, gone) = (self.output.clone(), self.gone.clone());
        let closed = self.closed.clone();
        async move {
            let sending = async {
                let mut output = output.lock().await;
                let output = output.as_mut().ok_or(io::ErrorKind::NotConnected)?;
                Ok(output.send(message).await?)
            };
            let sent = tokio::select! {
                sent = sending => sent,
                () = closed.cancelled() => Err(io::ErrorKind::NotConnected.into()),
            };
            if sent.is_err() {
                gone.cancel();
            }
            sent
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let gone = self.gone.clone();
        let message = tokio::select! {
            message = self.next() => message,
            () = gone.cancelled() => Ok(None),
        };
        let message = message.unwrap_or_else(|error| {
            tracing::warn!("the client cannot be read: {error}");
            None
        });
        if message.is_none() {
            self.gone.cancel();
        }
        message
    }

    async fn close(&mut self) -> io::Result<()> {
        // Whoever holds the output while a client does not read lets it go now.
        self.closed.cancel();
        drop(self.output.lock().await.take());
        Ok(())
    }
}

fn is_request(message: &ClientJsonRpcMessage) -> bool {
    matches!(message, ClientJsonRpcMessage::Request(_))
}

fn too_long(max_bytes: usize) -> Box<ServerJsonRpcMessage> {
    let message = format!(
        "a message of more than {max_bytes} bytes was discarded unread; pass what is large by file"
    );
    Box::new(ServerJsonRpcMessage::error(ErrorData::invalid_request(message, None), None))
}
