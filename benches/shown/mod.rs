//! How figures are printed.

use std::time::Duration;

/// One line: the least, the median and the most of several rounds.
pub fn told(name: &str, asked: &str, mut all: Vec<Duration>) {
    all.sort();
    let (least, median, most) = (all[0], all[all.len() / 2], all[all.len() - 1]);
    println!("{name:<66} {least:>10.2?} {median:>10.2?} {most:>10.2?}   (asked: {asked}; {} rounds)", all.len());
}
