//! Names to addresses, judged before anything is connected.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Policy;

/// How many names the system's resolver works on at once. A look-up cannot be cancelled, so
/// this bounds the threads that names which never answer can hold.
const MAX_LOOKUPS: usize = 32;

/// How many of them may be for one policy, so that names which never answer, and which a guest
/// can make up, keep nobody else from looking up theirs.
pub(super) const MAX_LOOKUPS_PER_POLICY: usize = 4;

/// Turns a name into addresses.
#[async_trait::async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`, a name in lower-case ASCII without a dot at its end.
    ///
    /// # Errors
    /// There is no such name, or nobody to ask.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver, its hosts file included.
#[derive(Debug)]
pub struct SystemResolver {
    permits: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        SystemResolver { permits: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }
}

#[async_trait::async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let permit = self.permits.clone().acquire_owned().await.map_err(io::Error::other)?;
        let host = host.to_owned();
        let lookup = tokio::task::spawn_blocking(move || {
            // Held by the thread, which goes on when the caller has given up.
            let _permit = permit;
            (host.as_str(), 0).to_socket_addrs().map(|found| found.map(|a| a.ip()).collect())
        });
        lookup.await?
    }
}

/// The resolver a client connects by: it answers only addresses that its policy permits.
///
/// reqwest asks it for every new connection to a name and connects to nothing but its answer,
/// so there is no second look-up between the judgement and the connection.
pub(super) struct Judged {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) policy: Policy,
    /// The look-ups that may be under way for the policy.
    pub(super) lookups: Arc<Semaphore>,
}

impl reqwest::dns::Resolve for Judged {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let Judged { resolver, policy, lookups } = self;
        let (resolver, policy, lookups) = (resolver.clone(), policy.clone(), lookups.clone());
        Box::pin(async move {
            let permit = lookups.acquire_owned().await?;
            let host = name.as_str().to_owned();
            // A task of its own, so that the permit is held until the look-up has ended, not
            // until its caller gives up.
            let lookup = tokio::spawn(async move {
                let _permit = permit;
                resolver.resolve(&host).await
            });
            let found = lookup.await??;
            if found.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            // One special answer refuses the name. To leave it out and use the others would
            // make the outcome hang on the order of answers, and a name that mixes public and
            // private addresses is either mistaken or meant to get past a check like this one.
            policy.check_addresses(name.as_str(), &found)?;
            // Port 0 stands for the port of the URL.
            let addresses = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as reqwest::dns::Addrs)
        })
    }
}
