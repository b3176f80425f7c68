//! Faults as annotations in Grafana: a mark when one becomes effective, a region once it is undone.
//!
//! One thread sends them, in the order in which they come about; what a run does never waits for it but at the run's
//! end, and then for a bounded time. What may pass, as an answer of 500, loses nothing of the faults that follow, and what
//! it concerned is sent again with the fault's next change and at the run's end; after anything else a run sends no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use crate::journal::{FaultWindow, complain};
use crate::transport::{Address, Failure, Network, NoAnswer, Request, Transport};

const URL: &str = "STEADFAST_GRAFANA_URL";
const TOKEN: &str = "STEADFAST_GRAFANA_TOKEN";
const DASHBOARD: &str = "STEADFAST_GRAFANA_DASHBOARD";

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How long the end of a run waits for what is still to be sent.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a tag may be, in characters: Grafana stores no more of what stands before its colon, nor after it.
const TAG: usize = 100;

/// Where to, and as whom.
#[derive(Clone)]
struct Settings {
    base: Address,
    token: Option<HeaderValue>,
    dashboard: Option<String>,
}

impl Settings {
    /// What the variables say, if anything. An error names the variable and the remedy.
    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Option<Result<Self, String>> {
        let base = Address::from(variable(URL)?.trim());
        let settings = || {
            base.checked().map_err(|error| format!("{URL}: {error}"))?;
            let in_url =
                matches!(&base, Address::Url(url) if url.authority().is_some_and(|all| all.as_str().contains('@')));
            let token = match variable(TOKEN) {
                None if in_url => None,
                None => {
                    return Err(format!(
                        "{TOKEN} is not set; give it the token of a service account that may write annotations"
                    ));
                }
                Some(token) => {
                    let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
                    let mut value = value.map_err(|_| format!("{TOKEN} is no token: it holds what no header may"))?;
                    value.set_sensitive(true);
                    Some(value)
                }
            };
            Ok(Self { base: base.clone(), token, dashboard: variable(DASHBOARD) })
        };
        Some(settings())
    }

    /// Below the address that Grafana is served at, which may have a path.
    fn at(&self, path: &str) -> Address {
        let prefix = match &self.base {
            Address::Url(url) => url.path().trim_end_matches('/').to_owned(),
            _ => String::new(),
        };
        self.base.with_path(&format!("{prefix}{path}"))
    }

    fn request(&self, method: Method, path: &str, body: &Value) -> Request {
        let mut request = Request::new(method, self.at(path));
        request.timeout = TIMEOUT;
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers.extend(self.token.clone().map(|token| (AUTHORIZATION, token)));
        request.body = body.to_string().into();
        request
    }
}

/// A fault of a run: the run's name, and its number.
type Fault = (String, usize);

enum Message {
    /// A fault is on.
    On(Fault, Result<Settings, String>, Box<Value>),
    /// It is undone, at this millisecond.
    Undone(Fault, i64),
    /// Everything of the run was said: told when it is sent.
    Ended(String, Sender<()>),
}

/// To the thread that sends; `None` if it could not be started.
static DESK: OnceLock<Option<Sender<Message>>> = OnceLock::new();

fn desk() -> Option<&'static Sender<Message>> {
    let start = || {
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("steadfast-grafana".into());
        thread.spawn(move || serve(&receiver)).ok().map(|_| sender)
    };
    DESK.get_or_init(start).as_ref()
}

/// The window of a fault has changed.
pub(super) fn fault_changed(run: &str, experiment: &str, number: usize, window: &FaultWindow) {
    let fault = (run.to_owned(), number);
    let message = match (window.effective, window.undone) {
        // Of a fault that was never told nothing is to be ended.
        (Some(_), Some(undone)) if DESK.get().is_some() => Message::Undone(fault, undone.as_millisecond()),
        (Some(on), None) if window.undo_requested.is_none() => {
            let Some(settings) = Settings::of(&crate::variables::text) else { return };
            let dashboard = settings.as_ref().ok().and_then(|settings| settings.dashboard.clone());
            Message::On(fault, settings, Box::new(annotation(run, experiment, window, on.as_millisecond(), dashboard)))
        }
        _ => return,
    };
    if let Some(desk) = desk() {
        // The thread ends with the process alone.
        let _ = desk.send(message);
    }
}

/// Waits until all that a run has said is sent, for a bounded time.
pub(super) fn drain(run: &str) {
    let Some(Some(desk)) = DESK.get() else { return };
    let (tell, told) = channel();
    if desk.send(Message::Ended(run.to_owned(), tell)).is_ok() && told.recv_timeout(DRAIN).is_err() {
        complain(&format!("Grafana has not taken all annotations of run {run} within {DRAIN:?}"));
    }
}

fn annotation(run: &str, experiment: &str, window: &FaultWindow, at: i64, dashboard: Option<String>) -> Value {
    let tag = |kind: &str, value: &str| {
        let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TAG).collect();
        format!("{kind}:{value}")
    };
    let tags = ["steadfast".to_owned(), tag("run", run), tag("experiment", experiment), tag("fault", &window.fault)];
    let text = format!("{}<br>{} (run {})", escaped(&window.fault), escaped(experiment), escaped(run));
    let mut annotation = json!({"time": at, "tags": tags, "text": text});
    if let Some(dashboard) = dashboard {
        annotation["dashboardUID"] = dashboard.into();
    }
    annotation
}

/// Grafana shows a text as HTML.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, letter| {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
        escaped
    })
}

/// A fault that is told, and how far.
struct Told {
    settings: Settings,
    annotation: Value,
    /// The number of its annotation, once that is made.
    id: Option<i64>,
    /// Since which millisecond it is undone.
    undone: Option<i64>,
    /// What is still to be sent, and why it was not.
    lost: Option<String>,
}

impl Told {
    /// Sends what Grafana does not have of it yet.
    fn settle(&mut self, send: &dyn Fn(Request) -> Result<Vec<u8>, Failed>) -> Result<(), Failed> {
        let sent = match (self.id, self.undone) {
            // Whoever could not make the mark makes the region at once.
            (None, undone) => {
                let mut annotation = self.annotation.clone();
                if let Some(undone) = undone {
                    annotation["timeEnd"] = undone.into();
                }
                let answer = send(self.settings.request(Method::POST, "/api/annotations", &annotation));
                answer.and_then(|answer| made(&answer)).map(|id| self.id = Some(id))
            }
            (Some(id), Some(undone)) => {
                let path = format!("/api/annotations/{id}");
                send(self.settings.request(Method::PATCH, &path, &json!({"timeEnd": undone}))).map(drop)
            }
            (Some(_), None) => Ok(()),
        };
        self.lost = sent.as_ref().err().map(|failed| failed.why.clone());
        sent
    }
}

/// Why something was not sent.
#[derive(Debug)]
struct Failed {
    why: String,
    /// Whether it may be otherwise soon.
    passes: bool,
}

impl Failed {
    fn for_good(why: impl Into<String>) -> Self {
        Self { why: why.into(), passes: false }
    }
}

/// What the thread knows.
#[derive(Default)]
struct Known {
    faults: BTreeMap<Fault, Told>,
    /// Runs that send no more.
    stopped: BTreeSet<String>,
}

impl Known {
    /// Sends what is new of a fault.
    fn settle(&mut self, fault: &Fault, send: &dyn Fn(Request) -> Result<Vec<u8>, Failed>) {
        let Some(told) = self.faults.get_mut(fault) else { return };
        if let Err(Failed { why, passes: false }) = told.settle(send) {
            self.stop(fault, &why);
        }
    }

    /// Tells once what a run lacks, and that is all of it.
    fn stop(&mut self, (run, number): &Fault, why: &str) {
        complain(&format!("fault {} of run {run} is not annotated in Grafana: {why}", number + 1));
        self.stopped.insert(run.clone());
    }

    /// Sends once more what could not be sent of a run, and tells what that leaves.
    fn ended(&mut self, run: &str, send: &dyn Fn(Request) -> Result<Vec<u8>, Failed>) {
        let all: Vec<Fault> = self.faults.keys().filter(|(of, _)| of == run).cloned().collect();
        let lost = |fault: &&Fault| self.faults[fault].lost.is_some();
        for fault in all.iter().filter(lost).cloned().collect::<Vec<_>>() {
            if self.stopped.contains(run) {
                break;
            }
            if let Some(Err(failed)) = self.faults.get_mut(&fault).map(|told| told.settle(send)) {
                self.stop(&fault, &failed.why);
            }
        }
        self.faults.retain(|(of, _), _| of != run);
        self.stopped.remove(run);
    }
}

fn serve(messages: &Receiver<Message>) {
    let ready = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok((runtime.map_err(|error| error.to_string())?, Network::new(None).map_err(|error| error.to_string())?))
    };
    let ready: Result<_, String> = ready();
    let send = |request: Request| match &ready {
        Ok((runtime, network)) => runtime.block_on(sent(network, request)),
        Err(why) => Err(Failed::for_good(why)),
    };
    let mut known = Known::default();
    for message in messages {
        match message {
            Message::Ended(run, tell) => {
                known.ended(&run, &send);
                // Who no longer waits has said so.
                let _ = tell.send(());
            }
            Message::On(fault, ..) | Message::Undone(fault, ..) if known.stopped.contains(&fault.0) => {}
            Message::On(fault, ..) if known.faults.contains_key(&fault) => {}
            Message::On(fault, Err(why), _) => known.stop(&fault, &why),
            Message::On(fault, Ok(settings), annotation) => {
                let told = Told { settings, annotation: *annotation, id: None, undone: None, lost: None };
                known.faults.insert(fault.clone(), told);
                known.settle(&fault, &send);
            }
            Message::Undone(fault, at) => {
                // What is told twice is sent once.
                let new = known.faults.get_mut(&fault).filter(|told| told.undone.is_none());
                if let Some(told) = new {
                    told.undone = Some(at);
                    known.settle(&fault, &send);
                }
            }
        }
    }
}

/// The number of the annotation that was made.
fn made(answer: &[u8]) -> Result<i64, Failed> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let why = || Failed::for_good(format!("its answer is none of Grafana's; is {URL} its address?"));
    answer["id"].as_i64().ok_or_else(why)
}

async fn sent(network: &Network, request: Request) -> Result<Vec<u8>, Failed> {
    let shown = request.address.to_string();
    let answer = network.send(&request).await.map_err(|failure| {
        // One that hangs would hold up what comes after it; one that starts again answers soon.
        let passes = matches!(failure, Failure::NoAnswer(NoAnswer::Refused | NoAnswer::Reset));
        Failed { why: format!("{shown}: {failure}"), passes }
    })?;
    let remedy = match answer.status {
        200..=299 => return Ok(answer.body.to_vec()),
        401 | 403 => format!("; {TOKEN} needs the permission annotations:write"),
        404 => format!("; is {URL} the address of Grafana, and {DASHBOARD} the uid of a dashboard?"),
        _ => String::new(),
    };
    let passes = matches!(answer.status, 429 | 500..=599);
    Err(Failed { why: format!("{shown} answered {}{remedy}", answer.status), passes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn of(variables: &[(&str, &str)]) -> Option<Result<Settings, String>> {
        Settings::of(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn what_is_wrong_is_named_and_no_token_shown() {
        assert!(of(&[(TOKEN, "hunter2")]).is_none());
        for (url, token, part) in [
            ("grafana:3000", "hunter2", "STEADFAST_GRAFANA_URL: malformed URL"),
            ("http://grafana:3000", "", "STEADFAST_GRAFANA_TOKEN is not set"),
            ("http://grafana:3000", "hunter2\n2", "STEADFAST_GRAFANA_TOKEN is no token"),
        ] {
            let token: &[_] = if token.is_empty() { &[] } else { &[(TOKEN, token)] };
            let error = of(&[&[(URL, url)], token].concat()).unwrap().err().unwrap();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
        let settings = of(&[(URL, "https://host/grafana/"), (TOKEN, "hunter2 ")]).unwrap().ok().unwrap();
        let request = settings.request(Method::POST, "/api/annotations", &json!({}));
        assert_eq!(request.address.to_string(), "https://host/grafana/api/annotations");
        assert_eq!(request.headers[AUTHORIZATION], "Bearer hunter2");
        assert!(!format!("{request:?}").contains("hunter2"));
        assert!(of(&[(URL, "http://me:hunter2@host")]).unwrap().is_ok());
    }

    #[test]
    fn texts_are_escaped_and_tags_are_of_bounded_length() {
        let window = FaultWindow {
            fault: format!("<img src=x onerror='alert(1)'> \"&\" {}", "x".repeat(200)),
            requested: Timestamp::UNIX_EPOCH,
            effective: None,
            undo_requested: None,
            undone: None,
        };
        let made = annotation("r", "a\n<b>", &window, 7, Some("uid".into()));
        let text = made["text"].as_str().unwrap();
        assert!(text.starts_with("&lt;img src=x onerror=&#39;alert(1)&#39;&gt; &quot;&amp;&quot;"), "{text}");
        assert_eq!(text.matches('<').count(), 1, "only ours: {text}");
        assert_eq!((&made["time"], &made["dashboardUID"]), (&json!(7), &json!("uid")));
        assert_eq!(made["tags"][2], "experiment:a <b>");
        assert!(made["tags"].as_array().unwrap().iter().all(|tag| tag.as_str().unwrap().chars().count() <= TAG + 12));
    }
}
