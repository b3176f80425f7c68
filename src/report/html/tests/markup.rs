//! A strict reader of pages: what it does not know, or what does not close, is no page of ours.

/// Attributes that say where something is drawn.
const GEOMETRY: [&str; 12] = ["x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "d"];

/// The elements of our pages.
const ELEMENTS: [&str; 57] = [
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "p",
    "span",
    "h1",
    "h2",
    "h3",
    "h4",
    "dl",
    "div",
    "dt",
    "dd",
    "ul",
    "li",
    "nav",
    "a",
    "main",
    "section",
    "article",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "pre",
    "br",
    "strong",
    "figure",
    "figcaption",
    "output",
    "script",
    "svg",
    "desc",
    "defs",
    "pattern",
    "rect",
    "path",
    "g",
    "text",
    "circle",
    "line",
    "h5",
    "code",
    "em",
    "ol",
    "small",
    "caption",
    "col",
    "colgroup",
];

/// Their attributes: none that holds style or script, none that loads.
const ATTRIBUTES: [&str; 39] = [
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "id",
    "aria-hidden",
    "aria-label",
    "aria-labelledby",
    "aria-live",
    "href",
    "download",
    "tabindex",
    "role",
    "scope",
    "open",
    "type",
    "viewBox",
    "width",
    "height",
    "patternUnits",
    "patternTransform",
    "d",
    "x",
    "y",
    "x1",
    "x2",
    "y1",
    "y2",
    "cx",
    "cy",
    "r",
    "rx",
    "transform",
    "for",
    "start",
    "colspan",
    "rowspan",
];

const VOID: [&str; 2] = ["meta", "br"];

/// One element, with its attributes as they are written.
pub(super) struct Element {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// A page in its elements, and the content of those whose content is no markup.
pub(super) struct Page<'a> {
    elements: Vec<Element>,
    raw: Vec<(Option<String>, &'a str)>,
}

impl<'a> Page<'a> {
    /// Reads a page. It panics where an element is not closed, or text holds what begins one.
    pub(super) fn read(html: &'a str) -> Self {
        let mut rest = html.strip_prefix("<!doctype html>").expect("a doctype");
        let (mut elements, mut raw, mut open) = (Vec::new(), Vec::new(), Vec::<String>::new());
        while let Some(begin) = rest.find('<') {
            assert!(
                !rest[..begin].contains('>'),
                "a bare `>` before {}",
                &rest[begin..].chars().take(80).collect::<String>()
            );
            rest = &rest[begin + 1..];
            if let Some(name) = rest.strip_prefix('/') {
                let (name, after) = name.split_once('>').expect("an end tag ends");
                assert_eq!(open.pop().as_deref(), Some(name), "elements close in their order");
                rest = after;
                continue;
            }
            let (element, closed, after) = tag(rest);
            rest = after;
            if ["script", "style"].contains(&&*element.name) {
                let end = rest.find("</").expect("it ends");
                assert!(rest[end..].starts_with(&format!("</{}>", element.name)), "nothing else ends within it");
                raw.push((element.get("type").map(str::to_owned), &rest[..end]));
            }
            if !closed && !VOID.contains(&&*element.name) {
                open.push(element.name.clone());
            }
            if ["script", "style"].contains(&&*element.name) {
                rest = &rest[rest.find("</").expect("it ends")..];
            }
            elements.push(element);
        }
        assert!(open.is_empty(), "not closed: {open:?}");
        Self { elements, raw }
    }

    pub(super) fn elements(&self, name: &str) -> impl Iterator<Item = &Element> {
        self.elements.iter().filter(move |element| element.name == name)
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.elements(name).count()
    }

    pub(super) fn attributes(&self, element: &str, name: &str) -> impl Iterator<Item = &str> {
        self.elements(element).filter_map(move |element| element.get(name))
    }

    /// The content of the script of this type.
    pub(super) fn raw(&self, kind: &str) -> &'a str {
        self.raw.iter().find(|(own, _)| own.as_deref() == Some(kind)).expect("there is one").1
    }

    /// Only elements and attributes that we write, links that stay on the page, and each identity once.
    pub(super) fn is_ours(&self) {
        let mut ids: Vec<&str> = Vec::new();
        for element in &self.elements {
            assert!(ELEMENTS.contains(&&*element.name), "the element {}", element.name);
            for (name, value) in &element.attributes {
                assert!(ATTRIBUTES.contains(&&**name), "the attribute {name}={value:?} of {}", element.name);
                assert!(!value.contains(['<', '>']), "{name}={value:?}");
                let placed = GEOMETRY.contains(&&**name);
                assert!(!placed || !(value.contains("NaN") || value.contains("inf")), "no place: {name}={value:?}");
            }
            if let Some(id) = element.get("id") {
                assert!(!ids.contains(&id), "two of {id}");
                ids.push(id);
            }
        }
        for href in self.elements.iter().filter_map(|element| element.get("href")) {
            let inside = href.strip_prefix('#').is_some_and(|id| ids.contains(&id));
            assert!(inside || href.starts_with("data:application/json;base64,"), "{href}");
        }
        let labelled = self.elements.iter().filter_map(|element| element.get("aria-labelledby"));
        labelled.flat_map(str::split_whitespace).for_each(|id| assert!(ids.contains(&id), "{id}"));
    }
}

/// A start tag without its `<`, whether it closes itself, and what follows.
fn tag(text: &str) -> (Element, bool, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).expect("a tag ends");
    let shown = || text.chars().take(80).collect::<String>();
    assert!(end > 0, "no element: <{}", shown());
    let (name, mut rest) = text.split_at(end);
    let mut attributes: Vec<(String, String)> = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("/>") {
            return (Element { name: name.to_owned(), attributes }, true, after);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (Element { name: name.to_owned(), attributes }, false, after);
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').expect("an attribute ends");
        assert!(end > 0, "no attribute in <{}", shown());
        let (attribute, after) = rest.split_at(end);
        let value = match after.strip_prefix("=\"") {
            Some(value) => {
                let (value, after) = value.split_once('"').expect("a value ends");
                rest = after;
                value
            }
            None => {
                rest = after;
                ""
            }
        };
        assert!(attributes.iter().all(|(own, _)| own != attribute), "{attribute} twice in <{}", shown());
        attributes.push((attribute.to_owned(), value.to_owned()));
    }
}
