//! Sessions of the revisions before 2026-07-28: bounded, and each open to nobody but who began it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::ServerSseMessage;
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError, SessionConfig,
};
use rmcp::transport::streamable_http_server::{SessionId, SessionManager};

/// How long a session is kept that nobody uses. Clients seldom end theirs, and many cannot do
/// without one that the server has ended.
const IDLE: Duration = Duration::from_secs(3600);

/// The sessions one principal may have. Beyond, the one that was not used for the longest time
/// ends.
const PER_PRINCIPAL: usize = 64;

/// For whom a session is.
type Principal = Option<String>;

/// All sessions of a server.
pub(super) struct Sessions {
    local: LocalSessionManager,
    held: Mutex<HashMap<SessionId, Held>>,
    most: usize,
}

struct Held {
    principal: Principal,
    used: Instant,
}

impl Sessions {
    pub(super) fn new(most: usize) -> Sessions {
        let mut local = LocalSessionManager::default();
        local.session_config = SessionConfig::default();
        local.session_config.keep_alive = Some(IDLE);
        Sessions { local, held: Mutex::default(), most }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<SessionId, Held>> {
        // What is done under the lock leaves the map whole, wherever it breaks off.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sessions as one principal meets them over one connection.
pub(super) struct Own {
    all: Arc<Sessions>,
    principal: Principal,
    full: AtomicBool,
}

impl Own {
    pub(super) fn new(all: Arc<Sessions>, principal: Principal) -> Own {
        Own { all, principal, full: AtomicBool::new(false) }
    }

    /// Whether a session was refused because there are too many, since this was asked last.
    pub(super) fn was_full(&self) -> bool {
        self.full.load(Ordering::Relaxed) && self.full.swap(false, Ordering::Relaxed)
    }

    /// The session that has to go for another one; nothing, where there is room.
    ///
    /// # Errors
    /// There is no room, and nothing of this principal's that could go.
    fn in_the_way(&self) -> Result<Option<SessionId>, Full> {
        let held = self.all.held();
        let own = || held.iter().filter(|(_, session)| session.principal == self.principal);
        if held.len() < self.all.most && own().count() < PER_PRINCIPAL {
            return Ok(None);
        }
        let oldest = own().min_by_key(|(_, session)| session.used).map(|(id, _)| id.clone());
        oldest.map(Some).ok_or(Full)
    }

    fn is_own(&self, id: &SessionId) -> bool {
        match self.all.held().get_mut(id) {
            Some(session) if session.principal == self.principal => {
                session.used = Instant::now();
                true
            }
            _ => false,
        }
    }
}

struct Full;

/// Why a session cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionsError {
    #[error("this server has as many sessions as it may")]
    Full,
    #[error(transparent)]
    Local(#[from] LocalSessionManagerError),
}

impl SessionManager for Own {
    type Error = SessionsError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), SessionsError> {
        match self.in_the_way() {
            Ok(None) => {}
            Ok(Some(oldest)) => self.close_session(&oldest).await?,
            Err(Full) => {
                self.full.store(true, Ordering::Relaxed);
                return Err(SessionsError::Full);
            }
        }
        let (id, transport) = self.all.local.create_session().await?;
        let held = Held { principal: self.principal.clone(), used: Instant::now() };
        self.all.held().insert(id.clone(), held);
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, SessionsError> {
        Ok(self.all.local.initialize_session(id, message).await?)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, SessionsError> {
        Ok(self.is_own(id) && self.all.local.has_session(id).await?)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), SessionsError> {
        if self.is_own(id) {
            self.all.held().remove(id);
            self.all.local.close_session(id).await?;
        }
        Ok(())
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        Ok(self.all.local.create_stream(id, message).await?)
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), SessionsError> {
        Ok(self.all.local.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        Ok(self.all.local.create_standalone_stream(id).await?)
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        Ok(self.all.local.resume(id, last_event_id).await?)
    }
}
