//! Over real sockets on loopback: own threads, connections, and what went wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use steadfast::load::{Class, Load, Outcome, Recording, Trust, Version};
use steadfast::prelude::*;

use super::server::{Reply, Server};

fn run(load: &Load) -> Recording {
    load.start().expect("it starts").wait().expect("it ends")
}

/// A few requests, soon done.
fn some(server: &Server) -> Load {
    load::get(server.url("/a")).per_second(1000).lasting(millis(20)).timeout(secs(10)).named("some")
}

fn outcomes(recording: &Recording) -> Vec<(Outcome, u64)> {
    recording.total().outcomes.into_iter().collect()
}

#[test]
fn each_planned_request_is_sent_once_and_never_early() {
    let server = Server::start(|_, _| Reply::ok());
    let recording =
        run(&load::post(server.url("/a?b=c")).body("hello").header("X-Own", "1").per_second(500).lasting(secs(1)));
    assert_eq!(outcomes(&recording), [(Outcome::Status(200), 500)]);
    assert_eq!((recording.planned, recording.connections, server.connections()), (Some(500), 500, 500));
    for (number, hit) in (0..500).zip(&recording.hits) {
        assert_eq!((hit.number, hit.intended), (number, millis(number * 2)));
        assert!(hit.sent >= hit.intended && hit.first_byte >= hit.sent && hit.done >= hit.first_byte, "{hit:?}");
        assert_eq!((hit.bytes, hit.bytes_out), (2, 5));
    }
    let seen: Vec<_> = server.requests.try_iter().collect();
    assert_eq!(seen.len(), 500);
    assert_eq!((seen[0].head[0].as_str(), seen[0].body.as_slice()), ("POST /a?b=c HTTP/1.1", b"hello".as_slice()));
    let has = |line: &str| seen[0].head.iter().any(|known| known.eq_ignore_ascii_case(line));
    assert!(has(&format!("host: {}", server.address)) && has("x-own: 1") && has("connection: close"), "{:?}", seen[0]);
}

#[tokio::test]
async fn a_blocked_runtime_does_not_hold_up_the_load() {
    let server = Server::start(|_, _| Reply::ok());
    let attack = load::get(server.url("/")).per_second(200).lasting(millis(250)).start().expect("it starts");
    // This blocks the test's only thread until every request has come.
    let seen = server.requests.iter().take(50).count();
    assert_eq!(seen, 50);
    let recording = attack.finish().await.expect("it ends");
    assert_eq!(outcomes(&recording), [(Outcome::Status(200), 50)]);
}

#[test]
fn a_dropped_load_has_ended() {
    let server = Server::start(|_, _| Reply::ok());
    let (load, records) = load::get(server.url("/")).per_second(500).lasting(Duration::MAX).records();
    let attack = load.start().expect("it starts");
    assert_eq!(server.requests.iter().take(20).count(), 20);
    drop(attack);
    // Its threads are gone: nobody holds the other end.
    assert!(records.iter().flatten().count() <= server.connections() as usize);
    // What it had opened is accepted before what comes now.
    run(&some(&server));
    let before = server.connections();
    run(&some(&server));
    assert_eq!(server.connections(), before + 20, "nobody else sends");
}

#[tokio::test]
async fn a_load_without_end_ends_when_it_is_stopped() {
    use steadfast::experiment::Background;
    let server = Server::start(|_, _| Reply::ok());
    let traffic = load::get(server.url("/")).per_second(500).lasting(Duration::MAX);
    let attack = traffic.start().expect("it starts");
    attack.stopper().stop();
    let stopped = attack.finish().await.expect("it ends");
    assert!(stopped.stopped && stopped.invalid().is_none() && stopped.planned.is_none());
    assert_eq!(traffic.describe(), format!("GET {}, 500/s", server.url("/")));
}

#[test]
fn what_is_under_way_ends_when_a_load_is_stopped() {
    let mut server = Server::start(|number, _| if number == 0 { Reply::Held } else { Reply::ok() });
    let attack = load::get(server.url("/")).per_second(100).lasting(Duration::MAX).start().expect("it starts");
    assert_eq!(server.requests.iter().take(5).count(), 5);
    attack.stop();
    drop(server.hold.take());
    let recording = attack.wait().expect("it ends");
    assert!(recording.hits.iter().any(|hit| hit.number == 0 && hit.outcome == Outcome::Status(200)));
    assert!(recording.stopped && recording.hits.len() >= 5);
}

#[test]
fn connections_are_kept_where_that_is_asked_for() {
    let server = Server::start(|_, _| Reply::ok());
    let closed = load::get(server.url("/")).concurrency(3).lasting(Duration::MAX).keep_alive();
    let attack = closed.start().expect("it starts");
    // Until each has sent more than once.
    let mut of = BTreeMap::new();
    while of.len() < 3 || of.values().any(|sent| *sent < 2) {
        *of.entry(server.requests.recv().expect("one comes").connection).or_insert(0) += 1;
    }
    attack.stop();
    let recording = attack.wait().expect("it ends");
    let total = recording.total();
    assert!(total.requests() >= 6 && total.success_ratio() == 1.0, "{:?}", total.outcomes);
    assert_eq!((recording.connections, server.connections()), (3, 3));
    let open = run(&some(&server).keep_alive().connections(2));
    assert_eq!(outcomes(&open), [(Outcome::Status(200), 20)]);
    assert!((1..=2).contains(&open.connections), "{}", open.connections);
}

#[test]
fn requests_wait_for_a_connection_with_their_intended_instant() {
    let mut server = Server::start(|number, _| if number == 0 { Reply::Held } else { Reply::ok() });
    let load = load::get(server.url("/")).per_second(1000).lasting(millis(100)).keep_alive().connections(1);
    let attack = load.start().expect("it starts");
    let first = server.requests.recv().expect("one comes");
    assert!(server.requests.try_recv().is_err(), "one connection, one request");
    // The others become due meanwhile.
    let due = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    due.block_on(async { tokio::time::sleep(millis(250)).await });
    drop(server.hold.take());
    let recording = attack.wait().expect("it ends");
    assert_eq!(outcomes(&recording), [(Outcome::Status(200), 100)]);
    assert_eq!((first.connection, server.connections()), (0, 1));
    for hit in &recording.hits {
        assert_eq!(hit.intended, millis(hit.number));
        assert!(hit.latency() >= hit.service());
    }
    assert!(recording.hits[1..].iter().all(|hit| hit.sent >= recording.hits[0].done), "they waited");
    let told = recording.invalid().expect("1 of 100 waited for longer than a tenth of a second");
    assert!(told.contains("free connection"), "{told}");
}

#[test]
fn each_failure_has_its_class() {
    let within = |timeout, reply: fn() -> Reply| {
        let server = Server::start(move |_, _| reply());
        let recording = run(&some(&server).timeout(timeout));
        (outcomes(&recording), recording.errors.keys().cloned().collect::<Vec<_>>())
    };
    let all = |class| vec![(Outcome::NoAnswer(class), 20)];
    assert_eq!(within(millis(300), || Reply::Held).0, all(Class::TimeOut));
    // The others end by themselves, however busy this machine is.
    let class = |reply| within(secs(60), reply);
    assert_eq!(class(|| Reply::Last(Vec::new())).0, all(Class::Reset));
    assert_eq!(
        class(|| Reply::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec())).0,
        all(Class::Reset)
    );
    assert_eq!(class(|| Reply::Last(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())).0, all(Class::Reset));
    let (garbage, told) = class(|| Reply::Last(b"\x00\x01 what is this\r\n\r\n".to_vec()));
    assert_eq!(garbage, all(Class::Protocol));
    assert!(told[0].contains("HTTP"), "{told:?}");
    assert_eq!(class(|| Reply::status(503, "", "")).0, [(Outcome::Status(503), 20)]);

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = run(&load::get(format!("http://{nobody}/")).per_second(100).lasting(millis(100)));
    assert_eq!(outcomes(&refused), [(Outcome::NoAnswer(Class::Connect), 10)]);
    let kept = run(&load::get(format!("http://{nobody}/")).per_second(100).lasting(millis(100)).keep_alive());
    assert_eq!(outcomes(&kept), [(Outcome::NoAnswer(Class::Connect), 10)]);
    assert!(refused.errors.keys().all(|text| text.contains(&nobody.to_string())), "{:?}", refused.errors);

    let unknown = run(&load::get("http://no-such-name.invalid/").per_second(100).lasting(millis(20)));
    assert_eq!(outcomes(&unknown), [(Outcome::NoAnswer(Class::Name), 2)]);
    let server = Server::start(|_, _| Reply::ok());
    let plain = load::get(server.url("/").replace("http:", "https:")).per_second(100).lasting(millis(20));
    let spoke_http = outcomes(&run(&plain.timeout(millis(300))));
    assert!(
        matches!(spoke_http[..], [(Outcome::NoAnswer(Class::Tls | Class::TimeOut | Class::Reset), 2)]),
        "{spoke_http:?}"
    );
}

#[test]
fn a_server_that_closes_each_connection_is_no_failure() {
    // It says nothing about closing, so that a kept connection is found closed by the next request.
    let server = Server::start(|_, _| Reply::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()));
    let recording = run(&load::get(server.url("/")).per_second(200).lasting(millis(200)).keep_alive());
    assert_eq!(outcomes(&recording), [(Outcome::Status(200), 40)]);
    // What is no repetition is not sent twice.
    let post = run(&load::post(server.url("/")).per_second(200).lasting(millis(200)).keep_alive());
    assert_eq!((outcomes(&post), post.retries), (vec![(Outcome::Status(200), 40)], 0));
}

#[test]
fn redirects_are_answers_unless_they_are_followed() {
    let other = Server::start(|_, _| Reply::status(200, "", "elsewhere"));
    let away = other.url("/there");
    let server = Server::start(move |_, line| match line.split(' ').nth(1) {
        Some("/a") => Reply::status(302, "location: b?x=1\r\n", ""),
        Some("/b?x=1") => Reply::status(307, &format!("location: {away}\r\n"), ""),
        Some("/loop") => Reply::status(301, "location: /loop\r\n", ""),
        _ => Reply::status(404, "", ""),
    });
    assert_eq!(outcomes(&run(&some(&server))), [(Outcome::Status(302), 20)]);
    let followed = run(&some(&server).redirects(10).keep_alive());
    assert_eq!(outcomes(&followed), [(Outcome::Status(200), 20)]);
    assert!(followed.hits.iter().all(|hit| hit.bytes == 9));
    let circle = load::get(server.url("/loop")).per_second(100).lasting(millis(50)).redirects(3);
    let circle = run(&circle);
    assert_eq!(outcomes(&circle), [(Outcome::NoAnswer(Class::Protocol), 5)]);
    assert_eq!(circle.errors.keys().collect::<Vec<_>>(), ["stopped after 3 redirects"]);
}

#[test]
fn each_request_can_be_had_in_full() {
    let server = Server::start(|number, _| match number % 2 {
        0 => Reply::status(200, "x-a: b\r\n", "a long body"),
        _ => Reply::Last(Vec::new()),
    });
    let load = load::get(server.url("/a")).per_second(200).lasting(millis(100)).keeping(6);
    let (load, records) = load.number_header("x-number".parse().unwrap()).records();
    let recording = run(&load);
    drop(load);
    let all: Vec<_> = records.into_iter().flatten().collect();
    assert_eq!((all.len(), recording.records_lost), (20, 0));
    let numbers: BTreeSet<_> = all.iter().map(|record| record.hit.number).collect();
    assert_eq!(numbers, (0..20).collect());
    for record in &all {
        assert_eq!((record.method.as_str(), &*record.url), ("GET", server.url("/a").as_str()));
        assert_eq!(Duration::try_from(record.sent.duration_since(recording.started)).unwrap(), record.hit.sent);
        match record.hit.outcome {
            Outcome::Status(200) => {
                assert_eq!(
                    (record.body.as_slice(), record.hit.bytes, &record.headers["x-a"]),
                    (b"a long".as_slice(), 11, &"b".parse().unwrap())
                );
            }
            _ => assert!(record.error.is_some() && record.body.is_empty()),
        }
    }
    let sent: BTreeSet<_> =
        server.requests.try_iter().flat_map(|seen| seen.head).filter(|l| l.starts_with("x-number")).collect();
    assert_eq!(sent.len(), 20);
}

#[test]
fn chunked_answers_and_answers_that_end_with_their_connection_are_whole() {
    let chunked = || {
        Reply::Bytes(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n".to_vec(),
        )
    };
    let server = Server::start(move |number, _| match number % 2 {
        0 => chunked(),
        _ => Reply::Last(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec()),
    });
    let recording = run(&some(&server).keep_alive().connections(1));
    assert_eq!(outcomes(&recording), [(Outcome::Status(200), 20)]);
    let lengths: BTreeSet<_> = recording.hits.iter().map(|hit| hit.bytes).collect();
    assert_eq!(lengths, BTreeSet::from([7, 13]));
}

#[test]
fn http2_shares_one_connection() {
    let (address, connections) = super::server::http2(false);
    let load = load::get(format!("http://{address}/x")).per_second(500).lasting(millis(200)).version(Version::Http2);
    let recording = run(&load.timeout(secs(10)).connections(1));
    assert_eq!(outcomes(&recording), [(Outcome::Status(200), 100)]);
    assert_eq!((recording.connections, connections.load(std::sync::atomic::Ordering::SeqCst)), (1, 1));
    assert!(recording.hits.iter().all(|hit| hit.bytes == 5));
}

#[test]
fn tls_is_believed_as_far_as_it_is_said() {
    let (address, connections) = super::server::http2(true);
    let asked = |trust: Trust, version: Version| {
        let load = load::get(format!("https://localhost:{}/x", address.port())).per_second(100).lasting(millis(100));
        run(&load.timeout(secs(10)).trust(trust).version(version).keep_alive().connections(1))
    };
    let root = || Trust::Files(vec![super::server::tls_file("root.pem")]);
    for (trust, version) in [
        (root(), Version::Http1),
        (root(), Version::Http2OverTls),
        (root(), Version::Http2),
        (Trust::Anyone, Version::Http2OverTls),
    ] {
        let recording = asked(trust, version);
        assert_eq!(outcomes(&recording), [(Outcome::Status(200), 10)], "{version:?}: {:?}", recording.errors);
        assert_eq!(recording.connections, 1);
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 4);
    let doubted = asked(Trust::Machine, Version::Http1);
    assert_eq!(outcomes(&doubted), [(Outcome::NoAnswer(Class::Tls), 10)]);
    let told = doubted.errors.keys().next().expect("an error");
    assert!(told.contains("TLS with localhost failed") && told.contains("certificate"), "{told}");
    // A certificate that vouches for itself is its own root; for another name it is not.
    let (address, _) = super::server::http2_as(Some("self-signed.pem"));
    for (host, trusted, outcome) in [
        ("localhost", "self-signed.pem", Outcome::Status(200)),
        ("127.0.0.1", "self-signed.pem", Outcome::NoAnswer(Class::Tls)),
        ("localhost", "root.pem", Outcome::NoAnswer(Class::Tls)),
    ] {
        let load = load::get(format!("https://{host}:{}/x", address.port())).per_second(100).lasting(millis(50));
        let load = load.trust(Trust::Files(vec![super::server::tls_file(trusted)]));
        assert_eq!(outcomes(&run(&load.timeout(secs(10)))), [(outcome, 5)], "{host} by {trusted}");
    }
    let missing = load::get("https://localhost:1/").trust(Trust::Files(vec!["/no/such.pem".into()]));
    let error = missing.start().err().expect("it has no root").to_string();
    assert!(error.contains("/no/such.pem"), "{error}");
}

#[test]
fn a_unix_socket_takes_the_place_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 1024];
            let read = stream.read(&mut head).unwrap_or(0);
            let ok = head[..read].starts_with(b"GET /x HTTP/1.1\r\n");
            let status = if ok { "200 OK" } else { "400 Bad" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let recording = run(&load::get("http://anything/x").per_second(100).lasting(millis(50)).unix_socket(path));
    assert_eq!(outcomes(&recording), [(Outcome::Status(200), 5)]);
}

/// One of three processes.
#[test]
#[ignore = "run by three_processes_are_one_load"]
fn a_share_of_a_load() {
    let told = |name: &str| std::env::var(name).expect("the parent says it");
    let load = load::get(told("LOAD_URL")).per_second(300).lasting(millis(500)).named("shared").threads(2);
    let recording = run(&load.share(told("LOAD_SHARE").parse().unwrap(), 3));
    std::fs::write(told("LOAD_OUT"), serde_json::to_string(&recording).unwrap()).unwrap();
}

#[test]
fn three_processes_are_one_load() {
    let server = Server::start(|number, _| if number % 10 == 0 { Reply::status(500, "", "") } else { Reply::ok() });
    let folder = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..3)
        .map(|k| {
            let out = folder.path().join(format!("{k}.json"));
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "load::sockets::a_share_of_a_load", "--ignored"]);
            command.env("LOAD_URL", server.url("/")).env("LOAD_SHARE", k.to_string()).env("LOAD_OUT", &out);
            (command.stdout(std::process::Stdio::null()).spawn().unwrap(), out)
        })
        .collect();
    let mut parts: Vec<Recording> = Vec::new();
    for (mut child, out) in children {
        assert!(child.wait().unwrap().success());
        parts.push(serde_json::from_str(&std::fs::read_to_string(out).unwrap()).unwrap());
    }
    let mut merged = parts[2].clone();
    merged.merge(&parts[0]).unwrap();
    merged.merge(&parts[1]).unwrap();
    assert_eq!(merged.planned, Some(150));
    let numbers: Vec<_> = merged.hits.iter().map(|hit| hit.number).collect();
    assert_eq!(numbers, (0..150).collect::<Vec<_>>());
    assert!(
        merged
            .hits
            .iter()
            .all(|hit| hit.intended.as_nanos().abs_diff(u128::from(hit.number) * 1_000_000_000 / 300) <= 1)
    );
    let total = merged.total();
    assert_eq!((total.outcomes[&Outcome::Status(500)], total.requests()), (15, 150));
    // Counted again from each request: the sum is what one process would have counted.
    let mut latency: Vec<_> = merged.hits.iter().map(load::Hit::latency).collect();
    latency.sort();
    assert_eq!((total.latency.min(), total.latency.max()), (latency[0], latency[149]));
    assert_eq!(merged.percentile(50.0).0, latency[74]);
    assert_eq!(server.requests.try_iter().count(), 150);
}
