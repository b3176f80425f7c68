//! The hold of a run on the places where its faults act.
//!
//! Two runs on one target would judge each other's faults. So a run takes a lease on each place before the gate and
//! gives it back after the recovery. With the lease comes the dead-man's switch: what a fault creates there belongs to
//! an object that ends by itself unless the run is heard of.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tracing::Instrument;

use super::life::{Failed, make, write_down};
use super::recorder::{Driven, Recorder};
use super::{Armed, ExperimentError, Place, Right, spans};
use crate::BoxError;
use crate::clock::Timestamp;
use crate::journal::EventKind;
use crate::rollback::{ObjectRef, Undo, UndoGuard};

/// The object that takes with it what a fault created, when nobody is left to undo it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// What it is. What it takes with it lies in the same place.
    pub object: ObjectRef,
    /// Its uid.
    pub uid: String,
}

/// How a cluster keeps a place for one run alone.
pub trait Hold: Send + Sync {
    /// Takes the place once it is free, and keeps it until that is undone.
    fn take(self: Arc<Self>, mark: &super::Mark) -> Armed;

    /// Undoes what a dead holder has left there; true if there was one. The place is not taken.
    fn clear(&self) -> BoxFuture<'_, Result<bool, BoxError>>;

    /// Starts the dead-man's switch; `None` where there can be none.
    fn arm_switch(self: Arc<Self>, mark: &super::Mark) -> Option<Armed>;

    /// The switch, if it is on.
    fn switch(&self) -> Option<Switch>;

    /// Leaves word in the cluster of what is about to be changed, for those who will not have this run's ledger.
    fn enter<'a>(&'a self, undo: &'a [Undo]) -> BoxFuture<'a, Result<(), BoxError>>;

    /// Until when a fault can live at most if the run is not heard of any more.
    fn lives_until(&self) -> Option<Timestamp>;

    /// Asks whether the run still holds the place; why not, if it has lost it.
    fn lost(&self) -> BoxFuture<'_, Option<String>>;
}

/// A place that is held. Its guards undo the switch first, then the lease.
struct Held {
    place: Place,
    hold: Arc<dyn Hold>,
    switch: Option<UndoGuard>,
    lease: UndoGuard,
}

/// The places that a run holds.
#[derive(Default)]
pub(super) struct Holds {
    held: Mutex<Vec<Held>>,
    /// One at a time: two faults of a run that begin side by side must not take a place twice.
    taking: tokio::sync::Mutex<()>,
}

impl Holds {
    fn with<T>(&self, look: impl FnOnce(&mut Vec<Held>) -> T) -> T {
        look(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn of(&self, place: &Place) -> Option<Arc<dyn Hold>> {
        self.with(|held| held.iter().find(|held| held.place == *place).map(|held| held.hold.clone()))
    }

    /// The places that are held.
    pub(super) fn places(&self) -> Vec<Place> {
        self.with(|held| held.iter().map(|held| held.place.clone()).collect())
    }

    /// The switches that are on.
    pub(super) fn switches(&self) -> Vec<Switch> {
        self.with(|held| held.iter().filter_map(|held| held.hold.switch()).collect())
    }

    /// Until when something in these places can live at most, if each of them has a switch.
    pub(super) fn lives_until(&self, places: &[Place]) -> Option<Timestamp> {
        let ends = places.iter().map(|place| self.of(place).and_then(|hold| hold.lives_until()));
        ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max())
    }

    /// Why one of these places is lost, if one is.
    pub(super) async fn lost(&self, places: &[Place]) -> Option<(Place, String)> {
        for place in places {
            if let Some(hold) = self.of(place)
                && let Some(why) = hold.lost().await
            {
                return Some((place.clone(), why));
            }
        }
        None
    }

    /// Leaves word of what is about to be changed in these places.
    pub(super) async fn enter(&self, places: &[Place], undo: &[Undo]) -> Result<(), BoxError> {
        for place in places {
            if let Some(hold) = self.of(place) {
                hold.enter(undo).await?;
            }
        }
        Ok(())
    }

    /// Gives all places back, the last first. What cannot be given back ends by itself, and is told.
    pub(super) async fn give_back(&self) {
        while let Some(mut held) = self.with(Vec::pop) {
            let span = spans::given_back(&held.place);
            let mut outcomes = Vec::new();
            if let Some(switch) = &mut held.switch {
                outcomes.extend(switch.rollback().instrument(span.clone()).await);
            }
            outcomes.extend(held.lease.rollback().instrument(span).await);
            tell(&held.place, &outcomes);
        }
    }

    /// As [`give_back`](Self::give_back), where nothing can be awaited.
    pub(super) fn give_back_now(&self) {
        while let Some(mut held) = self.with(Vec::pop) {
            let mut outcomes = held.switch.as_mut().map(UndoGuard::rollback_now).unwrap_or_default();
            outcomes.extend(held.lease.rollback_now());
            tell(&held.place, &outcomes);
        }
    }
}

fn tell(place: &Place, outcomes: &[crate::rollback::UndoOutcome]) {
    let left: Vec<_> = outcomes.iter().filter(|outcome| !outcome.is_clean()).map(ToString::to_string).collect();
    if !left.is_empty() {
        crate::journal::complain(&format!("{place} is still held, until that ends by itself; {}", left.join("; ")));
    }
}

impl Recorder {
    /// Undoes what dead runs have left in places that this run does not hold yet; true if there was something. What
    /// they left may be the very reason why a fault finds no targets there.
    pub(super) async fn clear(&self, places: &[Place]) -> Result<bool, ExperimentError> {
        let mut cleared = false;
        for place in places.iter().filter(|place| self.holds.of(place).is_none()) {
            let Some(hold) = self.environment.hold(place) else { continue };
            let what = format!("undo what a dead run has left in {place}");
            let done = hold.clear().await;
            cleared |= done.map_err(|source| ExperimentError::Failed { what, location: String::new(), source })?;
        }
        Ok(cleared)
    }

    /// Whether the user may do what a fault and its places need. An engine has asked that before it began.
    ///
    /// # Errors
    /// He may not, or the cluster does not say.
    pub(super) async fn may(&self, rights: &[Right], places: &[Place]) -> Result<(), ExperimentError> {
        if self.driven == Driven::Engine {
            return Ok(());
        }
        let of_places = places.iter().flat_map(|place| self.environment.hold_rights(place).0);
        let mut asked: Vec<_> = rights.iter().cloned().chain(of_places).collect();
        asked.sort();
        asked.dedup();
        let lacking = self.environment.lacking(&asked).await.map_err(|source| ExperimentError::Cluster {
            doing: "ask for the user's rights",
            cluster: self.environment.describe(),
            source,
        })?;
        match &*lacking {
            [] => Ok(()),
            lacking => Err(ExperimentError::LacksRights { lacking: lacking.iter().map(ToString::to_string).collect() }),
        }
    }

    /// Takes the places that this run does not hold yet, in their order, so that no two runs wait for each other.
    ///
    /// # Errors
    /// One cannot be had, or one that was had is another run's by now.
    pub(super) async fn hold(self: &Arc<Self>, places: &[Place]) -> Result<(), ExperimentError> {
        let _one = self.holds.taking.lock().await;
        if let Some((place, why)) = self.holds.lost(places).await {
            return Err(ExperimentError::PlaceLost { place, why });
        }
        let mut wanted: Vec<_> = places.iter().filter(|place| self.holds.of(place).is_none()).collect();
        wanted.sort();
        wanted.dedup();
        for place in wanted {
            let Some(hold) = self.environment.hold(place) else { continue };
            self.heed_signals();
            let what = format!("hold {place}");
            let failed = |source| ExperimentError::Failed { what: what.clone(), location: String::new(), source };
            let mark = self.hold_mark();
            let armed = hold.clone().take(&mark);
            let span = spans::held(&self.span, place);
            let lease = self.make_hold(place, &mark.owner, &what, armed, &failed).instrument(span.clone());
            let mut lease = lease.await?;
            let switch = match self.switch(place, &hold, &failed).instrument(span).await {
                Ok(switch) => switch,
                Err(error) => {
                    tell(place, &lease.rollback().await);
                    return Err(error);
                }
            };
            let detail = if switch.is_some() { "with a dead-man's switch" } else { "" };
            self.event(EventKind::Held, &place.to_string(), detail);
            self.holds.with(|held| held.push(Held { place: place.clone(), hold, switch, lease }));
        }
        Ok(())
    }

    /// Starts the switch of a place. Without the right to do so the plan says that this layer is off, and the lease is
    /// enough to go on.
    async fn switch(
        &self,
        place: &Place,
        hold: &Arc<dyn Hold>,
        failed: &Failed<'_>,
    ) -> Result<Option<UndoGuard>, ExperimentError> {
        let (mark, (_, rights)) = (self.hold_mark(), self.environment.hold_rights(place));
        let may = self.environment.lacking(&rights).await.map_err(failed)?.is_empty();
        let Some(armed) = hold.clone().arm_switch(&mark).filter(|_| may) else { return Ok(None) };
        let what = format!("dead-man's switch in {place}");
        self.make_hold(place, &mark.owner, &what, armed, failed).await.map(Some)
    }

    /// Makes a lease or a switch. What may have been made of one that could not be is undone, and what that leaves told.
    async fn make_hold(
        &self,
        place: &Place,
        owner: &str,
        what: &str,
        armed: Armed,
        failed: &Failed<'_>,
    ) -> Result<UndoGuard, ExperimentError> {
        let mut guard = write_down(self, owner, what, armed.undo)?;
        match make(&mut guard, armed.apply, failed).await {
            Ok(()) => Ok(guard),
            Err(error) => {
                tell(place, &guard.rollback().await);
                Err(error)
            }
        }
    }
}
