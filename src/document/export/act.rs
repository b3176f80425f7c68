//! Probes, steps and rollbacks as Rust.

use serde_json::Value;

use super::text::{duration, float, literal};
use super::{Described, Export, check, pauses};
use crate::document::activity::{Activity, Kind, ProviderKind};
use crate::document::provider::{AGENT, NO_TIMEOUT, attack_words, named, request};
use crate::load::vegeta::Target;
use crate::transport::Address;

/// Where Prometheus is if the configuration does not say it.
const PROMETHEUS: &str = "http://localhost:9090";

impl Export<'_> {
    /// A probe of the hypothesis, as the argument of `.check(..)`.
    pub(super) fn check(&mut self, probe: &Activity<'_>) -> Result<String, String> {
        self.known(probe)?;
        if probe.dry().is_some() {
            return Err("it is dry".to_owned());
        }
        if pauses(probe, &self.names)?.iter().any(Option::is_some) {
            return Err("it has pauses".to_owned());
        }
        let tolerance = self.names.put_into(probe.tolerance().unwrap_or(&Value::Null));
        match probe.provider_kind() {
            Some(ProviderKind::Python) => self.series(probe, &tolerance),
            Some(kind) => {
                let made = self.made(probe, kind)?;
                Ok(format!("{made}.expect({})", check::expected(&tolerance, kind)?))
            }
            None => Err("it has no provider".to_owned()),
        }
    }

    fn series(&mut self, probe: &Activity<'_>, tolerance: &Value) -> Result<String, String> {
        let provider = &probe.definition["provider"];
        if named(provider) != ("chaosprometheus.probes", "query") {
            return Err("there is no such check".to_owned());
        }
        let query = self.names.put_into_arguments(&provider["arguments"]["query"]);
        let check = check::series("prometheus", query.as_str().unwrap_or_default(), tolerance)?;
        let url = self.names.configuration.get("prometheus_base_url").and_then(Value::as_str);
        self.prometheus = Some(url.unwrap_or(PROMETHEUS).to_owned());
        Ok(check)
    }

    /// A request or a program.
    fn made(&self, activity: &Activity<'_>, kind: ProviderKind) -> Result<String, String> {
        let provider = &activity.definition["provider"];
        match kind {
            ProviderKind::Http => self.http(provider),
            ProviderKind::Process => self.process(activity, provider),
            ProviderKind::Python => Err("it is a function of Python".to_owned()),
        }
    }

    fn http(&self, provider: &Value) -> Result<String, String> {
        let request = request(provider, &self.names).map_err(|why| why.to_string())?;
        let Address::Url(url) = &request.address else { return Err("its URL is none".to_owned()) };
        let method = request.method.as_str().to_lowercase();
        if !matches!(method.as_str(), "get" | "head" | "post" | "put" | "delete") {
            return Err(format!("there is no request {}", request.method));
        }
        if request.insecure {
            return Err("it takes any certificate".to_owned());
        }
        let mut made = format!("http::{method}({})", literal(&url.to_string()));
        for (name, value) in &request.headers {
            let ours = (name == "user-agent" && value == AGENT) || (name == "accept" && value == "*/*");
            let text = value.to_str().map_err(|_| format!("the header {name} is no text"))?;
            if !ours {
                made.push_str(&format!(".header({}, {})", literal(name.as_str()), literal(text)));
            }
        }
        if !request.body.is_empty() {
            let body = std::str::from_utf8(&request.body).map_err(|_| "its body is no text".to_owned())?;
            made.push_str(&format!(".body({})", literal(body)));
        }
        if request.timeout != NO_TIMEOUT {
            made.push_str(&format!(".timeout({})", duration(request.timeout)));
        }
        Ok(made)
    }

    fn process(&self, activity: &Activity<'_>, provider: &Value) -> Result<String, String> {
        let path = provider["path"].as_str().ok_or("it has no path")?;
        if path.starts_with('~') {
            return Err("its path begins with ~".to_owned());
        }
        let arguments = self.names.put_into_arguments(&provider["arguments"]);
        let mut made = match &arguments {
            Value::Null => format!("process::run({})", literal(path)),
            Value::String(line) => {
                format!("process::run(\"/bin/sh\").args([\"-c\", {}])", literal(&format!("{path} {line}")))
            }
            Value::Array(items) => {
                let kept = items.iter().filter(|item| !item.is_null() && item.as_str() != Some(""));
                let words: Vec<_> = kept.map(|word| literal(&self.names.text(word))).collect();
                format!("process::run({}).args([{}])", literal(path), words.join(", "))
            }
            _ => return Err("its arguments are no text and no list".to_owned()),
        };
        let given = activity.provides("timeout").map(|given| self.names.put_into(given));
        if let Some(seconds) = given.as_ref().and_then(Value::as_f64) {
            let seconds = std::time::Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
            made.push_str(&format!(".timeout({})", duration(seconds)));
        }
        Ok(made)
    }

    /// A step of the method, with its pauses.
    pub(super) fn step(&mut self, activity: &Activity<'_>) -> Result<Vec<String>, String> {
        if let Some(name) = activity.unresolved() {
            return Err(format!("there is no activity {name:?}"));
        }
        if activity.dry().is_some() {
            return Ok(vec![format!("// {:?} is dry: it is left out.", activity.name())]);
        }
        self.known(activity)?;
        let [before, after] = pauses(activity, &self.names)?;
        if activity.background() && (before.is_some() || after.is_some()) {
            return Err("it has pauses in the background".to_owned());
        }
        let steps = match activity.provider_kind() {
            Some(ProviderKind::Python) if activity.background() => return Err("it runs in the background".to_owned()),
            Some(ProviderKind::Python) => self.function(activity)?,
            Some(kind) => match self.vegeta(activity)? {
                Some(steps) => steps,
                None if activity.background() => return Err("it runs in the background, and is no load".to_owned()),
                None => vec![format!(".observe({})", self.made(activity, kind)?)],
            },
            None => return Err("it has no provider".to_owned()),
        };
        Ok(before.into_iter().chain(steps).chain(after).collect())
    }

    /// An attack as a load, and a plot of its results.
    fn vegeta(&mut self, activity: &Activity<'_>) -> Result<Option<Vec<String>>, String> {
        let provider = &activity.definition["provider"];
        let arguments = self.names.put_into_arguments(&provider["arguments"]);
        let path = provider["path"].as_str().unwrap_or_default();
        let Some(words) = attack_words(path, &arguments, &self.names) else {
            return Ok(self.plotted(path, &arguments));
        };
        let Some(described) = (self.wanted.describe)(&words)? else { return Ok(None) };
        let name = self.taken.new_name(&activity.name(), "traffic");
        self.lets.push(format!("let {name} = {}.named({});", load(&described)?, literal(&activity.name())));
        self.loads.push((name.clone(), described.output.clone()));
        let mut steps = vec![format!(".background(&{name})")];
        if !activity.background() {
            steps.push(format!(".pause({})", duration(described.duration)));
        }
        Ok(Some(steps))
    }

    /// `vegeta plot`, by a shell or without one, of the results of a load that is known.
    fn plotted(&self, path: &str, arguments: &Value) -> Option<Vec<String>> {
        let text = match arguments {
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().map(|item| self.names.text(item)).collect::<Vec<_>>().join(" "),
            _ => return None,
        };
        let words: Vec<String> = std::iter::once(path).chain(text.split_whitespace()).map(str::to_owned).collect();
        let plots = words.windows(2).any(|two| two[0].ends_with("vegeta") && two[1] == "plot");
        let page =
            words.iter().map(|word| word.rsplit('=').next().unwrap_or(word)).find(|word| word.ends_with(".html"))?;
        let (load, _) =
            self.loads.iter().find(|(_, output)| words.iter().any(|word| word.ends_with(output.as_str())))?;
        plots.then(|| vec![format!(".act({load}.plot_to({}))", literal(page))])
    }

    /// A rollback: nothing where the undo of a fault does it.
    pub(super) fn rollback(&mut self, activity: &Activity<'_>) -> Result<Vec<String>, String> {
        if let Some(name) = activity.unresolved() {
            return Err(format!("there is no activity {name:?}"));
        }
        self.known(activity)?;
        if self.ends(activity) {
            return Ok(vec![format!("// The undo of the fault does what the rollback {:?} does.", activity.name())]);
        }
        let kind = activity.provider_kind().ok_or("it has no provider")?;
        let probe = self.made(activity, kind)?;
        let name = literal(&activity.name());
        let wait = |pause: &Option<String>| {
            let pause = pause.as_ref()?.strip_prefix(".pause(")?.strip_suffix(')')?.to_owned();
            Some(format!("    scene.clock.sleep({pause}).await;"))
        };
        let [before, after] = pauses(activity, &self.names)?;
        let mut lines = vec![format!(".rollback_with({name}, async |scene| {{")];
        lines.extend(wait(&before));
        lines.push(format!("    {probe}.observe(&scene).await?;"));
        lines.extend(wait(&after));
        lines.extend(["    Ok(())", "})"].map(str::to_owned));
        Ok(lines)
    }

    /// Whether it looks and changes nothing.
    pub(super) fn looks(activity: &Activity<'_>) -> bool {
        activity.kind() == Some(Kind::Probe)
    }
}

fn load(described: &Described) -> Result<String, String> {
    let Described { per_second, duration: lasting, timeout, targets, chain, .. } = described;
    let mut load = match targets.as_slice() {
        [one] => format!("load::{}", one_target(one, "request", "get", "post")?),
        all => {
            let all = all.iter().map(|one| Ok(format!("load::Target::{}", one_target(one, "new", "get", "post")?)));
            format!("load::targets([{}])", all.collect::<Result<Vec<_>, String>>()?.join(", "))
        }
    };
    load.push_str(&format!(".per_second({}).lasting({})", float(*per_second), duration(*lasting)));
    if !timeout.is_zero() {
        load.push_str(&format!(".timeout({})", duration(*timeout)));
    }
    load.extend(chain.iter().flat_map(|call| [".", call]));
    Ok(load)
}

fn one_target(target: &Target, any: &str, get: &str, post: &str) -> Result<String, String> {
    let url = literal(&target.uri.to_string());
    let mut made = match target.method.as_str() {
        "GET" => format!("{get}({url})"),
        "POST" => format!("{post}({url})"),
        method => format!("{any}({}.parse()?, {url})", literal(method)),
    };
    for (name, value) in &target.headers {
        made.push_str(&format!(".header({}, {})", literal(name), literal(value)));
    }
    if !target.body.is_empty() {
        let body = std::str::from_utf8(&target.body).map_err(|_| "a body is no text".to_owned())?;
        made.push_str(&format!(".body({})", literal(body)));
    }
    Ok(made)
}
