//! Prints the figures of the load generator: `make bench-load`. A server of this file's own in another process, ours and
//! the rivals that are here (wrk, vegeta) by turns, ratios of each round; no assertions, for machines differ.
//!
//! How the deviation of the send time is measured, of ours and of the rivals alike: the server notes when each request
//! arrives; the k-th is planned k/rate after the start. Nobody tells the server that start, so it is taken from the
//! arrivals: the one that is earliest against its plan counts as on time. What is left of the others is their deviation.
//!
//! `STEADFAST_BENCH=full` takes two minutes for the memory, and more rounds.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and microseconds of a few seconds"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use steadfast::experiment::{Background, Scene};
use steadfast::journal::{SpanId, Trace};
use steadfast::prelude::*;
use steadfast::transport::Network;
use steadfast::{BoxError, load};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 12\r\n\r\nHello world!";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("serve") => serve(args[2] == "stamps", args[3].parse().unwrap()),
        Some("attack") => attack(&serde_json::from_str(&args[2]).unwrap()),
        Some("turns") => by_turns(&args[2], args[3].parse().unwrap()),
        _ => figures(args.iter().skip(1).find(|arg| !arg.starts_with('-')).map_or("", String::as_str)),
    }
}

fn figures(only: &str) {
    let full = std::env::var("STEADFAST_BENCH").is_ok_and(|value| value == "full");
    let rounds = if full { 7 } else { 3 };
    println!("server on one core, generators on another; least, median, most of {rounds} rounds\n");
    if "closed".contains(only) {
        closed(rounds);
    }
    if "open".contains(only) {
        open(rounds);
    }
    if "all-sent".contains(only) {
        all_sent(rounds);
    }
    if "frozen".contains(only) {
        frozen(rounds);
    }
    if "traced".contains(only) {
        traced(rounds);
    }
    if "memory".contains(only) {
        memory(if full { 120 } else { 30 });
    }
}

/// 64 connections as fast as they go: ours and wrk.
fn closed(rounds: usize) {
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let server = Server::start(false, 0);
        let told = ours_against(&server, &json!({"concurrency": 64, "seconds": 4}));
        let our = told["requests"].as_f64().unwrap() / 4.0;
        ours.push(our);
        if let Some(told) = rival("wrk", &["-t1", "-c64", "-d4s", &server.url], None) {
            let line = told.lines().find(|line| line.starts_with("Requests/sec:")).unwrap();
            let their: f64 = line.split_whitespace().last().unwrap().parse().unwrap();
            theirs.push(their);
            ratios.push(our / their);
        }
    }
    row("closed loop, 64 connections: requests/s", "", ours);
    row("  wrk -t1 -c64", "", theirs);
    row("  ratio", ">= 0.95", ratios);
}

/// 5,000/s: how far from the plan each request arrives.
fn open(rounds: usize) {
    let (mut our_p50, mut our_p99, mut their_p50, mut their_p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut p50, mut p99, mut self_told) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let server = Server::start(true, 0);
        let told = ours_against(&server, &json!({"rate": 5000, "seconds": 4, "connections": 256}));
        self_told.push(told["lateness_p50_us"].as_f64().unwrap());
        let our = deviation(&server.end()["arrivals"], 5000.0);
        our_p50.push(our.0);
        our_p99.push(our.1);
        let server = Server::start(true, 0);
        let target = format!("GET {}\n", server.url);
        let asked = ["attack", "-rate=5000", "-duration=4s", "-workers=256", "-max-workers=256", "-output=/dev/null"];
        if rival("vegeta", &asked, Some(&target)).is_some() {
            let their = deviation(&server.end()["arrivals"], 5000.0);
            their_p50.push(their.0);
            their_p99.push(their.1);
            p50.push(our.0 / their.0);
            p99.push(our.1 / their.1);
        }
    }
    row("open 5,000/s: deviation of the arrival from the plan, p50 in µs", "<= 30", our_p50);
    row("  by its own account (intended to sent)", "", self_told);
    row("  vegeta, 256 workers", "", their_p50);
    row("  ratio", "<= 0.067", p50);
    row("open 5,000/s: the same, p99 in µs", "", our_p99);
    row("  vegeta, 256 workers", "", their_p99);
    row("  ratio", "<= 0.167", p99);
}

/// 20,000/s: is every planned request sent?
fn all_sent(rounds: usize) {
    let (mut ours, mut late) = (Vec::new(), Vec::new());
    let mut theirs = Vec::new();
    for _ in 0..rounds {
        let server = Server::start(true, 0);
        let told = ours_against(&server, &json!({"rate": 20000, "seconds": 4, "connections": 256}));
        assert_eq!(told["planned"], 80_000);
        late.push(told["pacing_p99_us"].as_f64().unwrap());
        ours.push(server.end()["arrivals"].as_array().unwrap().len() as f64);
        let server = Server::start(true, 0);
        let target = format!("GET {}\n", server.url);
        let asked = ["attack", "-rate=20000", "-duration=4s", "-workers=256", "-max-workers=256", "-output=/dev/null"];
        if rival("vegeta", &asked, Some(&target)).is_some() {
            theirs.push(server.end()["arrivals"].as_array().unwrap().len() as f64);
        }
    }
    row("open 20,000/s for 4 s: requests at the server", "80000", ours);
    row("  how late it woke, p99 in µs", "", late);
    row("  vegeta, 256 workers", "", theirs);
}

/// A server that answers nothing for a second: what do 16 connections tell?
fn frozen(rounds: usize) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let server = Server::start(true, 3000);
        let told = ours_against(&server, &json!({"rate": 1000, "seconds": 8, "connections": 16}));
        ours.push(told["p99_us"].as_f64().unwrap() / truth(&server.end()));
        let server = Server::start(true, 3000);
        let target = format!("GET {}\n", server.url);
        let file = std::env::temp_dir().join(format!("steadfast-bench-{}.bin", std::process::id()));
        let output = format!("-output={}", file.display());
        let asked = ["attack", "-rate=1000", "-duration=8s", "-workers=16", "-max-workers=16", &output];
        if rival("vegeta", &asked, Some(&target)).is_some() {
            let told = Command::new("vegeta").args(["report", "-type=json"]).arg(&file).output().unwrap().stdout;
            let told: Value = serde_json::from_slice(&told).unwrap();
            theirs.push(told["latencies"]["99th"].as_f64().unwrap() / 1000.0 / truth(&server.end()));
        }
        drop(std::fs::remove_file(file));
    }
    row("frozen for 1 s at 1,000/s, 16 connections: reported p99 / true p99", "0.95 to 1.05", ours);
    row("  vegeta, 16 workers", "", theirs);
}

/// What `traceparent` and `baggage` cost: with and without by turns, in one process.
fn traced(rounds: usize) {
    let (server, out) = (Server::start(false, 0), tempfile::tempdir().unwrap());
    let exe = std::env::current_exe().unwrap();
    let mut turns = pinned("1", exe.as_os_str());
    turns.args(["turns", &server.url, &rounds.to_string()]).stderr(Stdio::inherit());
    let output = turns.env("STEADFAST_REAL_TIME", "1").env("STEADFAST_OUT", out.path()).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, what) in [
        ("closed_us", "closed loop, 64 connections: µs of the processor for each request"),
        ("late_p50_us", "open 5,000/s: sent after its intended instant, p50 in µs"),
        ("late_p99_us", "open 5,000/s: the same, p99 in µs"),
    ] {
        let of = |which: usize| -> Vec<f64> {
            told[name].as_array().unwrap().iter().map(|pair| pair[which].as_f64().unwrap()).collect()
        };
        let (without, with) = (of(0), of(1));
        let ratios = without.iter().zip(&with).map(|(without, with)| with / without).collect();
        row(what, "", without);
        row("  with traceparent", "", with);
        row("  ratio", "", ratios);
    }
}

/// Loads with and without a trace, one after the other, as a run has them; all but the trace is the same.
#[derive(Clone)]
struct Turns {
    url: String,
    rounds: usize,
    told: Arc<Mutex<Value>>,
}

impl Background for Turns {
    fn describe(&self) -> String {
        "turns".to_owned()
    }

    fn run(&self, mut scene: Scene) -> BoxFuture<'static, Result<Value, BoxError>> {
        let Self { url, rounds, told } = self.clone();
        Box::pin(async move {
            scene.transport = Arc::new(Network::new(None)?);
            let trace = Trace {
                id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
                root: SpanId::of(7),
                parent: None,
                sampled: true,
                baggage: "steadfast.run=x7k2m9pq".to_owned(),
            };
            let micros = |took: Duration| took.as_secs_f64() * 1e6;
            let mut all = json!({"closed_us": [], "late_p50_us": [], "late_p99_us": []});
            for round in 0..rounds {
                let mut pairs = json!({"closed_us": [0, 0], "late_p50_us": [0, 0], "late_p99_us": [0, 0]});
                // Each comes first as often as the other.
                for which in [round % 2, 1 - round % 2] {
                    scene.trace = (which == 1).then(|| trace.clone());
                    let load = || load::get(url.as_str()).lasting(Duration::from_secs(4)).keep_alive().threads(1);
                    let (closed, before) = (load().concurrency(64).named("closed"), processor());
                    Background::run(&closed, scene.clone()).await?;
                    let requests = closed.recording().ok_or("no recording")?.total().succeeded();
                    pairs["closed_us"][which] = json!(micros(processor() - before) / requests as f64);
                    let open = load().per_second(5000).connections(256).named("open");
                    Background::run(&open, scene.clone()).await?;
                    let late = open.recording().ok_or("no recording")?.total().lateness;
                    pairs["late_p50_us"][which] = json!(micros(late.quantile(0.5)));
                    pairs["late_p99_us"][which] = json!(micros(late.quantile(0.99)));
                }
                for (name, pair) in pairs.as_object().into_iter().flatten() {
                    all[name].as_array_mut().ok_or("a list")?.push(pair.clone());
                }
            }
            *told.lock().unwrap() = all;
            Ok(Value::Null)
        })
    }
}

/// What this process has had of the processor: the same whatever else runs on the machine.
fn processor() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.cast_unsigned(), u32::try_from(spent.tv_nsec).unwrap())
}

fn by_turns(url: &str, rounds: usize) {
    let turns = Turns { url: url.to_owned(), rounds, told: Arc::default() };
    steadfast::block_on(async |cluster| {
        Experiment::without_hypothesis("turns").background(&turns).run(&cluster).await?.assert_verdict(NotJudged);
        Ok(())
    });
    println!("{}", turns.told.lock().unwrap());
}

/// What 64 connections take, and whether that grows.
fn memory(seconds: u64) {
    let server = Server::start(false, 0);
    for (name, asked) in [
        ("closed loop", json!({"concurrency": 64, "seconds": seconds, "memory": true})),
        ("open 5,000/s", json!({"rate": 5000, "seconds": seconds, "connections": 64, "memory": true})),
    ] {
        let told = ours_against(&server, &asked);
        let of = |name: &str| told[name].as_f64().unwrap() / 1024.0;
        row(&format!("memory, {name}, 64 connections: MB after 10 s"), "", vec![of("rss_10s")]);
        row(&format!("  after {seconds} s"), "flat", vec![of("rss_end")]);
        row("  at most", "<= 16", vec![of("rss_most")]);
    }
}

fn row(name: &str, asked: &str, mut values: Vec<f64>) {
    if values.is_empty() {
        println!("{name:<66} not here");
        return;
    }
    values.sort_by(f64::total_cmp);
    let shown = |value: f64| if value < 100.0 { format!("{value:.3}") } else { format!("{value:.0}") };
    let (least, median, most) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    println!("{name:<66} {:>8} {:>8} {:>8}   {asked}", shown(least), shown(median), shown(most));
}

/// Median and p99 of how far from their plan requests arrive, in µs.
fn deviation(arrivals: &Value, rate: f64) -> (f64, f64) {
    let mut arrivals: Vec<f64> = arrivals.as_array().unwrap().iter().map(|at| at.as_f64().unwrap() / 1000.0).collect();
    arrivals.sort_by(f64::total_cmp);
    let mut off: Vec<f64> = (0_u32..).zip(&arrivals).map(|(k, at)| at - f64::from(k) * 1e6 / rate).collect();
    off.sort_by(f64::total_cmp);
    let at = |part: f64| off[((off.len() as f64 * part) as usize).min(off.len() - 1)] - off[0];
    (at(0.5), at(0.99))
}

/// The p99 that users on the plan of 1,000/s had, in µs: when each answer was written, against its intended instant.
fn truth(stamps: &Value) -> f64 {
    let of = |name: &str| -> Vec<f64> {
        let mut all: Vec<f64> =
            stamps[name].as_array().unwrap().iter().map(|at| at.as_f64().unwrap() / 1000.0).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let start = (0_u32..).zip(of("arrivals")).map(|(k, at)| at - f64::from(k) * 1000.0).fold(f64::MAX, f64::min);
    let mut took: Vec<f64> = (0_u32..).zip(of("answers")).map(|(k, at)| at - start - f64::from(k) * 1000.0).collect();
    took.sort_by(f64::total_cmp);
    took[(took.len() as f64 * 0.99).ceil() as usize - 1]
}

/// A command on a core of its own, where that can be said.
fn pinned(core: &str, program: &std::ffi::OsStr) -> Command {
    let several = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    if several && Command::new("taskset").arg("-V").output().is_ok() {
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// What a rival tells; nothing if it is not installed.
fn rival(program: &str, args: &[&str], input: Option<&str>) -> Option<String> {
    Command::new(program).arg("-v").output().ok()?;
    let mut child =
        pinned("1", program.as_ref()).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    child.stdin.take().unwrap().write_all(input.unwrap_or_default().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {args:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ours_against(server: &Server, asked: &Value) -> Value {
    let mut asked = asked.clone();
    asked["url"] = json!(server.url);
    let exe = std::env::current_exe().unwrap();
    let output = pinned("1", exe.as_os_str()).args(["attack", &asked.to_string()]).stderr(Stdio::inherit()).output();
    serde_json::from_slice(&output.unwrap().stdout).unwrap()
}

/// Our generator, in a process of its own.
fn attack(asked: &Value) {
    let seconds = asked["seconds"].as_u64().unwrap();
    let number = |name: &str| asked[name].as_u64().and_then(|n| usize::try_from(n).ok());
    let mut load =
        load::get(asked["url"].as_str().unwrap()).lasting(Duration::from_secs(seconds)).keep_alive().threads(1);
    if let Some(concurrency) = number("concurrency") {
        load = load.concurrency(concurrency);
    }
    if let Some(rate) = asked["rate"].as_f64() {
        load = load.per_second(rate).connections(number("connections").unwrap());
    }
    let attack = load.start().unwrap();
    let mut told = json!({});
    if asked["memory"] == true {
        std::thread::sleep(Duration::from_secs(10));
        told["rss_10s"] = json!(status("VmRSS:"));
        std::thread::sleep(Duration::from_secs(seconds - 10) - Duration::from_millis(300));
        told["rss_end"] = json!(status("VmRSS:"));
    }
    let recording = attack.wait().unwrap();
    told["rss_most"] = json!(status("VmHWM:"));
    let total = recording.total();
    let micros = |took: Duration| took.as_secs_f64() * 1e6;
    told["planned"] = json!(recording.planned);
    told["requests"] = json!(total.succeeded());
    told["p99_us"] = json!(micros(recording.percentile(99.0).0));
    told["lateness_p50_us"] = json!(micros(total.lateness.quantile(0.5)));
    told["pacing_p99_us"] = json!(micros(recording.pacing.quantile(0.99)));
    println!("{told}");
}

/// KB of this process.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// The server in another process. It ends with its standard input.
struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    url: String,
}

impl Server {
    /// Stamps what comes, if it is said; freezes for a second at a request, if it is not 0.
    fn start(stamps: bool, freeze_at: usize) -> Self {
        let exe = std::env::current_exe().unwrap();
        let mut child = pinned("0", exe.as_os_str())
            .args(["serve", if stamps { "stamps" } else { "plain" }, &freeze_at.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, mut output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut port = String::new();
        output.read_line(&mut port).unwrap();
        Self { child, input, output, url: format!("http://127.0.0.1:{}/", port.trim()) }
    }

    /// Ends it; what it noted.
    fn end(mut self) -> Value {
        drop(self.input.take());
        let mut told = String::new();
        self.output.read_to_string(&mut told).unwrap();
        serde_json::from_str(&told).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}

#[derive(Default)]
struct Stamps {
    arrivals: Vec<u64>,
    answers: Vec<u64>,
}

fn serve(stamping: bool, freeze_at: usize) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stamps = Arc::new(Mutex::new(Stamps::default()));
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        let began = Instant::now();
        let now = move || u64::try_from(began.elapsed().as_nanos()).unwrap();
        let (kept, ended) = (stamps.clone(), Arc::new(tokio::sync::Notify::new()));
        let tell = ended.clone();
        std::thread::spawn(move || {
            drop(std::io::stdin().read_to_end(&mut Vec::new()));
            tell.notify_one();
        });
        let accept = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let stamps = kept.clone();
                tokio::spawn(async move {
                    let (mut buffer, mut filled) = ([0; 8192], 0);
                    while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]).await {
                        filled += read;
                        while let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                            buffer.copy_within(end + 4..filled, 0);
                            filled -= end + 4;
                            if stamping {
                                let count = {
                                    let mut stamps = stamps.lock().unwrap();
                                    stamps.arrivals.push(now());
                                    stamps.arrivals.len()
                                };
                                if count == freeze_at {
                                    // All of it stands still, as a process that is stopped.
                                    std::thread::sleep(Duration::from_secs(1));
                                }
                            }
                            if stream.write_all(ANSWER).await.is_err() {
                                return;
                            }
                            if stamping {
                                stamps.lock().unwrap().answers.push(now());
                            }
                        }
                    }
                });
            }
        };
        tokio::select! {
            biased;
            () = ended.notified() => {}
            () = accept => {}
        }
    });
    let stamps = stamps.lock().unwrap();
    println!("{}", json!({"arrivals": stamps.arrivals, "answers": stamps.answers}));
}
