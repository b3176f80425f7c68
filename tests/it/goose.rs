//! goose attacks, against a server of this process on loopback and against the lab in real time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use futures_util::FutureExt;
use serde_json::json;
use steadfast::journal::StepStatus;
use steadfast::load::goose::prelude::*;
use steadfast::prelude::*;
use steadfast::transport::{Network, Request, Transport};
use tokio::sync::watch;

/// goose runs one attack at once in a process: these tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A server with a thread of its own that counts requests by their path. `/bad` answers 503.
#[derive(Clone)]
struct Server {
    url: String,
    counts: Arc<watch::Sender<BTreeMap<String, usize>>>,
}

impl Server {
    fn start() -> Self {
        let counts = Arc::new(watch::Sender::new(BTreeMap::new()));
        let router = axum::Router::new().fallback(count).with_state(counts.clone());
        let (ready, started) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { url: format!("http://{}", started.recv().unwrap()), counts }
    }

    fn count(&self, path: &str) -> usize {
        self.counts.borrow().get(path).copied().unwrap_or_default()
    }

    async fn reached(&self, path: &str, count: usize) {
        let mut counts = self.counts.subscribe();
        counts.wait_for(|counts| counts.get(path).is_some_and(|so_far| *so_far >= count)).await.unwrap();
    }

    /// Sends so many requests one after another: whatever else the server has, it answers meanwhile.
    async fn answers(&self, requests: usize) {
        let network = Network::new(None).unwrap();
        let request = Request::new(Method::GET, format!("{}/probe", self.url).into());
        for _ in 0..requests {
            assert_eq!(network.send(&request).await.unwrap().status, 200);
        }
    }
}

async fn count(State(counts): State<Arc<watch::Sender<BTreeMap<String, usize>>>>, uri: Uri) -> StatusCode {
    counts.send_modify(|counts| *counts.entry(uri.path().to_owned()).or_default() += 1);
    if uri.path() == "/bad" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

/// Runs `body` on the embedded cluster in real time, when it has its turn.
fn in_real_time(body: impl AsyncFnOnce(Cluster) -> steadfast::Result) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { body(Cluster::embedded().unwrap()).await.unwrap() });
}

async fn good(user: &mut GooseUser) -> TransactionResult {
    user.get("/good").await?;
    Ok(())
}

async fn bad(user: &mut GooseUser) -> TransactionResult {
    user.get("/bad").await?;
    Ok(())
}

/// Users that never wait.
fn busy() -> Scenario {
    scenario!("busy").register_transaction(transaction!(good))
}

fn waiting() -> Result<Scenario, GooseError> {
    scenario!("waiting")
        .register_transaction(transaction!(good).set_weight(2)?)
        .register_transaction(transaction!(bad))
        .set_wait_time(millis(20), millis(20))
}

#[test]
fn what_goose_counted_is_in_the_journal_and_can_be_judged() {
    in_real_time(async |cluster| {
        let server = Server::start();
        let users = load::goose(waiting).against(&server.url).users(4).lasting(secs(1)).named("users");
        let most = Hypothesis::new("most are served")
            .check(users.success_ratio().expect(between(0.5, 0.8)))
            .check(users.p95().expect(at_most(secs(20))));
        let journal = Experiment::new("a", most).background(&users).run(&cluster).await?;
        journal.assert_verdict(Met);
        let counted = users.summary().unwrap();
        assert_eq!(counted.users, 4);
        assert!(counted.paths.len() == 2 && counted.requests >= 8, "{counted:?}");
        for (path, name, status) in [("/good", "GET /good", "200"), ("/bad", "GET /bad", "503")] {
            let of = &counted.paths[name];
            assert_eq!(of.requests, server.count(path), "what the server saw of {name}");
            assert_eq!(of.outcomes, BTreeMap::from([(status.to_owned(), of.requests)]));
            assert_eq!(of.succeeded, if status == "200" { of.requests } else { 0 });
            assert!(of.p50_ms > 0.0 && of.p50_ms <= of.p95_ms && of.p99_ms <= of.max_ms, "{of:?}");
        }
        assert_eq!(counted.succeeded, server.count("/good"));
        assert_eq!(counted.errors.values().sum::<usize>(), server.count("/bad"), "{:?}", counted.errors);
        assert_eq!(journal.steps[0].output, serde_json::to_value(&*counted)?);
        assert_eq!(journal.steps[0].output["outcomes"]["503"], server.count("/bad"));

        let all = Hypothesis::new("all are served").check(users.success_ratio().expect(at_least(0.99)));
        Experiment::new("b", all).background(&users).run(&cluster).await?.assert_verdict(Deviated);
        Ok(())
    });
}

#[test]
fn a_dropped_attack_sends_no_more_requests() {
    in_real_time(async |cluster| {
        let server = Server::start();
        let users = load::goose(busy).against(&server.url).users(8).lasting(secs(600));
        let reached = server.clone();
        let error = Experiment::without_hypothesis("fails half-way")
            .background(&users)
            .act_with("fail", async move |_| {
                reached.reached("/good", 100).await;
                Err::<(), _>("half-way".into())
            })
            .run(&cluster)
            .await
            .expect_err("it failed");
        assert!(error.to_string().contains("half-way"), "{error}");
        server.answers(50).await;
        let before = server.count("/good");
        server.answers(200).await;
        assert_eq!(server.count("/good"), before, "its users went on");
        assert!(users.summary().is_none());

        // Another may follow at once.
        let users = load::goose(busy).against(&server.url).lasting(secs(1));
        let journal = Experiment::without_hypothesis("next").background(&users).run(&cluster).await?;
        journal.assert_verdict(NotJudged);
        assert_eq!(users.summary().unwrap().requests, server.count("/good") - before);
        Ok(())
    });
}

#[test]
fn a_service_of_the_lab_is_reached_in_real_time() {
    in_real_time(async |cluster| {
        steadfast::shop(&cluster).await?;
        let shop = cluster.namespace("default");
        async fn front(user: &mut GooseUser) -> TransactionResult {
            user.get("/").await?;
            Ok(())
        }
        let scenario =
            || scenario!("x").register_transaction(transaction!(front)).set_wait_time(millis(50), millis(50));
        let shoppers = load::goose(scenario).against(shop.service("front").url("/")).users(2).lasting(secs(1));
        let served = Hypothesis::new("served").check(shoppers.success_ratio().expect(at_least(1.0)));
        let cut = shop.pods("app=back").deny_ingress();
        let journal = Experiment::new("x", served).background(&shoppers).inject(cut).run(&cluster).await?;
        journal.assert_verdict(Met);
        assert!(shoppers.summary().unwrap().requests > 2);

        // Nobody is behind it.
        let empty =
            json!({"metadata": {"name": "empty"}, "spec": {"selector": {"app": "none"}, "ports": [{"port": 80}]}});
        cluster.lab()?.store().create(&steadfast::lab::resource::SERVICES, "default", empty, false).unwrap();
        let gone = load::goose(busy).against(shop.service("empty").url("/")).lasting(secs(1));
        let journal = Experiment::without_hypothesis("y").background(&gone).run(&cluster).await?;
        let counted = gone.summary().unwrap();
        assert_eq!(counted.outcomes.keys().collect::<Vec<_>>(), ["no answer"], "{}", journal.summary());

        let nowhere = load::goose(busy).against(shop.service("nowhere").url("/")).lasting(secs(1));
        let error =
            Experiment::without_hypothesis("z").background(&nowhere).run(&cluster).await.expect_err("no service");
        assert!(error.to_string().contains("service default/nowhere does not exist"), "{error}");
        Ok(())
    });
}

#[steadfast::test(needs = "embedded")]
async fn virtual_time_is_refused_with_the_remedy(cluster: Cluster) -> steadfast::Result {
    let users = load::goose(busy).against("http://127.0.0.1:1/");
    let error = Experiment::without_hypothesis("x").background(&users).run(&cluster).await.expect_err("no sockets");
    assert!(error.to_string().contains("set STEADFAST_REAL_TIME=1"), "{error}");
    Ok(())
}

#[test]
fn a_second_attack_at_once_is_refused() {
    in_real_time(async |cluster| {
        let server = Server::start();
        let users = |name: &str| load::goose(busy).against(&server.url).lasting(secs(2)).named(name);
        let (first, second) = (users("first"), users("second"));
        let error = Experiment::without_hypothesis("x")
            .background(&first)
            .background(&second)
            .run(&cluster)
            .await
            .expect_err("one at once");
        assert!(error.to_string().contains("the goose attack \"first\" still runs"), "{error}");
        assert!(first.summary().is_some() && second.summary().is_none(), "the first one is left alone");
        Ok(())
    });
}

#[test]
fn a_panic_in_a_transaction_is_the_experiments() {
    in_real_time(async |cluster| {
        let server = Server::start();
        async fn asserts(user: &mut GooseUser) -> TransactionResult {
            let status = user.get("/bad").await?.response?.status();
            assert_eq!(status, 200, "the page is there");
            Ok(())
        }
        let scenario = || scenario!("asserts").register_transaction(transaction!(asserts));
        let users = load::goose(scenario).against(&server.url).lasting(secs(600));
        let run = Experiment::without_hypothesis("x").journal_path("panics.json").background(&users).run(&cluster);
        let payload = std::panic::AssertUnwindSafe(run).catch_unwind().await.expect_err("it panics");
        let message = payload.downcast_ref::<String>().unwrap();
        assert!(message.contains("the page is there"), "{message}");
        let journal = crate::support::stored_journal(&cluster, "panics.json");
        assert!(
            matches!(&journal.steps[0].status, StepStatus::Panicked { message } if message.contains("the page is there"))
        );
        Ok(())
    });
}

#[test]
fn an_attack_that_was_cut_short_is_no_evidence() {
    in_real_time(async |cluster| {
        let server = Server::start();
        async fn gives_up(user: &mut GooseUser) -> TransactionResult {
            user.get("/good").await?;
            steadfast::load::goose::trigger_killswitch("enough");
            Ok(())
        }
        let scenario = || scenario!("gives up").register_transaction(transaction!(gives_up));
        let users = load::goose(scenario).against(&server.url).lasting(secs(600));
        let error = Experiment::without_hypothesis("x").background(&users).run(&cluster).await.expect_err("cut short");
        assert!(error.to_string().contains("kill switch"), "{error}");

        async fn idles(_: &mut GooseUser) -> TransactionResult {
            tokio::time::sleep(millis(100)).await;
            Ok(())
        }
        let idle = load::goose(|| scenario!("idle").register_transaction(transaction!(idles)));
        let idle = idle.against(&server.url).lasting(secs(1)).named("idle");
        let served = Hypothesis::new("served").check(idle.p99().expect(at_most(secs(1))));
        let journal = Experiment::new("x", served).background(&idle).run(&cluster).await?;
        journal.assert_verdict(Inconclusive);
        assert!(
            journal.summary().contains("idle did not do what was planned: its users sent no request"),
            "{}",
            journal.summary()
        );
        Ok(())
    });
}

#[test]
fn what_cannot_be_run_is_told_before_anything_is() {
    in_real_time(async |cluster| {
        let refused = async |users: &load::goose::Attack| {
            let run = Experiment::without_hypothesis("x").background(users).run(&cluster).await;
            run.expect_err("it cannot be run").to_string()
        };
        let error = refused(&load::goose(busy).against("front").users(1)).await;
        assert!(error.contains("malformed URL"), "{error}");
        let error = refused(&load::goose(busy).users(0)).await;
        assert!(error.contains("goose: busy, 0 users for 1s: it has no users"), "{error}");
        let error = refused(&load::goose(busy).lasting(millis(1500))).await;
        assert!(error.contains("whole seconds"), "{error}");
        let error = refused(&load::goose(Vec::new)).await;
        assert!(error.contains("it has no scenarios"), "{error}");
        let error = refused(&load::goose(|| busy().set_weight(0))).await;
        assert!(error.contains("goose: weight 0"), "{error}");
        // Only goose itself knows that.
        let error = refused(&load::goose(busy)).await;
        assert!(error.contains("A host must be defined"), "{error}");
        let contradiction = load::goose(busy)
            .against("http://127.0.0.1:1")
            .configured(|attack| Ok(*attack.set_default(GooseDefault::Iterations, 3)?));
        let error = refused(&contradiction).await;
        assert!(error.contains("iterations"), "{error}");
        Ok(())
    });
}

/// Runs one ignored test in a process of its own, sends it SIGINT when it says so, and answers with how it ended, with
/// what it had told until then, and with its journal.
fn interrupted(test: &str) -> (std::process::ExitStatus, String, Option<Journal>) {
    let out = tempfile::tempdir().unwrap();
    let mut child = crate::replay::seen::heeding_signals(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env("STEADFAST_REAL_TIME", "1")
        .env("STEADFAST_OUT", out.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if line.contains("now interrupt me") {
            rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
                .unwrap();
        }
        told = told + &line + "\n";
    }
    let status = child.wait().unwrap();
    let folders = std::fs::read_dir(out.path()).into_iter().flatten();
    let journals = folders.filter_map(|folder| Journal::read(&folder.ok()?.path().join("journal.json")).ok());
    (status, told, journals.last())
}

#[test]
fn an_interrupt_is_the_experiments_and_not_gooses() {
    for test in ["goose::attacks_with_a_fault_on", "goose::attacks_and_then_has_a_fault_on"] {
        let (status, told, journal) = interrupted(test);
        assert_eq!(status.code(), Some(130), "{test}: {told}");
        let journal = journal.unwrap();
        assert_eq!(journal.ended, steadfast::journal::Ended::Interrupted { signal: "SIGINT".into() });
        assert!(journal.not_undone().is_empty(), "{}", journal.summary());
        // As much as goose has to say.
        assert!(told.contains("All 2 users launched") && !told.contains("METRICS"), "{told}");
    }
    let (status, told, _) = interrupted("goose::attacks_without_a_fault");
    assert_eq!(status.signal(), Some(2), "nobody handles it: {told}");
}

fn attack_until_interrupted(before: bool, after: bool) {
    steadfast::block_on(async |cluster| {
        steadfast::shop(&cluster).await?;
        let server = Server::start();
        let users = load::goose(waiting).against(&server.url).users(2).lasting(secs(600));
        let cut = || cluster.namespace("default").pods("app=back").deny_ingress();
        let mut experiment = Experiment::without_hypothesis("interrupted");
        if before {
            experiment = experiment.inject(cut());
        }
        experiment = experiment.background(&users).act_with("wait", async move |_| {
            server.reached("/good", 10).await;
            Ok(())
        });
        if after {
            experiment = experiment.inject(cut());
        }
        let tell = async |_| {
            println!("now interrupt me");
            Ok(())
        };
        let journal = experiment.act_with("tell", tell).pause(secs(30)).run(&cluster).await?;
        panic!("a signal should have come: {}", journal.summary())
    });
}

#[test]
#[ignore = "run by an_interrupt_is_the_experiments_and_not_gooses"]
fn attacks_with_a_fault_on() {
    attack_until_interrupted(true, false);
}

#[test]
#[ignore = "run by an_interrupt_is_the_experiments_and_not_gooses"]
fn attacks_and_then_has_a_fault_on() {
    attack_until_interrupted(false, true);
}

#[test]
#[ignore = "run by an_interrupt_is_the_experiments_and_not_gooses"]
fn attacks_without_a_fault() {
    attack_until_interrupted(false, false);
}
