//! Scrapes pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use http::header::HOST;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::Mutex as AsyncMutex;

use super::exposition;
use super::tsdb::{Labels, Tsdb};
use crate::clock::Clock;
use crate::lab::fabric::{Fabric, PROMETHEUS, Source};
use crate::lab::resource::PODS;
use crate::lab::store::Store;

/// The state of each target, as `/api/v1/targets` tells it.
pub(super) type Health = Arc<Mutex<BTreeMap<String, Value>>>;

pub(super) struct Scraper {
    /// How often each target is scraped, and how long one scrape may take.
    interval: Duration,
    clock: Clock,
    store: Store,
    fabric: Fabric,
    tsdb: Tsdb,
    health: Health,
    /// The connections kept, by target.
    kept: AsyncMutex<BTreeMap<String, SendRequest<Empty<Bytes>>>>,
    /// The series of each target's last scrape.
    seen: BTreeMap<String, (Labels, BTreeSet<Labels>)>,
}

struct Target {
    /// Distinguishes pods that had the same address one after the other.
    key: String,
    ip: Ipv4Addr,
    port: u16,
    path: String,
    labels: Labels,
}

impl Scraper {
    pub(super) fn new(
        interval: Duration,
        clock: Clock,
        store: Store,
        fabric: Fabric,
        tsdb: Tsdb,
        health: Health,
    ) -> Self {
        Self { interval, clock, store, fabric, tsdb, health, kept: AsyncMutex::default(), seen: BTreeMap::new() }
    }

    pub(super) async fn run(mut self) {
        let start = tokio::time::Instant::now();
        for round in 1_u32.. {
            tokio::time::sleep_until(start + self.interval * round).await;
            self.round().await;
        }
    }

    async fn round(&mut self) {
        let at = self.clock.now();
        let targets = self.targets();
        let pages = join_all(targets.iter().map(|target| async {
            let scrape = tokio::time::timeout(self.interval, self.fetch(target)).await;
            scrape.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.interval)))
        }))
        .await;
        let stamp = at.as_millisecond();
        let mut seen = BTreeMap::new();
        let mut health = BTreeMap::new();
        for (target, page) in targets.into_iter().zip(pages) {
            let samples = page.and_then(|page| exposition::parse(&page));
            let up = samples.is_ok();
            let mut series = BTreeSet::new();
            for (mut labels, value) in samples.as_ref().ok().into_iter().flatten().cloned() {
                // The target's own labels win, as without `honor_labels`.
                labels.extend(target.labels.clone());
                series.insert(labels.clone());
                self.tsdb.append(labels, stamp, value);
            }
            let mut labels = target.labels.clone();
            labels.insert("__name__".into(), "up".into());
            self.tsdb.append(labels, stamp, if up { 1.0 } else { 0.0 });
            let told = json!({
                "discoveredLabels": {}, "labels": target.labels, "scrapePool": target.labels.get("job"),
                "scrapeUrl": format!("http://{}:{}{}", target.ip, target.port, target.path),
                "globalUrl": format!("http://{}:{}{}", target.ip, target.port, target.path),
                "lastError": samples.err().unwrap_or_default(), "lastScrape": at, "lastScrapeDuration": 0.001,
                "health": if up { "up" } else { "down" },
                "scrapeInterval": format!("{:?}", self.interval), "scrapeTimeout": format!("{:?}", self.interval),
            });
            health.insert(target.key.clone(), told);
            seen.insert(target.key, (target.labels, series));
        }
        self.end_what_vanished(&seen, stamp);
        self.seen = seen;
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    fn end_what_vanished(&self, now: &BTreeMap<String, (Labels, BTreeSet<Labels>)>, stamp: i64) {
        for (key, (labels, before)) in &self.seen {
            let after = now.get(key);
            for gone in before.iter().filter(|labels| after.is_none_or(|(_, after)| !after.contains(*labels))) {
                self.tsdb.end(gone.clone(), stamp);
            }
            if after.is_none() {
                let mut up = labels.clone();
                up.insert("__name__".into(), "up".into());
                self.tsdb.end(up, stamp);
            }
        }
    }

    fn targets(&self) -> Vec<Target> {
        let (pods, _) = self.store.list(&PODS, None);
        pods.iter().filter_map(|pod| target(pod)).collect()
    }

    /// Asks on the connection that is kept, or on a new one.
    async fn fetch(&self, target: &Target) -> Result<String, String> {
        let kept = self.kept.lock().await.remove(&target.key);
        if let Some(mut sender) = kept
            && let Ok(page) = ask(&mut sender, target).await
        {
            self.kept.lock().await.insert(target.key.clone(), sender);
            return Ok(page);
        }
        let from = Source::Address(PROMETHEUS);
        let stream = self.fabric.connect(from, target.ip, target.port).await.map_err(|e| e.to_string())?;
        let (mut sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        // It ends with its sender.
        tokio::spawn(driver);
        let page = ask(&mut sender, target).await?;
        self.kept.lock().await.insert(target.key.clone(), sender);
        Ok(page)
    }
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, target: &Target) -> Result<String, String> {
    sender.ready().await.map_err(|e| e.to_string())?;
    let request = http::Request::get(&target.path).header(HOST, format!("{}:{}", target.ip, target.port));
    let request = request.body(Empty::new()).map_err(|e| e.to_string())?;
    let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
    if !status.is_success() {
        return Err(format!("server returned HTTP status {status}"));
    }
    String::from_utf8(body.to_vec()).map_err(|e| e.to_string())
}

/// The target of a pod that asks to be scraped.
fn target(pod: &Value) -> Option<Target> {
    let metadata = &pod["metadata"];
    let annotation = |name: &str| metadata["annotations"][name].as_str();
    if annotation("prometheus.io/scrape") != Some("true") || pod["status"]["phase"] != "Running" {
        return None;
    }
    let ip: Ipv4Addr = pod["status"]["podIP"].as_str()?.parse().ok()?;
    let declared = pod["spec"]["containers"][0]["ports"][0]["containerPort"].as_u64();
    let port = annotation("prometheus.io/port").and_then(|port| port.parse().ok()).or(declared)?;
    let port = u16::try_from(port).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let job = metadata["labels"]["app"].as_str().unwrap_or("pods");
    let labels = Labels::from([
        ("job".to_owned(), job.to_owned()),
        ("instance".to_owned(), format!("{ip}:{port}")),
        ("namespace".to_owned(), text(&metadata["namespace"])),
        ("pod".to_owned(), text(&metadata["name"])),
    ]);
    let path = annotation("prometheus.io/path").unwrap_or("/metrics").to_owned();
    Some(Target { key: text(&metadata["uid"]), ip, port, path, labels })
}
