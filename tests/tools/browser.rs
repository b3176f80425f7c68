//! The page of a run in a real browser: nothing leaves it, its policy is kept, keys reach everything, and it is whole
//! without its script. Spoken to through pipes, so that no port is opened.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use steadfast::journal::{Journal, LogLine};

use crate::{Needs, Outcome, find};

pub fn trials() -> (Needs, Vec<Trial>) {
    let missing = "no Chromium is on the search path; on Debian: apt-get install chromium".to_owned();
    let needs = Needs::new("browser", browser().map(drop).ok_or(missing));
    let trials = vec![needs.trial("report::in_a_browser", in_a_browser)];
    (needs, trials)
}

fn browser() -> Option<std::path::PathBuf> {
    ["chromium", "chromium-browser", "google-chrome", "chrome"].into_iter().find_map(find)
}

/// What would show in a page that escapes less than it should: a request, a violation, an alert.
const EVIL: &str = "</script><img src=http://127.0.0.1:9/x onerror=alert(1)><script>alert(2)</script>";

fn journal() -> Journal {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/sample.json");
    let mut journal: Journal = serde_json::from_slice(&std::fs::read(sample).expect("a file")).expect("a journal");
    journal.experiment.push_str(EVIL);
    journal.evaluations[1].checks[0].evidence["body"] = json!(EVIL);
    journal.evaluations[1].checks[0].phrase.push_str(EVIL);
    journal.faults[0].targets.push(EVIL.into());
    journal.telemetry.logs[0].lines.push(LogLine { at: None, text: EVIL.into() });
    journal.telemetry.series[0].query.push_str(EVIL);
    let more = journal.telemetry.series[0].clone();
    journal.telemetry.series.extend(std::iter::repeat_n(more, 12));
    journal
}

fn in_a_browser() -> Outcome {
    let folder = tempfile::tempdir()?;
    let (page, net) = (folder.path().join("report.html"), folder.path().join("net.json"));
    let journal = journal();
    std::fs::write(&page, journal.report_html())?;
    let address = format!("file://{}", page.display());
    let mut browser = Browser::start(folder.path(), &net);

    browser.ask("Network.enable", json!({}));
    browser.ask("Log.enable", json!({}));
    browser.ask("Runtime.enable", json!({}));
    let watch = "window.violations = []; document.addEventListener('securitypolicyviolation', (one) => violations.push(one.blockedURI + one.violatedDirective))";
    browser.ask("Page.addScriptToEvaluateOnNewDocument", json!({"source": watch}));
    browser.open(&address);
    keys_reach_everything(&mut browser);
    the_read_out_follows_keys(&mut browser);
    the_time_stretches_and_letters_do_not(&mut browser);
    assert_eq!(browser.evaluate("JSON.stringify(window.violations)"), "[]", "its own policy is kept");
    for width in [400, 1400] {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        browser.ask("Emulation.setDeviceMetricsOverride", size);
        let wide = browser.evaluate("document.documentElement.scrollWidth");
        assert!(wide.as_i64().is_some_and(|wide| wide <= width), "{wide} of {width}: only boxes of its own scroll");
    }

    browser.ask("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    browser.open(&address);
    let text = browser.shown();
    let sentence = journal.sentence();
    for part in [
        sentence.as_str(),
        "Requests a second of traffic",
        "not met",
        "delete networkpolicy default/steadfast-5qbdck8i-2",
        "STEADFAST_SEED=0",
    ] {
        assert!(text.contains(part), "{part:?} is not there without the script: {text}");
    }

    let asked: Vec<_> = browser.told.iter().filter(|told| told["method"] == "Network.requestWillBeSent").collect();
    let others =
        asked.iter().filter_map(|told| told["params"]["request"]["url"].as_str()).filter(|url| *url != address);
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new(), "nothing else is loaded");
    assert!(!asked.is_empty(), "requests are seen");
    let wrong = |told: &&Value| match told["method"].as_str() {
        Some("Log.entryAdded") => {
            ["error", "warning"].contains(&told["params"]["entry"]["level"].as_str().unwrap_or_default())
        }
        Some("Runtime.exceptionThrown" | "Page.javascriptDialogOpening") => true,
        _ => false,
    };
    assert_eq!(browser.told.iter().filter(wrong).collect::<Vec<_>>(), Vec::<&Value>::new(), "nothing is complained of");
    browser.close();
    let net = std::fs::read_to_string(&net)?;
    assert!(
        net.contains("\"constants\"") && !net.contains("127.0.0.1:9"),
        "no request left for the address in the texts"
    );
    Ok(())
}

/// Everything that does something, or scrolls, gets the focus in turn.
fn keys_reach_everything(browser: &mut Browser) {
    let all =
        "[...document.querySelectorAll('a[href], summary, button, [tabindex]')].filter((one) => one.checkVisibility())";
    let count = browser.evaluate(&format!("{all}.length")).as_u64().expect("a number");
    assert!(count > 20, "{count}");
    for _ in 0..count + 5 {
        browser.press("Tab", 9);
        browser.evaluate("document.activeElement.reached = true");
    }
    let missed = format!("{all}.filter((one) => !one.reached).map((one) => one.outerHTML.slice(0, 200)).join('\\n')");
    assert_eq!(browser.evaluate(&missed), "", "not reached by the tabulator");
    browser.evaluate("document.querySelector('details:not([open]) > summary').focus(); window.opened = document.activeElement.parentElement");
    browser.press("Enter", 13);
    assert_eq!(browser.evaluate("window.opened.open"), true, "keys open what is folded");
}

fn the_read_out_follows_keys(browser: &mut Browser) {
    browser.evaluate("document.querySelector('#timeline .drawing').focus()");
    browser.press("End", 35);
    browser.press("Home", 36);
    for _ in 0..10 {
        browser.press("PageDown", 34);
    }
    let text = browser.evaluate("document.querySelector('#timeline output').textContent");
    let text = text.as_str().expect("text");
    for part in ["after it was effective", "00:00:1", "fault deny ingress", "traffic: 200: 5", "failed_call_total"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

/// The time has more room then, and letters are as large as before, each beside what it names.
fn the_time_stretches_and_letters_do_not(browser: &mut Browser) {
    let measure = "(() => { \
        const svg = document.querySelector('#timeline svg'), box = (one) => one.getBoundingClientRect(); \
        const bar = svg.querySelector('.k-background'), label = bar.parentNode.querySelector('text'); \
        const curve = svg.querySelector('.samples'); \
        return JSON.stringify([box(bar).width, box(label).height, box(label).width, box(label).left - box(bar).left, \
            box(curve).width, box(curve).height, box(svg).height].map(Math.round)); })()";
    let measured = |browser: &mut Browser| -> Vec<i64> {
        let text = browser.evaluate(measure);
        serde_json::from_str(text.as_str().expect("a text")).expect("numbers")
    };
    // A narrow window scrolls the whole drawing, too.
    let width = "document.querySelector('#timeline .drawing').scrollWidth";
    let whole = browser.evaluate(width);
    let before = measured(browser);
    browser.press("+", 187);
    let after = measured(browser);
    let near = |one: i64, other: i64| (one - other).abs() <= 3;
    for (place, times) in [(0, 2), (1, 1), (2, 1), (3, 1), (4, 2), (5, 1), (6, 1)] {
        assert!(near(after[place], before[place] * times), "{place}: {before:?}, then {after:?}");
    }
    browser.press("0", 48);
    assert_eq!((browser.evaluate(width), measured(browser)), (whole, before), "and it is whole again");
}

/// A browser, spoken to by the DevTools protocol over two pipes.
struct Browser {
    process: Child,
    to: File,
    from: File,
    session: Value,
    number: u64,
    unread: Vec<u8>,
    /// Everything that it told by itself.
    told: Vec<Value>,
}

impl Browser {
    fn start(folder: &Path, net: &Path) -> Self {
        let (to, from) = (folder.join("to"), folder.join("from"));
        let made = Command::new("mkfifo").args([&to, &from]).status().expect("mkfifo runs");
        assert!(made.success());
        let process = Command::new("sh")
            .args(["-c", "exec 3<\"$TO\" 4>\"$FROM\"; exec \"$@\"", "sh"])
            .arg(browser().expect("it was found"))
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .arg(format!("--log-net-log={}", net.display()))
            .arg("about:blank")
            .envs([("TO", &to), ("FROM", &from)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let to = File::options().write(true).open(to).expect("its end opens");
        let from = File::open(from).expect("its end opens");
        let mut browser = Self { process, to, from, session: Value::Null, number: 0, unread: vec![], told: vec![] };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.ask("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].clone();
        browser.ask("Page.enable", json!({}));
        browser
    }

    /// The answer to one command; what is told meanwhile is kept.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": params});
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("it listens");
        loop {
            let told = self.next();
            if told["id"] == self.number {
                assert!(told["error"].is_null(), "{method}: {told}");
                return told["result"].clone();
            }
            self.told.push(told);
        }
    }

    /// The next message; each ends with a zero.
    fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == 0) {
                let message: Vec<u8> = self.unread.drain(..=end).collect();
                return serde_json::from_slice(&message[..end]).expect("a message");
            }
            let mut more = [0; 65_536];
            let read = self.from.read(&mut more).expect("it speaks");
            assert!(read > 0, "it has ended");
            self.unread.extend_from_slice(&more[..read]);
        }
    }

    /// Opens a page, and waits until it is loaded.
    fn open(&mut self, address: &str) {
        let loaded = |told: &Value| told["method"] == "Page.loadEventFired";
        let before = self.told.iter().filter(|told| loaded(told)).count();
        self.ask("Page.navigate", json!({"url": address}));
        while self.told.iter().filter(|told| loaded(told)).count() == before {
            let told = self.next();
            self.told.push(told);
        }
    }

    fn evaluate(&mut self, script: &str) -> Value {
        let answer = self.ask("Runtime.evaluate", json!({"expression": script, "returnByValue": true}));
        assert!(answer["exceptionDetails"].is_null(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    fn press(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" {
            "\r"
        } else if key.len() == 1 {
            key
        } else {
            ""
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.ask("Input.dispatchKeyEvent", event);
        }
    }

    /// The text that is laid out, without any script of ours or of the page.
    fn shown(&mut self) -> String {
        let shot = self.ask("DOMSnapshot.captureSnapshot", json!({"computedStyles": []}));
        let text = shot["documents"][0]["layout"]["text"].as_array().expect("a layout");
        let strings = shot["strings"].as_array().expect("strings");
        let text = text.iter().filter_map(|number| usize::try_from(number.as_i64()?).ok());
        text.filter_map(|number| strings.get(number)?.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn close(mut self) {
        self.session = Value::Null;
        self.ask("Browser.close", json!({}));
        self.process.wait().expect("it ends");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // After a failed assertion it is still there.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
