use super::*;
use serde_json::json;

#[test]
fn parts_of_the_path_are_as_the_python_client_writes_them() {
    let arguments = json!({
        "pushgateway_url": "127.0.0.1:9091/", "job": "a/b c", "grouping_key": {"k": "x y", "a": "", "z": "p/q", "s": "plain"},
    });
    let given = Given { arguments: arguments.as_object().cloned().expect("a mapping"), settings: Value::Null };
    let expected = "http://127.0.0.1:9091/metrics/job@base64/YS9iIGM=/a@base64/=/k@base64/eCB5/s/plain/z@base64/cC9x";
    assert_eq!(place(&given, "ref"), expected);
    let expected = "http://localhost:9091/metrics/job/chaostoolkit/chaostoolkit_experiment_ref/ref";
    assert_eq!(place(&Given::default(), "ref"), expected);
}

/// As version 0.26 of the Python client writes the registry of the original, but for the instants, whose exponents it spells out.
#[test]
fn the_text_is_that_of_the_python_client() {
    let labels = Labels { run: "TR", reference: "65cb63d9b26046d7106007f7" };
    let before = exposition(&labels, None, 0.0);
    assert_eq!(before, include_str!("before.txt"));
    let journal = json!({"status": "failed", "deviated": true, "duration": 3.5});
    let after = exposition(&labels, Some(&journal), 1_500_000_000.5);
    assert_eq!(after, include_str!("after.txt"));
}
