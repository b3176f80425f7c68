//! Prints what running a document costs, ours and Chaos Toolkit's by turns: `make bench-documents`. An experiment with an
//! empty method, and what each HTTP activity adds to it, of one with a hundred on loopback. Wall time, and the most memory
//! that was resident. `STEADFAST_CHAOS` names the program of Chaos Toolkit, else it is `chaos` on the search path; without
//! it ours is told alone. No assertions, for machines differ.

mod shown;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use steadfast::clock::Stopwatch;

use self::shown::told;

const ROUNDS: usize = 9;
const ACTIVITIES: u32 = 100;

/// Requests that the server has answered.
static ANSWERED: AtomicU32 = AtomicU32::new(0);

/// What one program has cost.
#[derive(Default)]
struct Costs {
    trivial: Vec<Duration>,
    requests: Vec<Duration>,
    /// KiB.
    resident: Vec<u64>,
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve();
    let (trivial, requests) = (folder.path().join("trivial.json"), folder.path().join("requests.json"));
    write(&trivial, &[]);
    let request = |number| {
        let provider = json!({"type": "http", "url": format!("http://{server}/")});
        json!({"type": "probe", "name": format!("request {number}"), "provider": provider})
    };
    write(&requests, &(0..ACTIVITIES).map(request).collect::<Vec<_>>());

    let chaos = std::env::var_os("STEADFAST_CHAOS").unwrap_or_else(|| "chaos".into());
    let programs = [OsString::from(env!("CARGO_BIN_EXE_steadfast")), chaos];
    let mut costs = [Costs::default(), Costs::default()];
    let mut absent = None;
    for _ in 0..ROUNDS {
        for (program, costs) in programs.iter().zip(&mut costs) {
            if absent.as_ref() == Some(program) {
                continue;
            }
            let cost = round(program, folder.path(), &trivial, &requests, costs);
            if let Err(why) = cost {
                assert!(*program != programs[0], "{why}");
                println!("Chaos Toolkit is left out: {why}; STEADFAST_CHAOS names its program");
                absent = Some(program.clone());
            }
        }
    }
    let [ours, theirs] = costs;
    let compared = !theirs.resident.is_empty();
    let ratios = |of: fn(&Costs) -> Vec<f64>| {
        let mut ratios: Vec<f64> = of(&theirs).iter().zip(of(&ours)).map(|(their, our)| their / our).collect();
        ratios.sort_by(f64::total_cmp);
        format!("{:.1} {:.1} {:.1}", ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1])
    };
    let wall = compared.then(|| ratios(|costs| costs.trivial.iter().map(Duration::as_secs_f64).collect()));
    let memory = compared.then(|| ratios(|costs| costs.resident.iter().map(|kib| *kib as f64).collect()));
    let each = compared.then(|| ratios(|costs| costs.each().iter().map(Duration::as_secs_f64).collect()));
    for (who, costs) in [("steadfast", ours), ("chaos", theirs)] {
        if costs.resident.is_empty() {
            continue;
        }
        let each = costs.each();
        let Costs { trivial, mut resident, .. } = costs;
        told(&format!("{who} run, an empty method"), "a tenth of chaos", trivial);
        told(&format!("{who} run, each HTTP activity of {ACTIVITIES}"), "less than chaos", each);
        resident.sort_unstable();
        let mib = |at: usize| resident[at] as f64 / 1024.0;
        let (least, median, most) = (mib(0), mib(resident.len() / 2), mib(resident.len() - 1));
        println!("{who} run, an empty method: resident at most, MiB: {least:.1} {median:.1} {most:.1}");
    }
    for (what, ratio) in [("time", wall), ("memory", memory), ("time of each activity", each)] {
        if let Some(ratio) = ratio {
            println!("chaos to steadfast, pair by pair, {what}: {ratio}");
        }
    }
}

impl Costs {
    /// What each activity adds to the median of the runs without any.
    fn each(&self) -> Vec<Duration> {
        let mut bare = self.trivial.clone();
        bare.sort();
        let bare = bare.get(bare.len() / 2).copied().unwrap_or_default();
        self.requests.iter().map(|many| many.saturating_sub(bare) / ACTIVITIES).collect()
    }
}

/// One of each, one after another.
fn round(program: &OsString, folder: &Path, trivial: &Path, requests: &Path, costs: &mut Costs) -> Result<(), String> {
    let (bare, _) = run(program, folder, trivial, false)?;
    let answered = ANSWERED.load(Ordering::SeqCst);
    let (many, _) = run(program, folder, requests, false)?;
    assert_eq!(ANSWERED.load(Ordering::SeqCst) - answered, ACTIVITIES, "each activity sends a request");
    let (_, resident) = run(program, folder, trivial, true)?;
    costs.trivial.push(bare);
    costs.requests.push(many);
    costs.resident.push(resident);
    Ok(())
}

/// How long a run takes or, if that is what is looked at, how many KiB of it were resident at most.
fn run(program: &OsString, folder: &Path, document: &Path, memory: bool) -> Result<(Duration, u64), String> {
    let mut command = Command::new(program);
    command.args(["--no-version-check", "--no-log-file", "run", "--journal-path"]).arg(folder.join("journal.json"));
    command.arg(document).current_dir(folder).env_remove("STEADFAST_CLUSTER");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let watch = Stopwatch::start();
    let name = program.to_string_lossy();
    let mut child = command.spawn().map_err(|error| format!("{name} cannot be run ({error})"))?;
    let most = if memory { watched(&mut child) } else { 0 };
    let status = child.wait().map_err(|error| error.to_string())?;
    let took = watch.elapsed();
    if status.success() { Ok((took, most)) } else { Err(format!("{name} ended with {status}")) }
}

/// The most that was resident, which the kernel keeps as long as the process lives.
fn watched(child: &mut Child) -> u64 {
    let path = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while matches!(child.try_wait(), Ok(None)) {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        most = kib.unwrap_or(most).max(most);
    }
    most
}

fn write(path: &Path, method: &[Value]) {
    let document = json!({"title": "What it costs", "description": "Of a run itself.", "method": method});
    std::fs::write(path, document.to_string()).expect("written");
}

/// A server on loopback that says yes.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
    address
}

/// One request of a connection, which is then closed.
fn answer(mut stream: TcpStream) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => read.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    ANSWERED.fetch_add(1, Ordering::SeqCst);
    // Who has gone needs no answer.
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
}
