//! `steadfast vegeta attack` against a server on loopback; vegeta reads what it writes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use steadfast::load::vegeta::{Decoder, Record};

use super::vegeta::{OURS, THEIRS, run, values};
use super::{Needs, Outcome};

pub fn trials(needs: &Needs) -> Vec<Trial> {
    vec![
        needs.trial("vegeta::reads_an_attack_of_ours", is_read),
        needs.trial("vegeta::sends_what_vegeta_sends", sends_the_same),
        Trial::test("vegeta::an_attack_counts_of_bodies_what_it_keeps", keeps),
        Trial::test("vegeta::an_attack_follows_as_many_redirects_as_it_is_told", redirects),
        Trial::test("vegeta::an_attack_takes_no_secret_to_another_origin", detours),
        Trial::test("vegeta::a_lazy_attack_sends_each_target_once", lazy),
        Trial::test("vegeta::without_a_rate_workers_are_the_limit", unlimited),
        Trial::test("vegeta::wrong_usage_is_one_error", wrong_usage),
        Trial::test("vegeta::the_first_signal_waits_for_answers", first_signal),
        Trial::test("vegeta::the_second_signal_waits_for_nothing", second_signal),
    ]
}

/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as it came: its first line, its headers, its body.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Answers requests by their path, and remembers them.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    seen: Arc<(Mutex<Vec<Request>>, Condvar)>,
    /// The requests that are being answered now, and the most that ever were.
    at_once: Arc<Mutex<(usize, usize)>>,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let server = Self {
            address: listener.local_addr().expect("it is bound"),
            seen: Arc::default(),
            at_once: Arc::default(),
        };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut writer = stream.try_clone().ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            let (mut headers, mut header) = (BTreeMap::new(), String::new());
            while reader.read_line(&mut header).ok()? > 2 {
                let (name, value) = header.trim_end().split_once(':')?;
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
                header.clear();
            }
            let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let path = line.split(' ').nth(1)?.to_owned();
            let (seen, more) = &*self.seen;
            seen.lock().ok()?.push(Request { line: line.trim_end().to_owned(), headers, body: body.clone() });
            more.notify_all();
            match path.as_str() {
                // Never.
                "/silent" => drop(reader.read_line(&mut line)),
                // Long enough for others to come.
                "/held" => {
                    let mut counts = self.at_once.lock().ok()?;
                    counts.0 += 1;
                    counts.1 = counts.1.max(counts.0);
                    drop(counts);
                    std::thread::sleep(Duration::from_millis(20));
                    self.at_once.lock().ok()?.0 -= 1;
                    writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok()?;
                }
                "/cut" => return None,
                "/half" => return writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").ok(),
                "/down" => writer.write_all(b"HTTP/1.1 503 Down\r\nContent-Length: 4\r\n\r\ndown").ok()?,
                _ if path.starts_with("/away/") => {
                    let to = &path["/away/".len()..];
                    let head =
                        format!("HTTP/1.1 303 See Other\r\nLocation: http://{to}/ok\r\nContent-Length: 0\r\n\r\n");
                    writer.write_all(head.as_bytes()).ok()?;
                }
                "/moved" => {
                    writer.write_all(b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n").ok()?;
                }
                _ => writer.write_all(b"HTTP/1.1 200 OK\r\nX-Two-Words: a\r\nContent-Length: 2\r\n\r\nok").ok()?,
            }
        }
    }

    fn wait_for(&self, count: usize) -> Vec<Request> {
        let (seen, more) = &*self.seen;
        let seen = seen.lock().expect("no panic");
        let (seen, waited) = more.wait_timeout_while(seen, PATIENCE, |seen| seen.len() < count).expect("no panic");
        assert!(!waited.timed_out(), "{} of {count} requests came", seen.len());
        seen.clone()
    }
}

fn records(results: &[u8]) -> Result<Vec<Record>, libtest_mimic::Failed> {
    let (mut decoder, mut record, mut all) = (Decoder::detect(results)?, Record::default(), Vec::new());
    while decoder.read(&mut record)? {
        all.push(record.clone());
    }
    Ok(all)
}

fn attack(arguments: &[&str]) -> Command {
    let mut command = Command::new(OURS[0]);
    command.args(["vegeta", "attack"]).args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn is_read() -> Outcome {
    let (server, folder) = (Server::new(), tempfile::tempdir()?);
    let (targets, results) = (folder.path().join("targets.txt"), folder.path().join("results.gob"));
    let (targets, results) = (targets.to_str().expect("UTF-8"), results.to_str().expect("UTF-8"));
    let at = format!("http://{}", server.address);
    let refused = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    fs::write(
        targets,
        format!(
            "GET {at}/ok?<b>\nGET {at}/down\nGET {at}/moved\nGET {at}/cut\nGET {at}/half\nGET http://{refused}/no\n\
             PUT {at}/put\n@{targets}\nGET http://no.such.host.invalid/\nGET {at}/ok\nGET {at}/ok\n"
        ),
    )?;
    let body = fs::read(targets)?;
    run(
        &OURS,
        &["attack", "-targets", targets, "-rate=50/s", "-duration=400ms", "-name=zürich", "-output", results],
        Stdio::null(),
    )?;

    let report = run(&THEIRS, &["report", "-type=json", results], Stdio::null())?;
    let report: Value = serde_json::from_str(&report)?;
    assert_eq!(report["requests"], 20);
    // ok, moved, put, ok, ok; down; cut, half, refused and a host without an address.
    assert_eq!(report["status_codes"], json!({"200": 10, "503": 2, "0": 8}));
    assert_eq!(report["duration"], 380_000_000, "each at its instant");
    assert!(report["errors"].as_array().is_some_and(|all| all.contains(&json!("503 Service Unavailable"))));

    let mut read = values(&run(&THEIRS, &["encode", results], Stdio::null())?)?;
    read.sort_by_key(|result| result["seq"].as_u64());
    let numbers: Vec<_> = read.iter().map(|result| result["seq"].as_u64()).collect();
    assert_eq!(numbers, (0..20).map(Some).collect::<Vec<_>>());
    assert_eq!(read[0]["url"], format!("{at}/ok?<b>"));
    assert_eq!((&read[0]["attack"], &read[0]["body"]), (&json!("zürich"), &json!("b2s=")));
    assert_eq!((&read[0]["headers"]["X-Two-Words"], &read[0]["bytes_in"]), (&json!(["a"]), &json!(2)));
    assert_eq!((&read[6]["method"], &read[6]["bytes_out"]), (&json!("PUT"), &json!(body.len())));
    assert!(read[5]["error"].as_str().is_some_and(|error| error.contains("refused")), "{}", read[5]);

    let seen = server.wait_for(16);
    let put = seen.iter().find(|request| request.line == "PUT /put HTTP/1.1").expect("it came");
    assert_eq!((put.body.as_slice(), put.headers["x-vegeta-seq"].as_str()), (body.as_slice(), "6"));
    assert_eq!(put.headers["x-vegeta-attack"], "zürich");
    assert!(seen.iter().any(|request| request.line == "GET /ok?%3Cb%3E HTTP/1.1"));
    Ok(())
}

/// The same flags, the same requests: paths, bodies, headers, in the same turn.
fn sends_the_same() -> Outcome {
    let folder = tempfile::tempdir()?;
    let body = folder.path().join("body");
    fs::write(&body, "a body")?;
    let send = |command: &[&str], format: &str| -> Result<Vec<Request>, libtest_mimic::Failed> {
        let server = Server::new();
        let (targets, results) = (folder.path().join("targets"), folder.path().join("results"));
        let text = match format {
            "http" => format!("GET http://{0}/a\nX-One: 1\nHost: else.where\n\nPOST http://{0}/b\n", server.address),
            _ => format!(
                "{{\"method\":\"GET\",\"url\":\"http://{0}/a\",\"header\":{{\"X-One\":[\"1\"],\"Host\":[\"else.where\"]}}}}\n\
                 {{\"method\":\"POST\",\"url\":\"http://{0}/b\"}}\n",
                server.address
            ),
        };
        fs::write(&targets, text)?;
        let files = [targets.to_str(), results.to_str(), body.to_str()].map(|path| path.expect("UTF-8").to_owned());
        let arguments = [
            "attack",
            "-rate=1",
            "-rate",
            "40",
            "-duration=150ms",
            "-header",
            "X-All: all",
            "-header=X-Two: 2",
            "-name=n",
            "-format",
            format,
            "-targets",
            &files[0],
            "-output",
            &files[1],
            "-body",
            &files[2],
        ];
        run(command, &arguments, Stdio::null())?;
        let mut seen = server.wait_for(5);
        seen.sort_by_key(|request| request.headers["x-vegeta-seq"].clone());
        for request in &mut seen {
            // Whose client it is, and that one unzips.
            request.headers.remove("user-agent");
            request.headers.remove("accept-encoding");
            if let Some(host) = request.headers.get_mut("host").filter(|host| **host == server.address.to_string()) {
                "the server".clone_into(host);
            }
        }
        Ok(seen)
    };
    for format in ["http", "json"] {
        let (ours, theirs) = (send(&OURS, format)?, send(&THEIRS, format)?);
        assert_eq!((ours.len(), ours[0].headers["host"].as_str()), (6, "else.where"));
        // vegeta ends by the clock, and may leave out the last one.
        assert_eq!(ours[..5], theirs[..5]);
    }
    Ok(())
}

/// vegeta adds a result without a target for each worker that finds none.
fn lazy() -> Outcome {
    let (server, mut text) = (Server::new(), String::new());
    let folder = tempfile::tempdir()?;
    for number in 0..3 {
        text.push_str(&format!("GET http://{}/{number}\n", server.address));
    }
    let targets = folder.path().join("targets");
    fs::write(&targets, &text)?;
    let targets = targets.to_str().expect("UTF-8");
    for (duration, count) in [("0", 3), ("1h", 3), ("20ms", 2)] {
        let done = attack(&["-lazy", "-rate=100", "-duration", duration, "-targets", targets]).output()?;
        let mut records = records(&done.stdout)?;
        records.sort_by_key(|record| record.seq);
        let urls: String = records.iter().map(|record| format!("GET {}\n", record.url)).collect();
        assert_eq!((records.len(), urls.as_str()), (count, &text[..urls.len()]), "{duration}");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    Ok(())
}

/// One attack's results, with these options.
fn attacked(path: &str, options: &[&str]) -> Result<Vec<Record>, libtest_mimic::Failed> {
    let server = Server::new();
    let (_folder, targets) = target(&server, path)?;
    let done = attack(&[options, &["-rate=100", "-duration=50ms", "-targets", &targets]].concat()).output()?;
    let records = records(&done.stdout)?;
    assert_eq!(records.len(), 5, "{}", String::from_utf8_lossy(&done.stderr));
    Ok(records)
}

fn keeps() -> Outcome {
    for (options, bytes, body) in [(&[][..], 2, "ok"), (&["-max-body=1"], 1, "o"), (&["-max-body=0"], 0, "")] {
        for record in attacked("/ok", options)? {
            assert_eq!((record.code, record.bytes_in, &*record.body), (200, bytes, body.as_bytes()), "{options:?}");
        }
    }
    Ok(())
}

fn redirects() -> Outcome {
    for (option, code, error) in [
        ("-redirects=-1", 302, ""),
        ("-redirects=0", 0, "stopped after 0 redirects"),
        ("-redirects=1", 200, ""),
        ("-keepalive=false", 200, ""),
    ] {
        for record in attacked("/moved", &[option])? {
            let as_told = if error.is_empty() { record.error.is_empty() } else { record.error.contains(error) };
            assert_eq!((record.code, as_told), (code, true), "{option}: {}", record.error);
        }
    }
    Ok(())
}

fn detours() -> Outcome {
    let (server, other) = (Server::new(), Server::new());
    for (to, own) in [(server.address, true), (other.address, false)] {
        let (_folder, targets) = target(&server, &format!("/away/{to}"))?;
        let text = fs::read_to_string(&targets)?.replacen("GET", "POST", 1)
            + "Authorization: secret\nCookie: a=b\nContent-Type: text/plain\nContent-Length: 7\nX-A: b\n";
        fs::write(&targets, text)?;
        let done = attack(&["-rate=100", "-duration=10ms", "-targets", &targets]).output()?;
        assert_eq!(records(&done.stdout)?[0].code, 200, "{}", String::from_utf8_lossy(&done.stderr));
        let last = if own { server.wait_for(2) } else { other.wait_for(1) }.pop().expect("it came");
        assert!(last.line.starts_with("GET /ok"), "{}", last.line);
        for proof in ["authorization", "cookie"] {
            assert_eq!(last.headers.contains_key(proof), own, "{proof}: {:?}", last.headers);
        }
        assert_eq!((last.headers["x-a"].as_str(), last.headers["host"].as_str()), ("b", to.to_string().as_str()));
        assert!(!last.headers.contains_key("content-type") && !last.headers.contains_key("content-length"));
    }
    Ok(())
}

fn unlimited() -> Outcome {
    for rate in ["-rate=0", "-rate=infinity"] {
        let server = Server::new();
        let (_folder, targets) = target(&server, "/held")?;
        let done = attack(&[rate, "-max-workers=3", "-duration=300ms", "-targets", &targets]).output()?;
        let records = records(&done.stdout)?;
        assert!(records.len() > 3 && records.iter().all(|record| record.code == 200), "{rate}: {}", records.len());
        assert_eq!(server.at_once.lock().expect("no panic").1, 3, "{rate}: as many at once as there are workers");
    }
    Ok(())
}

fn wrong_usage() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (good, empty) = (file("good", "GET http://127.0.0.1:1/\n"), file("empty", "\n# nothing\n"));
    let broken = file("broken", "GET http://127.0.0.1:1/\n\nGET nowhere\n");
    let output = folder.path().join("never").to_str().expect("UTF-8").to_owned();
    for (arguments, said) in [
        (vec!["attack", "-targets", &broken], "line 3: bad URL \"nowhere\""),
        (vec!["attack", "-targets", &empty], "no targets to attack"),
        (vec!["attack", "-targets", "/no/such/file"], "/no/such/file"),
        (vec!["attack", "-targets", &good, "-body", "/no/such/file"], "/no/such/file"),
        (vec!["attack", "-targets", &good, "-rate=0"], "-rate=infinity requires setting -max-workers"),
        (vec!["attack", "-targets", &good, "-rate=infinity"], "requires setting -max-workers"),
        (vec!["attack", "-targets", &good, "-rate=1.5"], "1/2s"),
        (vec!["attack", "-targets", &good, "-rte=1"], "--rate"),
        (vec!["attack", "-targets", &good, "-duration=1"], "\"1\" is no duration"),
        (vec!["attack", "-targets", &good, "-header", "x"], "bad header"),
        (vec!["attack", "-targets", &good, "-header", "a b: c"], "a b"),
        (vec!["attack", "-targets", &good, "-format=xml"], "http or json"),
        (vec!["attack", "-targets", &good, "-keepalive=maybe"], "true or false"),
        (vec!["attack", "-targets", &good, "-redirects=-2"], "-2"),
        (vec!["attack", "-targets", &good, "-chunked"], "-chunked is not supported"),
        (vec!["attack", "-targets", &good, "-resolvers=1.1.1.1"], "-resolvers is not supported"),
        (vec!["attack", "-targets", &good, "-dns-ttl=5s"], "-dns-ttl=5s is not supported"),
        (vec!["attack", "-targets", &good, "-connect-to=a:b"], "SRCHOST:SRCPORT"),
        (vec!["attack", "-targets", &good, "-lazy", "-rate=0", "-max-workers=1"], "-lazy needs a rate"),
        (vec!["report", "-type=pie"], "unknown report type \"pie\""),
        (vec!["report", "-type=plot"], "steadfast vegeta plot"),
        (vec!["report", "-buckets=[2ms,1ms]"], "ascend"),
        (vec!["report", "/no/such/file"], "/no/such/file"),
        (vec!["encode", "-to=xml"], "csv, gob or json"),
        (vec!["encode", "-output=/no/such/folder/x", &good], "/no/such/folder/x"),
        (vec!["plot", "-threshold=many"], "many"),
        (vec!["atack"], "attack"),
        (vec!["-profile=cpu", "report"], "-profile is not supported"),
    ] {
        let arguments =
            [&["vegeta"][..], &arguments, &["-output", &output][..usize::from(arguments[0] == "attack") * 2]].concat();
        let done = Command::new(OURS[0]).args(&arguments).stdin(Stdio::null()).output()?;
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(told.contains(said) && done.stdout.is_empty(), "{arguments:?}: {told}");
    }
    assert!(!folder.path().join("never").exists(), "nothing is written before all is well");
    for (arguments, said) in
        [(&["dump"][..], "encode"), (&["dump", "-dumper=csv", "x"], "encode"), (&["report"], "empty")]
    {
        let done = Command::new(OURS[0]).arg("vegeta").args(arguments).stdin(Stdio::null()).output()?;
        let told = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(1) && told.contains(said), "{arguments:?}: {told}");
    }
    for help in [&["-h"][..], &["attack", "-help"], &["report", "--help"], &["plot", "-h"], &["-version"]] {
        let done = Command::new(OURS[0]).arg("vegeta").args(help).stdin(Stdio::null()).output()?;
        assert!(done.status.success() && !done.stdout.is_empty(), "{help:?}");
    }
    Ok(())
}

fn signal(child: &Child) {
    let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(done.is_ok_and(|status| status.success()));
}

fn target(server: &Server, path: &str) -> Result<(tempfile::TempDir, String), std::io::Error> {
    let folder = tempfile::tempdir()?;
    let targets = folder.path().join("targets");
    fs::write(&targets, format!("GET http://{}{path}\n", server.address))?;
    let targets = targets.to_str().expect("UTF-8").to_owned();
    Ok((folder, targets))
}

fn first_signal() -> Outcome {
    let server = Server::new();
    let (_folder, targets) = target(&server, "/ok")?;
    let child = attack(&["-targets", &targets, "-rate=200"]).spawn()?;
    server.wait_for(20);
    signal(&child);
    let done = child.wait_with_output()?;
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let records = records(&done.stdout)?;
    assert!(records.iter().all(|record| record.code == 200));
    assert_eq!(server.wait_for(records.len()).len(), records.len(), "each that was sent is there");
    Ok(())
}

fn second_signal() -> Outcome {
    let server = Server::new();
    let (_folder, targets) = target(&server, "/silent")?;
    let mut child = attack(&["-targets", &targets, "-rate=20", "-timeout=0"]).spawn()?;
    server.wait_for(2);
    // Two that come at once may be seen as one: so they are sent until it ends.
    let begun = std::time::Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if begun.elapsed() > PATIENCE => {
                child.kill()?;
                return Err("it did not end".into());
            }
            None => {
                signal(&child);
                std::thread::yield_now();
            }
        }
    };
    assert_eq!(status.code(), Some(130));
    Ok(())
}
