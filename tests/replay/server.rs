//! What the documents ask by HTTP: a small server, a thread a connection.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::Served;

/// A server until the process ends.
pub struct Server {
    pub served: Served,
}

#[derive(Default)]
struct State {
    /// Requests by their path.
    counted: BTreeMap<String, u32>,
    /// What was posted to `/notify/NAME`.
    noted: BTreeMap<String, Vec<Value>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    body: String,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Server {
    /// Serves the files of a folder at `/documents/`, among others.
    pub fn start(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let served = Served { address: listener.local_addr().expect("it is bound").to_string() };
        let (state, folder) = (Arc::new(Mutex::new(State::default())), Arc::new(folder));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, folder) = (state.clone(), folder.clone());
                // Who hangs up early is of no interest.
                std::thread::spawn(move || serve(stream, &state, &folder));
            }
        });
        Self { served }
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, folder: &std::path::Path) -> std::io::Result<()> {
    let Some(request) = read(&stream)? else { return Ok(()) };
    if request.path == "/never" {
        // Until the other side gives up.
        stream.read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    let answer = answer(&request, state, folder);
    write!(stream, "HTTP/1.1 {} OK\r\nContent-Length: {}\r\n", answer.status, answer.body.len())?;
    for (name, value) in &answer.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "Connection: close\r\n\r\n{}", answer.body)?;
    stream.shutdown(Shutdown::Write)
}

fn read(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut headers) = (String::new(), BTreeMap::new());
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Request { method: method.to_owned(), path: path.to_owned(), query: query.to_owned(), headers, body }))
}

fn answer(request: &Request, state: &Mutex<State>, folder: &std::path::Path) -> Answer {
    let of =
        |status, kind: &str, body: String| Answer { status, headers: vec![("Content-Type", kind.to_owned())], body };
    let json = |value: Value| of(200, "application/json", value.to_string());
    let to = |place: &str| Answer { status: 302, headers: vec![("Location", place.to_owned())], body: String::new() };
    let parts: Vec<_> = request.path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["text"] => of(200, "text/plain", "a fine day".to_owned()),
        ["echo"] => json(json!({
            "method": request.method, "query": request.query, "headers": request.headers, "body": request.body,
            "json": serde_json::from_str(&request.body).unwrap_or(Value::Null),
        })),
        ["shelves"] => json(json!({
            "open": true, "town": "Ghent", "shelves": [
                {"goods": "tea", "left": 3, "tags": ["dry", "loose"]}, {"goods": "salt", "left": 0, "tags": []},
                {"goods": "rice", "left": 12, "tags": ["dry"]},
            ],
        })),
        ["charset"] => of(200, "application/json; charset=utf-8", r#"{"left": 3}"#.to_owned()),
        ["broken"] => of(200, "application/json", r#"{"left": "#.to_owned()),
        ["status", code] => of(code.parse().expect("a status"), "text/plain", "told".to_owned()),
        ["there"] => to("/text"),
        ["round"] => to("/round"),
        // The first so many requests are answered well.
        ["first", many, _] => {
            let mut state = state.lock().expect("nobody died");
            let count = state.counted.entry(request.path.clone()).or_default();
            *count += 1;
            of(if *count <= many.parse().expect("a number") { 200 } else { 503 }, "text/plain", count.to_string())
        }
        ["notify", name] => {
            let body = serde_json::from_str(&request.body).unwrap_or(Value::Null);
            let note = json!({"method": request.method, "body": body});
            state.lock().expect("nobody died").noted.entry((*name).to_owned()).or_default().push(note);
            of(200, "text/plain", String::new())
        }
        ["notes", name] => json(json!(state.lock().expect("nobody died").noted.get(*name))),
        ["documents", name] => match std::fs::read_to_string(folder.join(name)) {
            Ok(text) => of(200, if name.ends_with("yaml") { "application/x-yaml" } else { "application/json" }, text),
            Err(error) => of(404, "text/plain", error.to_string()),
        },
        _ => of(404, "text/plain", format!("there is no {}", request.path)),
    }
}
