//! How a run holds a namespace or a node: a Lease that others see, and a Job that ends what nobody undoes.
//!
//! The Lease `steadfast` of a namespace (for a node `steadfast-node-NAME` in `default`) names the run, its machine and
//! its process. The Job starts no pod: when nobody extends its deadline any more it fails, is deleted for its
//! `ttlSecondsAfterFinished: 0`, and the garbage collector takes what belongs to it.

mod lease;
mod left;
mod switch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use self::lease::Lease;
use self::switch::DeadMan;
use super::Kubernetes;
use crate::BoxError;
use crate::clock::{Clock, Timestamp};
use crate::experiment::{Armed, Hold, Mark, Place, Right, Switch};
use crate::rollback::Undo;

pub(crate) use lease::namespace as namespace_of;
pub use lease::{Holder, LeaseError};
pub use left::{Fate, Leftover, On, fates, leftovers};

/// How far ahead the end of what nobody undoes lies, and how often a run is heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// How long a run may be silent: the switch's deadline and the lease's duration.
    pub ahead: Duration,
    /// How often it says that it lives.
    pub every: Duration,
    /// Whether there is a switch at all.
    pub switch: bool,
}

impl Default for Beat {
    fn default() -> Self {
        Self { ahead: Duration::from_secs(30), every: Duration::from_secs(10), switch: true }
    }
}

impl Beat {
    /// What `STEADFAST_SWITCH` says: a number of seconds ahead, `off` for no switch, by default 30.
    ///
    /// # Errors
    /// It is something else, or less than 3 s.
    pub fn from_env() -> Result<Self, BadBeat> {
        Self::said(crate::variables::text("STEADFAST_SWITCH"))
    }

    fn said(text: Option<String>) -> Result<Self, BadBeat> {
        let Some(text) = text else { return Ok(Self::default()) };
        if text == "off" {
            return Ok(Self { switch: false, ..Self::default() });
        }
        match text.parse::<u64>() {
            Ok(seconds) if (3..=3_600).contains(&seconds) => {
                let ahead = Duration::from_secs(seconds);
                Ok(Self { ahead, every: ahead / 3, switch: true })
            }
            _ => Err(BadBeat(text)),
        }
    }
}

/// `STEADFAST_SWITCH` says something unknown.
#[derive(Debug, thiserror::Error)]
#[error("STEADFAST_SWITCH={0:?} is unknown; set a number of seconds from 3 to 3600, or off")]
pub struct BadBeat(String);

/// Starts a task that says that a run lives, on a runtime that the run does not block.
pub type Spawn = Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

/// Makes the API's handle for that task, on its runtime.
pub type Aside = Arc<dyn Fn() -> Result<Kubernetes, BoxError> + Send + Sync>;

/// What a hold needs of its cluster.
#[derive(Clone)]
pub struct Holding {
    /// The API.
    pub kubernetes: Kubernetes,
    /// The run's clock.
    pub clock: Clock,
    /// How a run is heard of.
    pub beat: Beat,
    /// Where that happens.
    pub spawn: Spawn,
    /// With what.
    pub aside: Aside,
    /// The process of the run, as no other ever is.
    pub process: String,
    /// How a user sweeps this cluster: `steadfast sweep --context NAME`.
    pub sweep: String,
}

/// One place, held by one run.
pub struct PlaceHold {
    ground: Holding,
    place: Place,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lease: Option<Lease>,
    switch: Option<DeadMan>,
    beating: bool,
    lost: Option<String>,
    /// What is changed, as the lease says.
    changed: Vec<lease::Changed>,
}

impl PlaceHold {
    /// Not held yet.
    #[must_use]
    pub fn new(ground: Holding, place: Place) -> Arc<Self> {
        Arc::new(Self { ground, place, state: Mutex::default() })
    }

    /// The rights that holding this place needs, and seeing what a dead holder has left there.
    #[must_use]
    pub fn rights(place: &Place) -> Vec<Right> {
        let verbs = ["get", "create", "update", "patch", "delete"];
        let namespace = lease::namespace(place);
        let mut rights = verbs.map(|verb| Right::new(verb, "coordination.k8s.io", "leases", namespace)).to_vec();
        if let Place::Namespace(namespace) = place {
            let left = [("networking.k8s.io", "networkpolicies"), ("", "pods")];
            rights.extend(left.map(|(group, resource)| Right::new("list", group, resource, namespace)));
        }
        rights
    }

    /// The rights without which there is no dead-man's switch there; `None` where there can be none.
    #[must_use]
    pub fn switch_rights(place: &Place) -> Option<Vec<Right>> {
        let Place::Namespace(namespace) = place else { return None };
        Some(
            ["get", "list", "create", "patch", "delete"]
                .map(|verb| Right::new(verb, "batch", "jobs", namespace))
                .to_vec(),
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says again and again that the run lives, as long as somebody holds this.
    fn begin_to_beat(self: &Arc<Self>) {
        if std::mem::replace(&mut self.state().beating, true) {
            return;
        }
        let (weak, clock, beat, aside) =
            (Arc::downgrade(self), self.ground.clock.clone(), self.ground.beat, self.ground.aside.clone());
        (self.ground.spawn)(Box::pin(async move {
            let kubernetes = match aside() {
                // Both of what a beat asks fit into it.
                Ok(kubernetes) => kubernetes.hurried(beat.every / 2),
                Err(error) => {
                    if let Some(hold) = weak.upgrade() {
                        hold.state().lost = Some(format!("nobody says that this run lives: {error}"));
                    }
                    return;
                }
            };
            loop {
                clock.sleep(beat.every).await;
                let Some(hold) = weak.upgrade() else { return };
                if !hold.beat(&kubernetes).await {
                    return;
                }
            }
        }));
    }

    /// False when there is nothing left to keep alive.
    async fn beat(&self, kubernetes: &Kubernetes) -> bool {
        let (lease, switch) = {
            let state = self.state();
            (state.lease.clone(), state.switch.clone())
        };
        let mut lost = None;
        if let Some(lease) = lease {
            lost = lease.renew(kubernetes, self.ground.clock.now()).await.err();
        }
        if let Some(mut switch) = switch {
            match switch.extend(kubernetes, &self.ground).await {
                Ok(()) => self.state().switch = Some(switch),
                Err(gone) => lost = lost.or(Some(gone)),
            }
        }
        let goes_on = lost.is_none();
        if lost.is_some() {
            self.state().lost = lost;
        }
        goes_on
    }
}

impl Hold for PlaceHold {
    fn take(self: Arc<Self>, mark: &Mark) -> Armed {
        let object = lease::object(&self.place);
        let undo = vec![Undo::Delete { object, owner: mark.owner.clone(), uid: None, switch: None }];
        let mark = mark.clone();
        let apply = Box::new(move || -> BoxFuture<'static, crate::experiment::Applied> {
            Box::pin(async move {
                let lease = lease::take(&self.ground, &self.place, &mark).await?;
                let uid = lease.uid.clone();
                self.state().lease = Some(lease);
                self.begin_to_beat();
                Ok(vec![Some(uid)])
            })
        });
        Armed { undo, apply }
    }

    fn clear(&self) -> BoxFuture<'_, Result<bool, BoxError>> {
        Box::pin(async move { Ok(lease::clear(&self.ground, &self.place).await?) })
    }

    fn arm_switch(self: Arc<Self>, mark: &Mark) -> Option<Armed> {
        let Place::Namespace(namespace) = &self.place else { return None };
        if !self.ground.beat.switch {
            return None;
        }
        let object = switch::object(namespace, &mark.owner);
        let undo = vec![Undo::Delete { object, owner: mark.owner.clone(), uid: None, switch: None }];
        let (mark, namespace) = (mark.clone(), namespace.clone());
        let apply = Box::new(move || -> BoxFuture<'static, crate::experiment::Applied> {
            Box::pin(async move {
                let switch = DeadMan::start(&self.ground, &namespace, &mark).await?;
                let uid = switch.uid().to_owned();
                let lease = self.state().lease.clone();
                if let Some(lease) = lease {
                    lease.name_switch(&self.ground.kubernetes, &uid).await?;
                }
                self.state().switch = Some(switch);
                Ok(vec![Some(uid)])
            })
        });
        Some(Armed { undo, apply })
    }

    fn switch(&self) -> Option<Switch> {
        self.state().switch.as_ref().map(DeadMan::reference)
    }

    fn enter<'a>(&'a self, undo: &'a [Undo]) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let (lease, changed) = {
                let mut state = self.state();
                let known = state.changed.len();
                let new = undo.iter().filter_map(lease::Changed::of);
                let new: Vec<_> = new.filter(|new| !state.changed.contains(new)).collect();
                state.changed.extend(new);
                match &state.lease {
                    Some(lease) if state.changed.len() > known => (lease.clone(), state.changed.clone()),
                    _ => return Ok(()),
                }
            };
            Ok(lease.name_changed(&self.ground.kubernetes, &changed).await?)
        })
    }

    fn lives_until(&self) -> Option<Timestamp> {
        self.state().switch.as_ref().map(DeadMan::lives_until)
    }

    fn lost(&self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async move {
            // What the last beat found may be old: a machine that slept has not had one since.
            if self.state().lost.is_none() {
                self.beat(&self.ground.kubernetes).await;
            }
            self.state().lost.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_is_a_number_of_seconds_or_off() {
        let said = |text: &str| Beat::said(Some(text.to_owned())).map_err(|error| error.to_string());
        assert_eq!(Beat::said(None).ok(), Some(Beat::default()));
        assert_eq!(said("off"), Ok(Beat { switch: false, ..Beat::default() }));
        for (text, seconds) in [("3", 3), ("30", 30), ("3600", 3_600)] {
            let ahead = Duration::from_secs(seconds);
            assert_eq!(said(text), Ok(Beat { ahead, every: ahead / 3, switch: true }));
        }
        for text in ["2", "0", "-1", "3601", "30s", "OFF", "no", " "] {
            let error = said(text).expect_err("it is unknown");
            assert!(error.contains(&format!("STEADFAST_SWITCH={text:?}")) && error.contains("3 to 3600, or off"));
        }
    }
}
