//! vegeta's result files: what it wrote is read, and what is written is read again, cut wherever.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::Offset;
use proptest::prelude::*;
use serde_json::{Value, json};
use steadfast::load::vegeta::{Decoder, Encoder, Encoding, Record, ResultsError};

const ENCODINGS: [Encoding; 3] = [Encoding::Gob, Encoding::Json, Encoding::Csv];

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vegeta").join(name)).unwrap()
}

/// All records that are whole, and what stopped the reading.
fn read(bytes: &[u8], figures_only: bool) -> (Vec<Record>, Option<ResultsError>) {
    let mut decoder = match Decoder::detect(bytes) {
        Ok(decoder) if figures_only => decoder.figures_only(),
        Ok(decoder) => decoder,
        Err(error) => return (vec![], Some(error)),
    };
    let (mut records, mut record) = (vec![], Record::default());
    loop {
        match decoder.read(&mut record) {
            Ok(true) => records.push(record.clone()),
            Ok(false) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

fn whole(bytes: &[u8]) -> Vec<Record> {
    let (records, error) = read(bytes, false);
    assert!(error.is_none(), "{error:?}");
    records
}

fn written(encoding: Encoding, records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(encoding, &mut out);
    records.iter().for_each(|record| encoder.write(record).unwrap());
    out
}

/// As vegeta's JSON has it; that tells an empty body from none, and a record does not.
fn as_json(record: &Record) -> Value {
    let time = match record.zone {
        zone if zone == Offset::UTC => record.timestamp.to_string(),
        zone => record.timestamp.display_with_offset(zone).to_string(),
    };
    json!({
        "attack": record.attack, "seq": record.seq, "code": record.code, "timestamp": time,
        "latency": record.latency.as_nanos() as u64, "bytes_out": record.bytes_out, "bytes_in": record.bytes_in,
        "error": record.error, "body": base64(&record.body), "method": record.method, "url": record.url,
        "headers": record.headers,
    })
}

/// Written here once more, so that the test does not believe the code.
fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = alphabet[(bits >> (18 - 6 * place) & 63) as usize] as char;
            text.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

#[test]
fn what_vegeta_wrote_reads_as_vegeta_reads_it() {
    for (name, encoding) in
        [("results.gob", Encoding::Gob), ("results.json", Encoding::Json), ("results.csv", Encoding::Csv)]
    {
        let bytes = fixture(name);
        assert_eq!(Decoder::detect(bytes.as_slice()).unwrap().encoding(), encoding, "{name}");
        let expected: Vec<Value> = String::from_utf8(fixture(&format!("{name}.read.json")))
            .unwrap()
            .lines()
            .map(|line| {
                let mut value: Value = serde_json::from_str(line).unwrap();
                if value["body"].is_null() {
                    value["body"] = json!("");
                }
                if value["headers"].is_null() {
                    value["headers"] = json!({});
                }
                value
            })
            .collect();
        assert_eq!(expected.len(), 12, "{name}");
        assert_eq!(whole(&bytes).iter().map(as_json).collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn gob_is_written_to_the_byte_as_go_does() {
    let bytes = fixture("results.gob");
    // Go writes a map in any order: only the results without headers are the same.
    let (mut records, _) = read(&bytes, false);
    let same = written(Encoding::Gob, &records);
    let definitions = bytes.windows(2).position(|pair| pair == [0xff, 0x80]).unwrap();
    let values = bytes[definitions + 2..].windows(2).position(|pair| pair == [0xff, 0x80]).unwrap();
    assert_eq!(bytes[..definitions + values], same[..definitions + values]);
    records.retain(|record| record.headers.is_empty());
    assert_eq!(records.len(), 2);
    for record in records {
        let one = written(Encoding::Gob, &[record]);
        let value = &one[definitions + values..];
        assert!(bytes.windows(value.len()).any(|window| window == value), "{}", value.escape_ascii());
    }
}

#[test]
fn files_may_follow_one_another() {
    let gob = fixture("results.gob");
    assert_eq!(whole(&[gob.clone(), gob.clone()].concat()), [whole(&gob), whole(&gob)].concat());
}

#[test]
fn figures_are_the_same_without_the_rest() {
    for name in ["results.gob", "results.json", "results.csv"] {
        let bytes = fixture(name);
        let figures_of = |all| Record {
            attack: String::new(),
            seq: 0,
            body: vec![],
            method: String::new(),
            url: String::new(),
            headers: BTreeMap::new(),
            ..all
        };
        let figures_of_all: Vec<_> = whole(&bytes).into_iter().map(figures_of).collect();
        assert!(!figures_of_all.is_empty());
        assert_eq!(read(&bytes, true).0, figures_of_all, "{name}");
    }
}

/// A stream of other people's: fewer fields, in another order, and some that are not known.
#[test]
fn a_stream_of_another_version_is_read() {
    let definition = |number: u8, rest: &[u8]| {
        let body = [&[0xff, number * 2 - 1][..], rest].concat();
        [&[u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    let field =
        |name: &str, of: &[u8]| [&[1, u8::try_from(name.len()).unwrap()][..], name.as_bytes(), &[1], of, &[0]].concat();
    let fields = [
        field("Latency", &[4]),
        field("Extra", &[0xff, 0x90]),
        field("Float", &[8]),
        field("Any", &[16]),
        field("Timestamp", &[0xff, 0x8e]),
        field("Code", &[6]),
    ]
    .concat();
    let stream = [
        // 70 is a struct named R with six fields; 71 encodes itself; 72 is a slice of 73, a map from string to 70.
        definition(70, &[&[3, 1, 1, 1, b'R', 1, 0xff, 0x8c, 0, 1, 6], fields.as_slice(), &[0, 0]].concat()),
        definition(71, &[6, 1, 1, 1, b'T', 1, 0xff, 0x8e, 0, 0, 0]),
        definition(72, &[2, 1, 2, 0xff, 0x90, 0, 1, 0xff, 0x92, 0, 0]),
        definition(73, &[4, 1, 2, 0xff, 0x92, 0, 1, 12, 1, 0xff, 0x8c, 0, 0]),
    ]
    .concat();
    // Latency 5; one map with one key of a struct of Code 9; a float; an interface with a string; a time; Code 200.
    let time = [&[15, 1][..], &62_135_596_801i64.to_be_bytes(), &7u32.to_be_bytes(), &[0xff, 0xff]].concat();
    let value = [
        &[0xff, 0x8c, 1, 10, 1, 1, 1, 1, b'k', 6, 9, 0, 1, 0xfe, 0xf0, 0x3f, 1, 6][..],
        b"string",
        &[12, 3, 0, 1, b'x', 1],
        &time,
        &[1, 0xff, 200, 0],
    ]
    .concat();
    let stream = [stream, vec![u8::try_from(value.len()).unwrap()], value].concat();
    let expected = Record {
        code: 200,
        latency: Duration::from_nanos(5),
        timestamp: Timestamp::new(1, 7).unwrap(),
        ..Record::default()
    };
    assert_eq!(whole(&stream), [expected]);
}

#[test]
fn what_is_malformed_names_its_place() {
    let gob = fixture("results.gob");
    for (bytes, offset, why) in [
        // A message of 2 GiB, which is not there.
        (vec![0xfc, 0x80, 0, 0, 0], 0, "2147483648 bytes"),
        (vec![0xf0, 1], 0, "a length of 16 bytes"),
        // A value of a type that nobody has defined; a type of no kind.
        (vec![3, 0xff, 0x82, 0], 3, "type 65 is used and not defined"),
        (vec![4, 0xff, 0x81, 9, 0], 4, "kind 8"),
        ([&gob[..], b"\x03\x04\x00\x00"].concat(), gob.len() as u64 + 2, "type 2"),
        (b"{\"latency\":1}\n".to_vec(), 12, "missing field `timestamp`"),
        (b"{\"timestamp\":\"soon\",\"latency\":1}\n".to_vec(), 0, "\"soon\" is no timestamp"),
        (b"\n\n{\"timestamp\":\"2026-01-01T00:00:00Z\",\"latency\":-1}\n".to_vec(), 49, "invalid value"),
        (b"1,2,3\n".to_vec(), 0, "a row of 3 columns"),
        (b"1,200,x,0,0,,,,0,GET,http://a/,\n".to_vec(), 0, "column 3 is \"x\""),
        (b"1,200,1,0,0,,%,,0,GET,http://a/,\n".to_vec(), 0, "no base64"),
    ] {
        let (_, error) = read(&bytes, false);
        let Some(ResultsError::Malformed { offset: at, why: said }) = error else {
            panic!("{}: {error:?}", bytes.escape_ascii());
        };
        assert!(said.contains(why) && at == offset, "{}: {said} at {at}", bytes.escape_ascii());
    }
    assert!(matches!(read(b"", false).1, Some(ResultsError::Empty)));
    assert!(matches!(read(b"PK\x03\x04", false).1, Some(ResultsError::Unknown { .. })));
}

/// After some of the records, each with one byte more: an error with its place, and what was whole is read.
fn assert_cut_anywhere(encoding: Encoding, records: &[Record]) -> Result<(), TestCaseError> {
    let bytes = written(encoding, records);
    let ends: Vec<usize> = (0..=records.len()).map(|count| written(encoding, &records[..count]).len()).collect();
    for cut in 0..=bytes.len() {
        let (read, error) = read(&bytes[..cut], false);
        let mut count = ends.iter().rposition(|end| *end <= cut).unwrap();
        // A line of JSON is whole without its end.
        if encoding == Encoding::Json && ends.get(count + 1).is_some_and(|end| cut + 1 == *end) {
            count += 1;
        }
        prop_assert_eq!(&read[..], &records[..count], "{} cut at {}", encoding, cut);
        let at_an_end = ends.contains(&cut) || (encoding == Encoding::Json && ends.contains(&(cut + 1)));
        match error {
            None => prop_assert!(at_an_end, "{} cut at {} is no error", encoding, cut),
            Some(ResultsError::Empty) => prop_assert_eq!(cut, 0),
            Some(ResultsError::Unknown { begin }) => prop_assert!(cut <= 2 && begin.len() == cut),
            // gob's first message may be cut behind the definitions: no record, and no error either.
            Some(ResultsError::Cut { offset, begin, .. }) => {
                prop_assert!(offset == cut as u64 && begin <= offset, "{} cut at {}: {}", encoding, cut, offset);
            }
            Some(other) => prop_assert!(false, "{} cut at {}: {}", encoding, cut, other),
        }
    }
    Ok(())
}

/// What every encoding holds: CSV has no zone, and times of 584 years.
fn record() -> impl Strategy<Value = Record> {
    let text = || prop_oneof![Just(String::new()), "[ -~]{1,12}", "\\PC{1,6}", Just("a,\"b\"\nc".to_owned())];
    let value = prop_oneof![Just(String::new()), "[!-~]([ -~]{0,8}[!-~])?"];
    let headers = prop::collection::btree_map("[A-Za-z-]{1,8}", prop::collection::vec(value, 1..3), 0..3);
    let number = || prop_oneof![Just(0), Just(127), Just(128), any::<u64>(), Just(u64::MAX)];
    (
        (text(), number(), any::<u16>(), -9_000_000_000_000_000_000i64..9_000_000_000_000_000_000),
        (0..=i64::MAX as u64, number(), number(), text()),
        (prop::collection::vec(any::<u8>(), 0..20), "[A-Z]{0,7}", text(), headers),
    )
        .prop_map(
            |((attack, seq, code, at), (latency, bytes_out, bytes_in, error), (body, method, url, headers))| Record {
                attack,
                seq,
                code,
                timestamp: Timestamp::from_nanosecond(at.into()).unwrap(),
                zone: Offset::UTC,
                latency: Duration::from_nanos(latency),
                bytes_out,
                bytes_in,
                error,
                body,
                method,
                url,
                headers,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(records in prop::collection::vec(record(), 1..5), minutes in -1439i32..1440) {
        for encoding in ENCODINGS {
            prop_assert_eq!(&whole(&written(encoding, &records)), &records, "{}", encoding);
        }
        let zone = Offset::from_seconds(minutes * 60).unwrap();
        let zoned = |zone| records.iter().map(|record| Record { zone, ..record.clone() }).collect::<Vec<_>>();
        for encoding in [Encoding::Gob, Encoding::Json] {
            // Go's binary time has -1 for UTC, so that this one zone cannot be said: the instant stays.
            let read = if encoding == Encoding::Gob && minutes == -1 { Offset::UTC } else { zone };
            prop_assert_eq!(whole(&written(encoding, &zoned(zone))), zoned(read), "{}", encoding);
        }
    }

    #[test]
    fn a_zone_of_minus_one_minute_is_utc_in_gob_alone(record in record()) {
        let zoned = |zone| vec![Record { zone, ..record.clone() }];
        let minute = Offset::from_seconds(-60).unwrap();
        prop_assert_eq!(whole(&written(Encoding::Gob, &zoned(minute))), zoned(Offset::UTC));
        prop_assert_eq!(whole(&written(Encoding::Json, &zoned(minute))), zoned(minute));
    }

    #[test]
    fn noise_is_an_error_and_no_panic(noise in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..2000) {
        prop_assert!(read(&noise, false).1.is_some(), "{noise:?} is no file of results");
        for name in ["results.gob", "results.json", "results.csv"] {
            let mut bytes = fixture(name);
            let at = at.min(bytes.len());
            bytes.splice(at..(at + noise.len()).min(bytes.len()), noise.iter().copied());
            read(&bytes, false);
            read(&bytes, true);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_cut_anywhere_names_the_place(records in prop::collection::vec(record(), 1..4)) {
        for encoding in ENCODINGS {
            assert_cut_anywhere(encoding, &records)?;
        }
    }
}
