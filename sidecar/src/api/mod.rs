//! The local API: programs of this host ask for the secrets of the deliveries, in whatever language they are written.
//!
//! `GET /v1/secrets/NAME` gives the newest good value, `GET /v1/watch` tells of changes, and [`aws`] has the request forms of AWS Secrets Manager. No source is
//! asked for any of it, unless a request says so. Who may ask is decided by [`admit()`] alone.

pub mod admit;
mod answer;
pub mod aws;
pub mod catalogue;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::request::Parts;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use keywheel_core::config::ApiConfig;
use keywheel_core::engine::{Given, Offered};
use keywheel_core::identity::TokenSource;
use keywheel_core::incident::Limit;
use keywheel_core::{Clock, Error, Result, SecretValue, audit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch as latest};
use tracing::{debug, warn};

use self::admit::{Door, Refusal, Token, Wish, admit};
use self::aws::{Asked, Form};
use self::catalogue::Catalogue;
use self::watch::Watching;
use crate::peer::Peer;

/// What is given, and to whom. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    users: Arc<[u32]>,
    token: Option<Arc<TokenSource>>,
    secrets: Arc<[Offered]>,
    catalogue: Arc<Catalogue>,
}

/// Answers over connections that somebody else accepts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    offers: latest::Receiver<Offer>,
    watchers: Arc<Semaphore>,
    strangers: Semaphore,
    /// Of the lines about those who may not ask.
    refusals: Limit,
    clock: Clock,
}

impl Offer {
    /// Offers `secrets` to whom the configuration says. The token is read once, to find out now that it cannot be.
    ///
    /// # Errors
    /// It cannot be read, or is short enough to be guessed.
    pub async fn try_new(config: &ApiConfig, secrets: Vec<Offered>) -> Result<Self> {
        let token = config.token_file.clone().map(|file| Arc::new(TokenSource::File(file)));
        if let Some(token) = &token {
            long_enough(token).await?;
        }
        let own = rustix::process::geteuid().as_raw();
        let catalogue = secrets.iter().fold(Catalogue::default(), |catalogue, offered| {
            catalogue.with(offered.delivery(), offered.name(), offered.reference())
        });
        Ok(Self {
            users: config.users.iter().copied().chain([own]).collect(),
            token,
            secrets: secrets.into(),
            catalogue: Arc::new(catalogue),
        })
    }

    /// Has the last values of another offer serve until there are newer ones.
    #[must_use]
    pub fn following(self, previous: &Self) -> Self {
        let followed = self.secrets.iter().map(|offered| offered.clone().following(&previous.secrets));
        Self { secrets: followed.collect(), ..self }
    }

    fn at(&self, place: usize) -> Result<&Offered, Refusal> {
        self.secrets.get(place).ok_or_else(|| Refusal::Unknown("there is no such secret".into()))
    }
}

/// Reads the token.
///
/// # Errors
/// It cannot be read, or is too short.
async fn long_enough(token: &TokenSource) -> Result<SecretValue> {
    let value = token.token().await?;
    if value.len() < SHORTEST_TOKEN {
        let reason =
            format!("the token of `api` can be guessed: it needs {SHORTEST_TOKEN} characters at least");
        return Err(Error::config("start", reason).with_help("make one with `openssl rand -hex 32`"));
    }
    Ok(value)
}

impl Api {
    /// Answers for the newest of `offers`.
    pub fn new(offers: latest::Receiver<Offer>, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            offers,
            watchers: Arc::new(Semaphore::new(MOST_WATCHERS)),
            strangers: Semaphore::new(MOST_STRANGERS),
            refusals: Limit::new(REFUSALS_PER_MINUTE, Duration::from_secs(60)),
            clock,
        }))
    }

    /// Answers the one request of a connection; what its buffers held is freed with it. Who is slow is not waited for.
    pub async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let users = Arc::clone(&self.0.offers.borrow().users);
        // Whoever may not ask takes no place away from those who may.
        let (_place, within) = match peer {
            Peer::Process { uid, .. } if !users.contains(&uid) => match self.0.strangers.try_acquire() {
                Ok(place) => (Some(place), STRANGER),
                Err(_) => return,
            },
            _ => (None, WITHIN),
        };
        let watches = AtomicBool::new(false);
        let answer = service_fn(async |request: Request<hyper::body::Incoming>| {
            Ok::<_, Infallible>(self.answer(request.map(Body::new), peer, &watches).await)
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD.min(within))
            .keep_alive(false)
            .max_buf_size(LARGEST_HEAD)
            .serve_connection(TokioIo::new(stream), answer);
        let late = async {
            self.0.clock.sleep_until(self.0.clock.instant() + within).await;
            if watches.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            ended = serving => if let Err(error) = ended {
                debug!(%error, "a connection to the local API ended");
            },
            () = late => debug!(%peer, "a connection to the local API took too long"),
        }
    }

    async fn answer(&self, request: Request<Body>, peer: Peer, watches: &AtomicBool) -> Response {
        let (head, body) = request.into_parts();
        let form = Form::of_path(head.uri.path());
        match self.grant(&head, body, peer, watches).await {
            Ok(response) => response,
            Err(refusal) => {
                if refusal.is_of_sender() {
                    self.note(&refusal, peer);
                }
                form.filter(|_| !matches!(refusal, Refusal::Method(_)))
                    .map_or_else(|| answer::refuse(&refusal), |form| form.refuse(&refusal))
            }
        }
    }

    async fn grant(
        &self,
        head: &Parts,
        body: Body,
        peer: Peer,
        watches: &AtomicBool,
    ) -> Result<Response, Refusal> {
        let offer = self.0.offers.borrow().clone();
        let token = match &offer.token {
            Some(source) => Some(long_enough(source).await),
            None => None,
        };
        let required = match &token {
            None => Token::None,
            Some(Ok(token)) => Token::Is(token),
            Some(Err(error)) => {
                if self.may_say("unread") {
                    warn!(%error, "the local API answers nobody: its token cannot be read");
                }
                Token::Unreadable
            }
        };
        let door = Door { users: &offer.users, token: required };
        match admit(head, peer, door, &offer.catalogue)? {
            Wish::Secret { place, field } => {
                let offered = offer.at(place)?;
                let (given, name) = (newest(offered)?, full_name(offered));
                let body = answer::secret(offered, &given, field.as_ref(), &name)?;
                audit::given(offered.reference(), &name, given.version(), &peer.to_string());
                Ok(answer::respond(StatusCode::OK, answer::JSON, body))
            }
            Wish::Watch { values } => {
                let place = Arc::clone(&self.0.watchers).try_acquire_owned().map_err(|_| Refusal::Full)?;
                watches.store(true, Ordering::Relaxed);
                let (offers, clock) = (self.0.offers.clone(), self.0.clock.clone());
                Ok(Watching::new(offers, values, peer.to_string(), clock, place).respond())
            }
            Wish::Agent { place, asked } => give(offer.at(place)?, &asked, Form::Agent, peer).await,
            Wish::Call => {
                let body = to_bytes(body, LARGEST_BODY).await;
                let body =
                    body.map_err(|_| Refusal::Malformed("the body is too large, or did not come whole"))?;
                let asked = Asked::of_call(&body)?;
                let place = offer.catalogue.find_id(&asked.id, asked.wanted())?;
                give(offer.at(place)?, &asked, Form::Service, peer).await
            }
        }
    }

    fn note(&self, refusal: &Refusal, peer: Peer) {
        if self.may_say("refused") {
            warn!(%peer, reason = %refusal, "a request to the local API is refused");
        }
    }

    fn may_say(&self, what: &str) -> bool {
        self.0.refusals.take(what, self.0.clock.instant()).is_ok()
    }
}

/// Gives a secret as Secrets Manager does.
async fn give(offered: &Offered, asked: &Asked, form: Form, peer: Peer) -> Result<Response, Refusal> {
    if asked.refresh {
        offered.refresh(REFRESH).await;
    }
    let (given, name) = (newest(offered)?, full_name(offered));
    let body = aws::secret(offered, &given, asked, form, &name)?;
    audit::given(offered.reference(), &name, given.version(), &peer.to_string());
    Ok(answer::respond(StatusCode::OK, form.content_type(), body))
}

fn newest(offered: &Offered) -> Result<Given, Refusal> {
    offered.newest().map_err(|withheld| Refusal::Unavailable(format!("{} {withheld}", full_name(offered))))
}

fn full_name(offered: &Offered) -> String {
    format!("{}/{}", offered.delivery(), offered.name())
}

const SHORTEST_TOKEN: usize = 20;
const MOST_WATCHERS: usize = 100;
/// How many may be told at a time that they may not ask, and for how long each.
const MOST_STRANGERS: usize = 8;
const STRANGER: Duration = Duration::from_secs(2);
const REFUSALS_PER_MINUTE: usize = 10;
/// How long a request and its answer may take, and how long of it the request's head.
const WITHIN: Duration = Duration::from_secs(30);
const HEAD: Duration = Duration::from_secs(5);
/// How long a source may take that a request has asked.
const REFRESH: Duration = Duration::from_secs(10);
const LARGEST_HEAD: usize = 16 << 10;
const LARGEST_BODY: usize = 8 << 10;
