//! Documents with what the real Chaos Toolkit did with them: each is run, and equals the original or is covered by a rule
//! of docs/deviations.md. `make cases`; STEADFAST_CASES names the folder.

mod rules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::replay::{Case, Program, Seen, Served, differences, get};
use super::{Needs, Outcome, find};
use libtest_mimic::{Failed, Trial};
use steadfast::clock::Stopwatch;

pub fn trials() -> (Needs, Vec<Trial>) {
    let folder = std::env::var_os("STEADFAST_CASES").map(PathBuf::from).filter(|folder| folder.is_dir());
    let found = match (&folder, find("python3")) {
        (None, _) => {
            Err("STEADFAST_CASES names no folder with documents of Chaos Toolkit; run `make cases`".to_owned())
        }
        (_, None) => Err("the server of these documents needs python3".to_owned()),
        _ => Ok(()),
    };
    let needs = Needs::new("cases", found);
    let trial = needs.trial("cases::equal_or_covered_by_a_rule", move || replayed(&folder.expect("it is there")));
    (needs, vec![trial])
}

fn replayed(folder: &Path) -> Outcome {
    let only = std::env::var("STEADFAST_CASE").unwrap_or_default();
    let cases: Vec<_> = Case::all(folder).into_iter().filter(|case| case.name.contains(&only)).collect();
    if cases.is_empty() {
        return Err(format!("no case {only:?} in {}", folder.display()).into());
    }
    let server = Server::start(folder)?;
    let served = &server.served;
    let (mut equal, mut by_rule, mut unexplained) = (0, BTreeMap::<&str, Vec<&str>>::new(), Vec::new());
    for case in &cases {
        let seen = Seen::of(case, &Program::ours(), served)?;
        let found = differences(case, &seen, served);
        if found.is_empty() {
            equal += 1;
        }
        for difference in found {
            match rules::covering(case, &seen, &difference) {
                Some(rule) => by_rule.entry(rule).or_default().push(&case.name),
                None => unexplained.push(format!("{}: {difference}\n    {}", case.name, seen.last_words())),
            }
        }
    }
    let covered = cases.len() - equal - unexplained.len().min(cases.len());
    println!("{} documents: {equal} equal to the original, {covered} covered by rules", cases.len());
    for (rule, mut names) in by_rule {
        names.dedup();
        println!("  {rule}: {}: {}", names.len(), names.join(", "));
    }
    if unexplained.is_empty() { Ok(()) } else { Err(unexplained.join("\n").into()) }
}

/// Their port is in the documents.
const PORT: u16 = 18765;

/// The HTTP server of the documents.
struct Server {
    child: Child,
    served: Served,
}

impl Server {
    fn start(folder: &Path) -> Result<Self, Failed> {
        let mut command = Command::new("python3");
        command.arg(folder.join("server.py")).arg(PORT.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { child: command.spawn()?, served: Served { address: format!("127.0.0.1:{PORT}") } };
        let since = Stopwatch::start();
        while get(&server.served, "/reset").is_none() {
            if since.elapsed() > Duration::from_secs(20) {
                return Err("the documents' server does not answer".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is only to be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
