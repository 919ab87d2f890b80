//! `ampoule mcp`: the tools over the Model Context Protocol. Nothing is printed on stdout here: it
//! belongs to the protocol.

mod agents;
mod inspect;
mod library;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ampoule::config::{OAuthConfig, SecretSource};
use ampoule::egress::Errands;
use ampoule::{Config, ConfiguredSecrets, Host, Secrets};
use ampoule_server::{
    Access, BearerToken, Documents, HttpOptions, Inspect, OAuth, ServeError, ServeOptions,
    serve_http, serve_stdio,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::agents::Agents;
use self::library::Library;
use crate::args::{Global, McpArgs};
use crate::exit::{Exit, Failure};
use crate::render::Screen;
use crate::setup::Setup;

pub(super) async fn run(
    mut args: McpArgs,
    global: &Global,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let mut options = ServeOptions {
        workspace: super::workspace(args.workspace.take())?,
        principal: args.principal.take(),
        inspect: args.inspect.then(|| inspect::Shown::new(global) as Arc<dyn Inspect>),
        ..ServeOptions::default()
    };
    if !args.tools.is_empty() {
        options.tools = std::mem::take(&mut args.tools);
    }
    let agents = Agents::open(&args.agent)?;
    let mut setup = Setup::find(global)?.with_plugins()?;
    agents.prepare(&mut setup)?;
    crate::journal::keep_out_of(&setup, options.workspace.as_deref())?;
    // Before anything slow: who may not be served, or cannot, is told at once.
    let listening = match args.http {
        Some(address) => Some(listen(address, &args, &setup.config, &options).await?),
        None => None,
    };
    let host = setup.build(agents.add_to(setup.builder())).await?;
    super::refused(&host, screen)?;
    agents.work_in(&host)?;
    options.prompts = agents.prompts();
    let served = options.tools.iter().map(|pattern| pattern.parse().map_err(Failure::usage));
    options.resources = Some(Arc::new(Library {
        host: host.clone(),
        workspace: options.workspace.clone(),
        served: served.collect::<Result<_, _>>()?,
    }));
    tokio::spawn(shut_down(options.shutdown.clone()));
    tokio::spawn(reload(host.clone(), agents, global.clone()));
    match serve(host, listening, options, screen).await? {
        Ok(()) => Ok(Exit::Ok),
        Err(
            error @ (ServeError::Pattern(_)
            | ServeError::Host(_)
            | ServeError::Origin(_)
            | ServeError::Open(_)),
        ) => Err(Failure::usage(error.to_string())),
        Err(error) => Err(Failure::fault(error.to_string())),
    }
}

async fn serve(
    host: Host,
    listening: Option<(TcpListener, HttpOptions)>,
    options: ServeOptions,
    screen: &mut Screen,
) -> Result<Result<(), ServeError>, Failure> {
    let host = Arc::new(host);
    let Some((listener, http)) = listening else { return Ok(serve_stdio(host, options).await) };
    let address = listener.local_addr()?;
    screen.note(format_args!("MCP is served at http://{address}/mcp"))?;
    Ok(serve_http(host, listener, options, http).await)
}

/// Takes the address, and reads who may call there.
async fn listen(
    address: SocketAddr,
    args: &McpArgs,
    config: &Config,
    options: &ServeOptions,
) -> Result<(TcpListener, HttpOptions), Failure> {
    let tokens = tokens(args, config, options.principal.as_deref()).await?;
    let access = match &config.oauth {
        Some(oauth) => Access::OAuth(Box::new(authorization_server(oauth, config)?), tokens),
        None if tokens.is_empty() => Access::Open,
        None => Access::Tokens(tokens),
    };
    if matches!(access, Access::Open) && !address.ip().is_loopback() {
        return Err(Failure::usage(ServeError::Open(address).to_string()).hint(
            "A token comes from --token-env or --token-file, or from `token = { env = \"…\" }` \
             under [principals.NAME] in ampoule.toml; or from the authorization server that [oauth] \
             names there.",
        ));
    }
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::fault(format!("{address} cannot be served on: {error}")))?;
    let http = HttpOptions {
        allowed_hosts: args.allow_host.clone(),
        allowed_origins: args.allow_origin.clone(),
        access,
        ..HttpOptions::default()
    };
    Ok((listener, http))
}

/// The tokens of the command line and of the principals.
async fn tokens(
    args: &McpArgs,
    config: &Config,
    principal: Option<&str>,
) -> Result<Vec<BearerToken>, Failure> {
    let named = match (&args.token_env, &args.token_file) {
        (Some(variable), _) => Some(SecretSource::Env(variable.clone())),
        (None, Some(file)) => Some(SecretSource::File(file.clone())),
        (None, None) => None,
    };
    let of_principals = config
        .principals
        .iter()
        .filter_map(|(name, principal)| Some((Some(name.clone()), principal.token.clone()?)));
    let named = named.map(|source| (principal.map(str::to_owned), source));
    let mut tokens = Vec::new();
    for (principal, source) in named.into_iter().chain(of_principals) {
        let whose = match &source {
            SecretSource::Env(variable) => format!("the environment variable {variable}"),
            SecretSource::File(file) => format!("the file {}", file.display()),
        };
        let malformed = |why| Failure::configuration(format!("{whose}: {why}"));
        let value = ConfiguredSecrets::new(BTreeMap::from([(String::new(), source)])).get("").await;
        let value = value.map_err(Failure::configuration)?;
        let value = value.ok_or_else(|| malformed("there is no token in it".to_owned()))?;
        tokens.push(BearerToken::new(value.expose(), principal).map_err(malformed)?);
    }
    Ok(tokens)
}

/// Whose access tokens are taken, and for whom.
fn authorization_server(oauth: &OAuthConfig, config: &Config) -> Result<OAuth, Failure> {
    let principals = config.principals.iter();
    let subjects = principals.filter_map(|(name, p)| Some((p.subject.clone()?, name.clone())));
    Ok(OAuth {
        issuer: oauth.issuer.clone(),
        resource: oauth.resource.clone(),
        jwks: oauth.jwks.clone(),
        scopes: oauth.scopes.clone(),
        subjects: subjects.collect(),
        principal: oauth.principal.clone(),
        documents: Arc::new(OfIssuer(Errands::new().map_err(Failure::fault)?)),
    })
}

/// The documents of the authorization server.
struct OfIssuer(Errands);

#[async_trait::async_trait]
impl Documents for OfIssuer {
    async fn get(&self, url: &Url, most: usize) -> Result<Vec<u8>, String> {
        self.0.get(url, most).await
    }
}

/// Ends the server when the person or the system asks for it.
async fn shut_down(shutdown: CancellationToken) {
    asked().await;
    shutdown.cancel();
}

#[cfg(unix)]
async fn asked() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else {
        return drop(tokio::signal::ctrl_c().await);
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

#[cfg(not(unix))]
async fn asked() {
    let _ = tokio::signal::ctrl_c().await;
}

/// Reads the configuration and the plugins again whenever SIGHUP asks for it; clients are told when
/// there are other tools. What cannot be read changes nothing.
#[cfg(unix)]
async fn reload(host: Host, agents: Arc<Agents>, global: Global) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut asked) = signal(SignalKind::hangup()) else { return };
    while asked.recv().await.is_some() {
        let prepared = Setup::find(&global).and_then(Setup::with_plugins).and_then(|mut setup| {
            agents.prepare(&mut setup)?;
            Ok(setup)
        });
        let reloaded = match prepared {
            Ok(setup) => host.reload(setup.config).await.map_err(|error| error.to_string()),
            Err(failure) => Err(failure.message),
        };
        match reloaded {
            Ok(()) => tracing::info!("the configuration and the plugins were read again"),
            Err(why) => tracing::warn!("nothing was read again: {why}"),
        }
    }
}

#[cfg(not(unix))]
async fn reload(_: Host, _: Arc<Agents>, _: Global) {}
