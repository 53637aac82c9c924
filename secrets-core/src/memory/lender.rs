//! Secrets that every read makes anew, with a lease: what a database engine does, in this process.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Memory;
use crate::clock::{later, until};
use crate::error::{Error, ErrorKind, Result};
use crate::lease::{Lease, Parent, Term};
use crate::provider::Leases;
use crate::secret::{Secret, Upkeep, Version};

/// How long the leases of a path live.
#[derive(Clone, Copy, Debug)]
pub struct Lending {
    /// What a read and each renewal grant.
    pub ttl: Duration,
    /// How long all renewals together let a value live.
    pub max_ttl: Duration,
    /// Whether the leases can be renewed.
    pub renewable: bool,
}

/// What was lent, and what became of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Loans {
    /// How many values were made.
    pub minted: usize,
    /// How many renewals were granted.
    pub renewed: usize,
    /// How often a borrower asked how a lease stands.
    pub looked_up: usize,
    /// The leases that were given back, oldest first.
    pub revoked: Vec<String>,
    /// Each lease that was neither given back nor ended behind its borrower's back, with its end.
    pub live: BTreeMap<String, Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct Lender {
    lending: BTreeMap<String, Lending>,
    terms: BTreeMap<String, (Term, Lending)>,
    loans: Loans,
    login: watch::Sender<Parent>,
    logins: usize,
}

impl Lender {
    pub(super) fn lend(&mut self, path: &str, lending: Lending) {
        self.lending.insert(path.to_owned(), lending);
    }

    pub(super) fn lends(&self, path: &str) -> bool {
        self.lending.contains_key(path)
    }

    pub(super) fn loans(&self) -> Loans {
        let live = |(id, (term, _)): (&String, &(Term, Lending))| Some((id.clone(), term.ends_at()?));
        Loans { live: self.terms.iter().filter_map(live).collect(), ..self.loans.clone() }
    }

    pub(super) fn end(&mut self, id: &str) {
        self.terms.remove(id);
    }

    pub(super) fn supersede(&mut self) {
        self.login.send_modify(|parent| parent.superseded = true);
        self.login = watch::Sender::default();
        self.logins += 1;
    }

    pub(super) fn mint(&mut self, path: &str, now: Timestamp) -> Result<Secret> {
        let Some(lending) = self.lending.get(path).copied() else {
            return Err(Error::new(ErrorKind::NotFound, "read", "nothing is lent there"));
        };
        self.loans.minted += 1;
        let id = format!("{path}/{}", self.loans.minted);
        let term = Term::granted(now, lending.ttl.min(lending.max_ttl), lending.renewable);
        self.terms.insert(id.clone(), (term, lending));
        let fields = [("username", id.as_str()), ("password", "of no worth")];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let mut secret = Secret::try_new(fields, Version::new(self.loans.minted))?;
        secret.upkeep = Upkeep::Lease(Box::new(Lease { id, holder: self.logins.to_string(), term }));
        Ok(secret)
    }

    fn renew(&mut self, id: &str, now: Timestamp) -> Result<Term> {
        let (term, lending) = self.live(id, now)?;
        if !lending.renewable {
            return Err(Error::new(ErrorKind::Unsupported, "renew lease", "the lease is not renewable"));
        }
        let ttl = lending.ttl.min(until(now, later(term.began_at, lending.max_ttl)));
        let term = term.renewed(now, ttl, true);
        self.terms.insert(id.to_owned(), (term, lending));
        self.loans.renewed += 1;
        Ok(term)
    }

    fn look_up(&mut self, id: &str, now: Timestamp) -> Result<Term> {
        self.loans.looked_up += 1;
        self.live(id, now).map(|(term, _)| term)
    }

    fn live(&self, id: &str, now: Timestamp) -> Result<(Term, Lending)> {
        let live = |(term, _): &&(Term, Lending)| term.ends_at().is_none_or(|end| end > now);
        let found = self.terms.get(id).filter(live).copied();
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, "find lease", "there is no such lease"))
    }

    fn revoke(&mut self, id: &str) {
        if self.terms.remove(id).is_some() {
            self.loans.revoked.push(id.to_owned());
        }
    }
}

#[async_trait]
impl Leases for Memory {
    fn parent(&self, lease: &Lease) -> Option<watch::Receiver<Parent>> {
        let source = self.source();
        (lease.holder == source.lender.logins.to_string()).then(|| source.lender.login.subscribe())
    }

    async fn renew(&self, lease: &Lease) -> Result<Term> {
        let mut source = self.source();
        source.fault()?;
        source.lender.renew(&lease.id, self.clock.now())
    }

    async fn look_up(&self, lease: &Lease) -> Result<Term> {
        let mut source = self.source();
        source.fault()?;
        source.lender.look_up(&lease.id, self.clock.now())
    }

    async fn revoke(&self, lease: &Lease) -> Result<()> {
        let mut source = self.source();
        source.fault()?;
        source.lender.revoke(&lease.id);
        Ok(())
    }
}
