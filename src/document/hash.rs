//! The hash by which Chaos Toolkit's tools know an experiment: BLAKE2b over Python's JSON with sorted keys.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

/// `chaoslib.experiment_hash`: 24 hexadecimal digits.
pub(crate) fn experiment_hash(experiment: &Value) -> String {
    let mut text = Vec::new();
    // Values have texts for keys, and memory does not fail.
    let _ = experiment.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Python));
    blake2b::<12>(&text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As `json.dumps` writes: blanks after commas and colons, nothing but ASCII.
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for letter in fragment.chars() {
            if letter.is_ascii() && !letter.is_ascii_control() {
                write!(writer, "{letter}")?;
            } else {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(crate::document::py::text::repr_float(value).as_bytes())
    }
}

const START: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// The order in which the words of a block are mixed in, for each round (RFC 7693, section 2.7).
const ORDER: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

/// Which words of the state are mixed: columns, then diagonals.
const MIXED: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

const BLOCK: usize = 128;

/// BLAKE2b without a key, RFC 7693. It is a name here, not a proof: no crate of this one has it.
fn blake2b<const LENGTH: usize>(text: &[u8]) -> [u8; LENGTH] {
    let mut state = START;
    state[0] ^= 0x0101_0000 ^ LENGTH as u64;
    // The last block is compressed as such, even if it is full or nothing.
    let blocks = text.len().div_ceil(BLOCK).max(1);
    for number in 0..blocks {
        let (from, to) = (number * BLOCK, text.len().min((number + 1) * BLOCK));
        let mut block = [0; BLOCK];
        block[..to - from].copy_from_slice(&text[from..to]);
        compress(&mut state, &block, to as u128, number + 1 == blocks);
    }
    let bytes = state.iter().flat_map(|word| word.to_le_bytes());
    let mut hash = [0; LENGTH];
    hash.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    hash
}

fn compress(state: &mut [u64; 8], block: &[u8; BLOCK], length: u128, last: bool) {
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    }
    let mut work = [0_u64; 16];
    work[..8].copy_from_slice(state);
    work[8..].copy_from_slice(&START);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of it")]
    let (low, high) = (length as u64, (length >> 64) as u64);
    work[12] ^= low;
    work[13] ^= high;
    if last {
        work[14] = !work[14];
    }
    for round in 0..12 {
        let order = &ORDER[round % 10];
        for (step, [a, b, c, d]) in MIXED.into_iter().enumerate() {
            let mut mix = |word: u64, first: u32, second: u32| {
                work[a] = work[a].wrapping_add(work[b]).wrapping_add(word);
                work[d] = (work[d] ^ work[a]).rotate_right(first);
                work[c] = work[c].wrapping_add(work[d]);
                work[b] = (work[b] ^ work[c]).rotate_right(second);
            };
            mix(words[order[2 * step]], 32, 24);
            mix(words[order[2 * step + 1]], 16, 63);
        }
    }
    for (index, word) in state.iter_mut().enumerate() {
        *word ^= work[index] ^ work[index + 8];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hexadecimal(text: &[u8]) -> String {
        blake2b::<12>(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn it_is_the_hash_of_hashlib() {
        assert_eq!(hexadecimal(b"abc"), "48b4f1f9042a2d5033b382b5");
        assert_eq!(hexadecimal(&[b'a'; 300]), "c0df67c2392dd2c7e19da482");
        assert_eq!(hexadecimal(&[b'a'; 128]), "e2a76400d48dd7e05fa3d305");
        assert_eq!(hexadecimal(b""), "b8e1dda3ac0aa3820ad2990b");
    }

    #[test]
    fn an_experiment_has_the_hash_that_chaoslib_gives_it() {
        let experiment = json!({"title": "t", "description": "d é", "method": []});
        assert_eq!(experiment_hash(&experiment), "65cb63d9b26046d7106007f7");
        let numbers = json!({"n": [1.5, 1e20, 1.5e-7, 0.0001, 1e16, -0.0, 3, true, null], "s": "😀\n\"\u{7f}\u{1}/"});
        assert_eq!(experiment_hash(&numbers), "fd4e24c29d022236bae04f74");
    }
}
