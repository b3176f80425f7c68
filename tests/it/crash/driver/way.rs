//! The way of one driver to the API: where it dies, sleeps, and what goes wrong on it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{Method, Request, Response};
use futures_util::stream;
use kube::client::Body;
use serde_json::json;
use steadfast::BoxError;
use steadfast::clock::Seed;
use steadfast::lab::api::ApiService;
use tokio::sync::watch;
use tokio::time::Instant;

/// When a driver dies.
#[derive(Clone, Copy, Debug)]
pub enum Death {
    /// Never.
    No,
    /// Before its request of this number reaches the API.
    Before(u64),
    /// After that, before the answer comes.
    After(u64),
    /// Before the answer comes, and the request is on its way for so long after that.
    OnItsWay(u64, Duration),
    /// At this instant of the run.
    At(Duration),
}

/// How one request goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// The API answers so and does nothing.
    Code(u16),
    /// The request does not reach it.
    Unreached,
    /// It does what was asked, and nobody hears of it.
    Lost,
    /// As that, and half of the answer comes.
    Cut,
}

const WRONGS: [Wrong; 8] = [
    Wrong::Code(409),
    Wrong::Code(410),
    Wrong::Code(429),
    Wrong::Code(500),
    Wrong::Code(503),
    Wrong::Unreached,
    Wrong::Lost,
    Wrong::Cut,
];

/// From when, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Spell {
    pub from: Duration,
    pub lasts: Duration,
}

impl Spell {
    fn is_on(self, at: Duration) -> bool {
        at >= self.from && at < self.from + self.lasts
    }
}

/// What befalls a driver.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    pub death: Death,
    /// From its request of this number on one in ten goes wrong.
    pub wrong_from: Option<u64>,
    /// Meanwhile no request reaches the API.
    pub outage: Option<Spell>,
    /// Its machine sleeps: nothing of it runs.
    pub sleep: Option<Spell>,
}

impl Fate {
    pub const NONE: Self = Self { death: Death::No, wrong_from: None, outage: None, sleep: None };
}

/// Told of a request that the API has carried out; true if its answer is to be lost.
pub type Committed = Box<dyn Fn(&Method, &str) -> bool + Send + Sync>;

/// One driver's way.
pub struct Way {
    fate: Fate,
    begun: Instant,
    requests: AtomicU64,
    dead: watch::Sender<bool>,
    asleep: watch::Sender<bool>,
    seed: Seed,
    wrongs: Mutex<BTreeMap<Wrong, u64>>,
    committed: Committed,
}

impl Way {
    pub fn new(fate: Fate, seed: Seed, committed: Committed) -> Arc<Self> {
        Arc::new(Self {
            fate,
            begun: Instant::now(),
            requests: AtomicU64::new(0),
            dead: watch::Sender::new(false),
            asleep: watch::Sender::new(false),
            seed,
            wrongs: Mutex::default(),
            committed,
        })
    }

    pub fn client(self: &Arc<Self>, api: ApiService) -> kube::Client {
        let way = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (way, api) = (way.clone(), api.clone());
            async move { way.send(api, request).await }
        });
        kube::Client::new(service, "default")
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn wrongs(&self) -> BTreeMap<Wrong, u64> {
        self.wrongs.lock().unwrap().clone()
    }

    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Until it is dead.
    pub async fn dies(&self) {
        let mut dead = self.dead.subscribe();
        let asks = async { drop(dead.wait_for(|dead| *dead).await) };
        match self.fate.death {
            Death::At(at) => tokio::time::sleep_until(self.begun + at).await,
            _ => asks.await,
        }
        self.dead.send_replace(true);
    }

    /// Until its machine falls asleep.
    pub async fn falls_asleep(&self) {
        match self.fate.sleep {
            Some(sleep) => tokio::time::sleep_until(self.begun + sleep.from).await,
            None => std::future::pending().await,
        }
        self.asleep.send_replace(true);
    }

    /// How long its machine sleeps.
    pub fn sleeps(&self) -> Duration {
        self.fate.sleep.map_or(Duration::ZERO, |sleep| sleep.lasts)
    }

    pub fn wakes(&self) {
        self.asleep.send_replace(false);
    }

    /// Until its machine does not sleep.
    pub async fn awakes(&self) {
        drop(self.asleep.subscribe().wait_for(|asleep| !asleep).await);
    }

    async fn dead<T>(&self) -> T {
        self.dead.send_replace(true);
        std::future::pending().await
    }

    fn goes_wrong(&self, number: u64) -> Option<Wrong> {
        let mut rng = self.seed.rng(&format!("request {number}"));
        let may = self.fate.wrong_from.is_some_and(|from| number >= from);
        let wrong = (may && rng.u8(..10) == 0).then(|| WRONGS[rng.usize(..WRONGS.len())])?;
        *self.wrongs.lock().unwrap().entry(wrong).or_default() += 1;
        Some(wrong)
    }

    async fn send(&self, api: ApiService, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        self.awakes().await;
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let (method, uri) = (request.method().clone(), request.uri().to_string());
        assert!(!uri.contains("watch="), "{uri}: drivers watch by now; let watches be cut here");
        let dies = matches!(self.fate.death, Death::Before(at) if number >= at);
        if dies || *self.dead.borrow() {
            return self.dead().await;
        }
        if let Death::OnItsWay(at, late) = self.fate.death
            && at == number
        {
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                drop(tower::ServiceExt::oneshot(api, request).await);
            });
            return self.dead().await;
        }
        if self.fate.outage.is_some_and(|outage| outage.is_on(self.elapsed())) {
            return Err("there is no way to the API".into());
        }
        let wrong = self.goes_wrong(number);
        match wrong {
            Some(Wrong::Code(code)) => return Ok(refusal(code)),
            Some(Wrong::Unreached) => return Err("the connection was refused".into()),
            Some(Wrong::Lost | Wrong::Cut) | None => {}
        }
        let answer = tower::ServiceExt::oneshot(api, request).await?;
        let lost = answer.status().is_success() && (self.committed)(&method, &uri);
        if matches!(self.fate.death, Death::After(at) if number == at) {
            return self.dead().await;
        }
        self.awakes().await;
        match wrong {
            Some(Wrong::Lost) => Err("the connection was reset before the answer came".into()),
            _ if lost => Err("the connection was reset before the answer came".into()),
            Some(Wrong::Cut) => cut(answer.map(Answer::new)).await,
            _ => Ok(answer.map(Answer::new)),
        }
    }
}

/// The body of an answer, whoever gives it.
type Answer = axum::body::Body;

/// As an API server refuses.
fn refusal(code: u16) -> Response<Answer> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "made up",
        "reason": "MadeUp", "details": {"retryAfterSeconds": 1},
    });
    let body = Answer::from(status.to_string());
    Response::builder().status(code).header("retry-after", "1").body(body).unwrap()
}

/// Half of an answer.
async fn cut(answer: Response<Answer>) -> Result<Response<Answer>, BoxError> {
    let (head, body) = answer.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX).await?;
    let half = whole.slice(..whole.len() / 2);
    let parts = stream::iter([Ok(half), Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))]);
    Ok(Response::from_parts(head, Answer::from_stream(parts)))
}
