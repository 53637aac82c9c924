//! The endpoints of an agent or a supervisor, and the engine behind them, which another one may replace.

use std::sync::Arc;

use keywheel_core::config::Config;
use keywheel_core::engine::Engine;
use keywheel_sidecar::api::{Api, Offer};
use tokio::sync::{Notify, watch};

use crate::admin::{Served, answering, router};
use crate::commands::clock;
use crate::endpoint::{Endpoint, Place, Serving};
use crate::exit::Failure;

/// Both endpoints, as far as the configuration has them; ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Endpoints {
    served: watch::Sender<Served>,
    offers: watch::Sender<Offer>,
    quit: Arc<Notify>,
    admin: Option<Serving>,
    api: Option<Serving>,
}

/// What is to take the place of the present engine and endpoints; all that may fail has been done.
#[derive(Debug)]
pub(crate) struct Change {
    served: Served,
    offer: Offer,
    admin: Next,
    api: Next,
}

/// What becomes of an endpoint.
#[derive(Debug)]
enum Next {
    Stays,
    Goes,
    Comes(Endpoint),
}

impl Endpoints {
    /// Binds what the configuration asks for and serves it. `quit` is notified when somebody asks for an end.
    pub(crate) async fn open(config: &Config, engine: &Engine, quit: &Arc<Notify>) -> Result<Self, Failure> {
        let change = Change {
            served: Served::of(engine),
            offer: offer(config, engine).await?,
            admin: Next::of(None, admin_place(config)).await?,
            api: Next::of(None, api_place(config)).await?,
        };
        let (served, offers) =
            (watch::Sender::new(change.served.clone()), watch::Sender::new(change.offer.clone()));
        let mut endpoints = Self { served, offers, quit: Arc::clone(quit), admin: None, api: None };
        endpoints.take(change);
        Ok(endpoints)
    }

    /// Prepares for another configuration and its engine.
    pub(crate) async fn prepare(&self, config: &Config, engine: &Engine) -> Result<Change, Failure> {
        let offer = offer(config, engine).await?.following(&self.offers.borrow());
        Ok(Change {
            served: Served::of(engine),
            offer,
            admin: Next::of(self.admin.as_ref(), admin_place(config)).await?,
            api: Next::of(self.api.as_ref(), api_place(config)).await?,
        })
    }

    /// Goes on with what was prepared.
    pub(crate) fn take(&mut self, change: Change) {
        self.served.send_replace(change.served);
        self.offers.send_replace(change.offer);
        let (seen, offers, quit) = (self.served.subscribe(), self.offers.subscribe(), &self.quit);
        change.admin.take(&mut self.admin, |endpoint| endpoint.serve(answering(router(&seen, quit))));
        change.api.take(&mut self.api, |endpoint| {
            let api = Api::new(offers, clock());
            endpoint.serve(move |stream, peer| Box::pin(api.clone().serve(stream, peer)))
        });
    }
}

impl Next {
    async fn of(present: Option<&Serving>, place: Option<Place>) -> Result<Self, Failure> {
        Ok(match place {
            None => Self::Goes,
            Some(place) if present.is_some_and(|present| present.is_at(&place)) => Self::Stays,
            Some(place) => Self::Comes(Endpoint::bind(place).await?),
        })
    }

    fn take(self, present: &mut Option<Serving>, serve: impl FnOnce(Endpoint) -> Serving) {
        match self {
            Self::Stays => {}
            Self::Goes => *present = None,
            Self::Comes(endpoint) => *present = Some(serve(endpoint)),
        }
    }
}

/// Returns where the admin endpoint is to be.
pub(crate) fn admin_place(config: &Config) -> Option<Place> {
    let listen = config.admin.clone()?;
    Some(Place { name: "the admin endpoint", listen, is_open: false })
}

fn api_place(config: &Config) -> Option<Place> {
    let api = config.api.as_ref()?;
    Some(Place { name: "the local API", listen: api.listen.clone(), is_open: !api.users.is_empty() })
}

async fn offer(config: &Config, engine: &Engine) -> Result<Offer, Failure> {
    Ok(match &config.api {
        Some(api) => Offer::try_new(api, engine.offered()).await?,
        None => Offer::default(),
    })
}
