//! `POST /incidents`: takes an alert of Falco's, as falcosidekick posts it, and has the rotations begin that the rules name.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use keywheel_core::Clock;
use keywheel_core::audit::{TARGET, by};
use keywheel_core::identity::TokenSource;
use keywheel_core::incident::{Alert, IncidentsConfig, Limit};
use keywheel_core::rotation::ServerHandle;
use serde_json::json;
use tracing::{info, warn};

use crate::exit::Failure;

/// Who may report, what is done about it, and how often.
#[derive(Debug)]
pub(super) struct Incidents {
    config: IncidentsConfig,
    token: TokenSource,
    reports: Limit,
    rotations: Limit,
    /// Of the lines about those who have no right to report: the counts have them all.
    refusals: Limit,
    counts: [AtomicU64; Outcome::ALL.len()],
    server: ServerHandle,
    clock: Clock,
}

/// What came of a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Rotations begin, or began because of the same.
    Accepted,
    /// No rule fits.
    Unmatched,
    /// There were too many.
    Limited,
    /// It had no token, or another one.
    Refused,
    /// It was no alert.
    Invalid,
}

impl Outcome {
    pub(super) const ALL: [Self; 5] =
        [Self::Accepted, Self::Unmatched, Self::Limited, Self::Refused, Self::Invalid];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unmatched => "unmatched",
            Self::Limited => "limited",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
        }
    }
}

impl Incidents {
    /// Reads the token once, to find out now what would be found out in an emergency.
    ///
    /// # Errors
    /// It cannot be read, or is short enough to be guessed.
    pub(super) async fn try_new(
        config: IncidentsConfig,
        server: &ServerHandle,
        clock: &Clock,
    ) -> Result<Self, Failure> {
        let token = TokenSource::File(config.token_file.clone());
        if token.token().await?.len() < SHORTEST_TOKEN {
            let file = config.token_file.display();
            return Err(Failure::usage(format!(
                "the token in {file} can be guessed: it needs {SHORTEST_TOKEN} characters at least, as `openssl rand -hex 32` makes them"
            )));
        }
        Ok(Self {
            reports: Limit::new(REPORTS_PER_MINUTE, Duration::from_secs(60)),
            rotations: Limit::new(config.per_hour as usize, Duration::from_secs(3600)),
            refusals: Limit::new(REFUSALS_PER_MINUTE, Duration::from_secs(60)),
            counts: Default::default(),
            config,
            token,
            server: server.clone(),
            clock: clock.clone(),
        })
    }

    /// Returns how often each outcome was.
    pub(super) fn outcomes(&self) -> [(Outcome, u64); Outcome::ALL.len()] {
        let mut outcomes = Outcome::ALL.map(|outcome| (outcome, 0));
        for ((_, count), counted) in outcomes.iter_mut().zip(&self.counts) {
            *count = counted.load(Ordering::Relaxed);
        }
        outcomes
    }

    /// Takes a report. Who has no right to one is not listened to: the body is read after the token.
    pub(super) async fn report(&self, request: Request) -> Response {
        let (outcome, response) = self.judge(request).await;
        if let Some(count) = self.counts.get(outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        response
    }

    async fn judge(&self, request: Request) -> (Outcome, Response) {
        if !self.is_known(request.headers()).await {
            if self.refusals.take("", self.clock.instant()).is_ok() {
                warn!(target: TARGET, event = "incident", by = by(), outcome = Outcome::Refused.as_str(), "incident");
            }
            let challenge = (header::WWW_AUTHENTICATE, "Bearer");
            return (
                Outcome::Refused,
                (StatusCode::UNAUTHORIZED, [challenge], "needs the token of `incidents`\n").into_response(),
            );
        }
        if let Err(wait) = self.reports.take("", self.clock.instant()) {
            return (Outcome::Limited, too_many(wait));
        }
        let body = to_bytes(request.into_body(), Alert::MAX_BYTES);
        let refused = match tokio::time::timeout(BODY, body).await {
            Ok(Ok(body)) => return self.take(&body),
            Ok(Err(_)) => (StatusCode::PAYLOAD_TOO_LARGE, "the alert is too large, or was not sent whole\n"),
            Err(_) => (StatusCode::REQUEST_TIMEOUT, "the alert did not come in time\n"),
        };
        (Outcome::Invalid, refused.into_response())
    }

    fn take(&self, body: &[u8]) -> (Outcome, Response) {
        match Alert::parse(body) {
            Ok(alert) => self.act(&alert),
            Err(error) => {
                warn!(target: TARGET, event = "incident", by = by(), outcome = Outcome::Invalid.as_str(), %error, "incident");
                (Outcome::Invalid, (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response())
            }
        }
    }

    /// Has the rotations begin that the rules name, each as often as it may.
    fn act(&self, alert: &Alert) -> (Outcome, Response) {
        let (mut begin, mut answered, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        let mut wait = Duration::ZERO;
        let reason = alert.reason();
        for name in self.config.rotations(alert) {
            if self.server.is_answered(name, alert.at) {
                answered.push(name);
                continue;
            }
            match self.rotations.take(name, self.clock.instant()) {
                Ok(()) => {
                    self.server.revoke(name, reason.clone());
                    begin.push(name);
                }
                Err(longer) => {
                    wait = wait.max(longer);
                    limited.push(name);
                }
            }
        }
        let outcome = match (begin.is_empty() && answered.is_empty(), limited.is_empty()) {
            (false, _) => Outcome::Accepted,
            (true, false) => Outcome::Limited,
            (true, true) => Outcome::Unmatched,
        };
        let (rotations, ignored) = (begin.join(","), limited.join(","));
        match limited.is_empty() {
            true => {
                info!(target: TARGET, event = "incident", by = by(), outcome = outcome.as_str(), reason, rotations, answered = answered.join(","), "incident")
            }
            false => {
                warn!(target: TARGET, event = "incident", by = by(), outcome = outcome.as_str(), reason, rotations, ignored, "incident")
            }
        }
        if outcome == Outcome::Limited {
            return (outcome, too_many(wait));
        }
        let code = if begin.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED };
        let body = json!({"rotations": begin, "answered": answered, "limited": limited});
        (outcome, (code, Json(body)).into_response())
    }

    async fn is_known(&self, headers: &HeaderMap) -> bool {
        let presented = headers.get(header::AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.as_bytes().split_at_checked(BEARER.len())?;
            scheme.eq_ignore_ascii_case(BEARER).then_some(token)
        });
        let Some(presented) = presented else { return false };
        match self.token.token().await {
            Ok(token) => token.len() >= SHORTEST_TOKEN && token.is_equal(presented),
            Err(error) => {
                if self.refusals.take("unread", self.clock.instant()).is_ok() {
                    warn!(%error, "no incident can be reported: the token cannot be read");
                }
                false
            }
        }
    }
}

fn too_many(wait: Duration) -> Response {
    let seconds = (wait.as_secs() + 1).to_string();
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds)], "too many incidents\n").into_response()
}

const BEARER: &[u8] = b"Bearer ";
const SHORTEST_TOKEN: usize = 20;
/// More than a storm of alerts needs to be understood, and few enough to be read.
const REPORTS_PER_MINUTE: usize = 120;
const REFUSALS_PER_MINUTE: usize = 10;
/// How long an alert may take to come.
const BODY: Duration = Duration::from_secs(10);
