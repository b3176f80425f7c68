//! `steadfast run` on a real pseudo-terminal: what a person sees, and what is left when it is over.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use serde_json::{Value, json};

use crate::load::server::{Reply, Server};

/// A terminal with the command on it.
struct Terminal {
    master: File,
    /// The terminal's own side, so that its settings can be read after the end.
    slave: File,
    child: Child,
    parser: vt100::Parser,
    raw: Vec<u8>,
}

impl Terminal {
    /// Runs the command in a folder, as the leader of a session of its own, so that the terminal is its own.
    fn start(folder: &Path, arguments: &[&str], (columns, rows): (u16, u16), set: &[(&str, &str)]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        resize(&master, (columns, rows));
        let slave = File::options().read(true).write(true).open(name).unwrap();
        let stream = || Stdio::from(slave.try_clone().unwrap());
        let child = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_steadfast")])
            .args(arguments)
            .current_dir(folder)
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR")
            .env_remove("CLICOLOR_FORCE")
            .env("TERM", "xterm-256color")
            .env("HOME", folder)
            .env("STEADFAST_OUT", folder.join("out"))
            .envs(set.iter().copied())
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .expect("setsid of util-linux is there");
        let parser = vt100::Parser::new(rows, columns, 1000);
        Self { master: File::from(master), slave, child, parser, raw: Vec::new() }
    }

    /// Reads until the screen is so. There is no time-out but the test's own: what never comes ends with the command.
    fn until(&mut self, what: &str, is: impl Fn(&str) -> bool) {
        while !is(&self.parser.screen().contents()) {
            // Our own handle on its side keeps the terminal open: its end has to be asked for.
            assert!(self.child.try_wait().unwrap().is_none(), "{what} never came:\n{}", self.told());
            self.read();
        }
    }

    /// Reads until a text was written after so many bytes, wherever on the screen.
    fn written(&mut self, at: usize, text: &str) -> String {
        loop {
            let after = String::from_utf8_lossy(&self.raw[at..]).into_owned();
            if after.contains(text) {
                return after;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "{text:?} was never written:\n{}", self.told());
            self.read();
        }
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        let mut waiting = [rustix::event::PollFd::new(&self.master, rustix::event::PollFlags::IN)];
        let within = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        if rustix::event::poll(&mut waiting, Some(&within)).unwrap() > 0 {
            let read = self.master.read(&mut bytes).unwrap();
            self.raw.extend(&bytes[..read]);
            self.parser.process(&bytes[..read]);
        }
    }

    fn resize(&mut self, (columns, rows): (u16, u16)) {
        resize(&self.master, (columns, rows));
        self.parser.screen_mut().set_size(rows, columns);
    }

    fn told(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// Waits for the end, and looks whether the terminal is as it was.
    fn end(mut self) -> (ExitStatus, String, String) {
        let before = tcgetattr(&self.slave).unwrap();
        let status = loop {
            let ended = self.child.try_wait().unwrap();
            self.read();
            if let Some(status) = ended {
                break status;
            }
        };
        while {
            let before = self.raw.len();
            self.read();
            self.raw.len() > before
        } {}
        let after = tcgetattr(&self.slave).unwrap();
        assert_eq!((after.local_modes, after.output_modes), (before.local_modes, before.output_modes));
        let screen = self.parser.screen();
        assert!(!screen.hide_cursor() && !screen.alternate_screen(), "{}", self.told());
        assert_eq!(screen.cursor_position().1, 0, "the prompt comes on a line of its own:\n{}", screen.contents());
        (status, screen.contents(), self.told())
    }
}

fn resize(master: impl std::os::fd::AsFd, (columns, rows): (u16, u16)) {
    let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).unwrap();
}

/// A document with a load, a safeguard and pauses, whose names would do something to a terminal.
fn document(folder: &Path, server: &Server, seconds: f64) {
    let url = server.url("/");
    std::fs::write(folder.join("targets.txt"), format!("GET {url}\n")).unwrap();
    let probe = json!({
        "type": "probe", "name": "the shop answers\u{1b}[2J", "tolerance": 200,
        "provider": {"type": "http", "url": url},
    });
    let mut guarded = probe.clone();
    guarded["frequency"] = json!(0.2);
    let provider = json!({
        "type": "python", "module": "chaosaddons.controls.safeguards", "arguments": {"probes": [guarded]},
    });
    let hostile = format!("customers \u{1b}]0;owned\u{7} \u{9b}31m {}", "long ".repeat(60));
    let attack = format!("attack -targets=targets.txt -rate=50 -duration={}ms -output=hits.bin", seconds * 1000.0);
    let document = json!({
        "title": "hostile \u{1b}[31mtitle\r\nINFO] forged", "description": "for a terminal",
        "controls": [{"name": "guard", "provider": provider}],
        "steady-state-hypothesis": {"title": "it answers", "probes": [probe]},
        "method": [
            {"type": "action", "name": hostile, "background": true,
             "provider": {"type": "process", "path": "vegeta", "arguments": attack}},
            {"type": "probe", "name": "look", "pauses": {"before": seconds}, "provider": {"type": "http", "url": url}},
        ],
    });
    std::fs::write(folder.join("x.json"), serde_json::to_vec(&document).unwrap()).unwrap();
}

fn server() -> Server {
    Server::start(|number, _| if number % 10 == 9 { Reply::status(503, "", "") } else { Reply::ok() })
}

/// The codes for terminals in a text, each once, in their order.
fn codes(text: &str) -> Vec<String> {
    let mut all: Vec<String> = text
        .split('\u{1b}')
        .skip(1)
        .map(|rest| {
            let end = rest.char_indices().find(|(at, c)| *at > 0 && c.is_ascii_alphabetic());
            let code = end.map_or(rest, |(at, c)| &rest[..at + c.len_utf8()]);
            code.chars().filter(|c| !c.is_ascii_digit()).collect()
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

fn is_view(line: &str) -> bool {
    line.starts_with("method, ") || line.starts_with("  load ") || line.contains(" left: pause")
}

#[test]
fn a_run_is_shown_below_its_lines_and_leaves_only_them() {
    for size in [(80, 24), (40, 10)] {
        let (folder, server) = (tempfile::tempdir().unwrap(), server_without_failures());
        // It has to end by itself, and all of the view to be there before that, however busy the machine is.
        document(folder.path(), &server, 6.0);
        let arguments = ["--log-file", "run.log", "run", "x.json"];
        let mut terminal = Terminal::start(folder.path(), &arguments, size, &[]);
        // A read may end within what was written at once.
        terminal.until("the whole view", |screen| {
            ["method, 0:0", "  load ", "/s, ", "left: pause", "safeguard held"].iter().all(|part| screen.contains(part))
        });
        let shown = terminal.parser.screen().contents();
        let view: Vec<&str> = shown.lines().skip_while(|line| !is_view(line)).collect();
        assert!(view[0].starts_with("method, 0:0") && view.len() == 5, "it is below everything else:\n{shown}");
        let (status, screen, told) = terminal.end();
        assert_eq!(status.code(), Some(0), "{told}");
        assert!(!screen.lines().any(is_view), "nothing of it is left:\n{screen}");
        assert!(screen.contains("Experiment ended with status: completed"), "{screen}");
        // Colours of lines, up, and clear below: nothing of what the document says.
        assert_eq!(codes(&told), ["[A", "[J", "[m"], "{told:?}");
        assert!(!told.contains(['\u{9b}', '\u{7}']), "{told:?}");
        let log = std::fs::read_to_string(folder.path().join("run.log")).unwrap();
        assert!(!log.contains('\u{1b}') && !log.lines().any(is_view), "{log}");
        assert!(log.contains("hostile \\u{1b}[31mtitle\\r\n    INFO] forged"), "{log}");
    }
}

fn server_without_failures() -> Server {
    Server::start(|_, _| Reply::ok())
}

#[test]
fn failures_are_counted_while_they_come() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    document(folder.path(), &server, 30.0);
    let mut document: Value = serde_json::from_slice(&std::fs::read(folder.path().join("x.json")).unwrap()).unwrap();
    document.as_object_mut().unwrap().remove("controls");
    document.as_object_mut().unwrap().remove("steady-state-hypothesis");
    std::fs::write(folder.path().join("x.json"), document.to_string()).unwrap();
    let mut terminal = Terminal::start(folder.path(), &["run", "x.json"], (100, 24), &[]);
    terminal.until("failures", |screen| screen.contains("10.0 % failing"));
    terminal.until("counted", |screen| !screen.contains(" 0 of ") && screen.contains(" failed"));
    terminal.master.write_all(b"\x03").unwrap();
    assert_eq!(terminal.end().0.code(), Some(130));
}

#[test]
fn a_resize_leaves_no_line_that_is_too_wide_and_takes_none_of_the_log() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server_without_failures());
    document(folder.path(), &server, 60.0);
    let mut terminal = Terminal::start(folder.path(), &["run", "x.json"], (80, 24), &[]);
    terminal.until("the view", |screen| screen.contains("left: pause"));
    terminal.resize((40, 10));
    let at = terminal.raw.len();
    let after = terminal.written(at, "left: pause");
    let drawn: Vec<&str> = after.split("\u{1b}[J").skip(1).flat_map(str::lines).filter(|line| is_view(line)).collect();
    assert!(!drawn.is_empty() && drawn.iter().all(|line| line.chars().count() < 40), "{drawn:?}");
    terminal.master.write_all(b"\x03").unwrap();
    let (status, screen, told) = terminal.end();
    assert_eq!(status.code(), Some(130), "{told}");
    assert!(told.contains("Caught SIGINT") && !screen.lines().any(is_view), "{screen}");
}

#[test]
fn ctrl_c_leaves_a_sane_terminal_and_its_exit_code() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server_without_failures());
    document(folder.path(), &server, 60.0);
    let mut terminal = Terminal::start(folder.path(), &["run", "x.json"], (80, 24), &[]);
    terminal.until("the view", |screen| screen.contains("left: pause"));
    terminal.master.write_all(b"\x03").unwrap();
    let (status, screen, told) = terminal.end();
    assert_eq!((status.code(), status.signal()), (Some(130), None), "{told}");
    assert!(screen.contains("Caught SIGINT") && !screen.lines().any(is_view), "{screen}");
    assert!(folder.path().join("journal.json").exists());
}

#[test]
fn where_no_view_is_wanted_there_are_plain_lines_alone() {
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)]);
    let cases: [Case; 4] = [
        (&["run", "x.json"], &[("TERM", "dumb")]),
        (&["run", "x.json"], &[("TERM", "")]),
        (&["run", "--quiet", "x.json"], &[]),
        (&["--log-format", "json", "run", "x.json"], &[]),
    ];
    let server = server_without_failures();
    for (arguments, set) in cases {
        let folder = tempfile::tempdir().unwrap();
        document(folder.path(), &server, 0.6);
        let terminal = Terminal::start(folder.path(), arguments, (80, 24), set);
        let (status, _, told) = terminal.end();
        assert_eq!(status.code(), Some(0), "{told}");
        assert!(codes(&told).is_empty(), "{arguments:?} {set:?}: {told:?}");
        assert!(!told.contains(['\u{9b}', '\u{7}']), "{told:?}");
        let lines = told.lines().count();
        assert!(if arguments.contains(&"--quiet") { lines == 1 } else { lines > 5 }, "{arguments:?}: {told}");
    }
}

#[test]
fn colours_are_the_user_s_choice_and_the_view_is_not_theirs() {
    type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);
    let server = server_without_failures();
    let cases: [Case; 4] = [
        (&[("NO_COLOR", "1")], &["[A", "[J"]),
        (&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], &["[A", "[J"]),
        (&[("CLICOLOR", "0")], &["[A", "[J"]),
        (&[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")], &["[m"]),
    ];
    for (set, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        document(folder.path(), &server, 0.6);
        let (status, _, told) = Terminal::start(folder.path(), &["run", "x.json"], (80, 24), set).end();
        assert_eq!(status.code(), Some(0), "{told}");
        assert_eq!(codes(&told), expected, "{set:?}: {told:?}");
    }
}

/// As CI has it: neither colours nor anything of the view, unless its variables want colours.
#[test]
fn a_pipe_gets_plain_lines() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server_without_failures());
    document(folder.path(), &server, 0.6);
    let run = |verb: &str, force: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
        command.args([verb, "x.json"]).current_dir(folder.path()).env("TERM", "xterm").env("HOME", folder.path());
        command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", force).output().unwrap()
    };
    let told = String::from_utf8(run("run", "1").stderr).unwrap();
    assert_eq!(codes(&told), ["[m"], "{told:?}");
    for verb in ["run", "validate", "plan"] {
        let done = run(verb, "");
        let told = [done.stdout, done.stderr].map(|stream| String::from_utf8_lossy(&stream).into_owned()).concat();
        assert_eq!(done.status.code(), Some(0), "{verb}: {told}");
        assert!(!told.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{verb}: {told:?}");
        assert!(!told.lines().any(is_view), "{verb}: {told}");
    }
}
