//! Reads what targets expose: the text format and OpenMetrics.

use super::tsdb::Labels;

/// The samples of a page; a time of its own, and an exemplar, are passed over.
pub(super) fn parse(page: &str) -> Result<Vec<(Labels, f64)>, String> {
    let mut samples = Vec::new();
    for (number, line) in page.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let sample = sample(line).ok_or_else(|| format!("line {}: {line:?} is no sample", number + 1))?;
        samples.push(sample);
    }
    Ok(samples)
}

fn sample(line: &str) -> Option<(Labels, f64)> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, mut rest) = line.split_at(end);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut labels = Labels::from([("__name__".to_owned(), name.to_owned())]);
    if let Some(inner) = rest.strip_prefix('{') {
        rest = parse_labels(inner, &mut labels)?;
    }
    let value = rest.split_whitespace().next()?;
    // Rust reads NaN, +Inf and -Inf as Prometheus writes them.
    Some((labels, value.parse().ok()?))
}

/// Reads `a="x",b="y"}` and returns what comes behind.
fn parse_labels<'a>(mut rest: &'a str, labels: &mut Labels) -> Option<&'a str> {
    loop {
        rest = rest.trim_start().trim_start_matches(',').trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return Some(rest);
        }
        let (name, behind) = rest.split_once('=')?;
        let mut letters = behind.trim_start().strip_prefix('"')?.char_indices();
        let quoted = behind.trim_start().strip_prefix('"')?;
        let mut value = String::new();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match letters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, letter) => value.push(letter),
            }
        };
        labels.insert(name.trim().to_owned(), value);
        rest = &quoted[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn both_formats_are_read() {
        let page = "# TYPE a counter\na_total 3\nb{x=\"1\",y=\"say \\\"hi\\\"\\n{},\"} +Inf 1700000000\nc{} NaN # {id=\"1\"} 2\n# EOF\n";
        let samples = parse(page).unwrap();
        assert_eq!(samples[0], (labels(&[("__name__", "a_total")]), 3.0));
        assert_eq!(samples[1], (labels(&[("__name__", "b"), ("x", "1"), ("y", "say \"hi\"\n{},")]), f64::INFINITY));
        assert!(samples[2].1.is_nan());
    }

    #[test]
    fn what_is_no_sample_names_its_line() {
        for bad in ["a", "a{x=1} 2", "a{x=\"1\" 2", "1a 2", "a b", "<html>"] {
            assert!(parse(&format!("ok 1\n{bad}")).unwrap_err().starts_with("line 2:"), "{bad}");
        }
    }
}
