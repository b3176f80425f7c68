use super::*;
use crate::report::sample;

#[test]
fn a_look() {
    let html = sample().report_html();
    let out = std::env::temp_dir().join("steadfast-report.html");
    std::fs::write(out, html).expect("a file");
}
