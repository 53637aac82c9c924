//! How a rotation stands.

use jiff::Timestamp;

use super::{Acknowledged, Rotator};
use crate::error::Result;
use crate::rotation::course::{Course, Phase, Step};
use crate::rotation::record::Record;
use crate::rotation::store::Revision;
use crate::rotation::timing::Due;

/// How a rotation stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What it has been through.
    pub course: Course,
    /// When the value was last replaced, as far as that is known; none where there is no value.
    pub replaced_at: Option<Timestamp>,
    /// When a rotation is due; none where nothing but a request begins one.
    pub due_at: Option<Timestamp>,
    /// Who is at it.
    pub held_by: Option<String>,
    /// Who uses what was published, while that is waited for.
    pub acknowledged: Option<Acknowledged>,
}

/// What there was to be done.
#[derive(Clone, Debug)]
pub struct Progress {
    /// How it stands now.
    pub standing: Standing,
    /// When there is more to be done; none where nothing but a request begins something.
    pub next_at: Option<Timestamp>,
    /// What was published, if anything was.
    pub published: Option<Revision>,
    /// Whether somebody else is at it.
    pub is_busy: bool,
}

impl Rotator {
    pub(super) async fn replaced_at(&self, record: &Record) -> Result<Option<Timestamp>> {
        let last = record.course.last().map(|last| last.at);
        if last.is_some() && self.publishes() {
            return Ok(last);
        }
        let found = self.look_at_target().await?;
        // A source that keeps its value may have replaced it by itself meanwhile.
        let replaced_at = found.written_at.max(last).unwrap_or(record.seen_at);
        Ok(found.fields.is_some().then_some(replaced_at))
    }

    pub(super) async fn standing(&self, record: &Record) -> Result<Standing> {
        let now = self.clock.now();
        let replaced_at = self.replaced_at(record).await?;
        let due_at = match self.rotation.timing.next(&self.rotation.name, replaced_at, now) {
            Due::Now(_) => Some(now),
            Due::At(at, _) => Some(at),
            Due::Never => None,
        };
        let hold = record.hold.as_ref().filter(|hold| hold.keeps_away(&self.me, now));
        let held_by = hold.map(|hold| format!("process {} on {}", hold.by.pid, hold.by.host));
        let acknowledged = self.acknowledged(record).await;
        Ok(Standing { course: record.course.clone(), replaced_at, due_at, held_by, acknowledged })
    }

    pub(super) async fn busy(&self, record: &Record) -> Result<Option<Progress>> {
        let now = self.clock.now();
        match record.hold.as_ref().filter(|hold| hold.keeps_away(&self.me, now)) {
            Some(_) => self.progress(record, None, true).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn progress(
        &self,
        record: &Record,
        published: Option<Revision>,
        is_busy: bool,
    ) -> Result<Progress> {
        let (standing, now) = (self.standing(record).await?, self.clock.now());
        let next_at = match self.next(record, now, true, standing.acknowledged) {
            _ if is_busy => record.hold.as_ref().map(|hold| hold.until),
            Step::WaitUntil(at) if matches!(record.course.phase(), Phase::Idle) => {
                standing.due_at.map(|due| due.max(at))
            }
            Step::WaitUntil(at) => Some(at),
            _ if matches!(record.course.phase(), Phase::Idle) => standing.due_at,
            _ => Some(now),
        };
        Ok(Progress { standing, next_at, published, is_busy })
    }
}
