//! Down-sampling: one dot for each cell of the page, so that what is drawn looks as all requests would.
//!
//! Each column keeps its slowest and its fastest request where they are; how many requests a dot stands for is its
//! weight. Cells grow until no more dots are left than are wanted.

use super::series::Point;

/// The finest cell, in units of the drawing.
const FINEST: f64 = 2.0;

/// No cell is larger: a drawing of fewer columns says nothing.
const COARSEST: f64 = 256.0;

/// A dot: where it is, and for how many requests it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dot {
    pub x: f64,
    pub y: f64,
    pub outcome: usize,
    pub requests: u64,
}

/// The dots of the points, at most `most` as far as two for each column and outcome allow; 0 draws each request.
pub(super) fn dots(points: &[Point], most: usize, place: impl Fn(&Point) -> (f64, f64)) -> Vec<Dot> {
    let all: Vec<Dot> = points
        .iter()
        .map(|point| {
            let (x, y) = place(point);
            Dot { x, y, outcome: point.outcome, requests: 1 }
        })
        .collect();
    if most == 0 || all.len() <= most {
        return all;
    }
    let (mut kept, mut cell) = (all, FINEST);
    loop {
        kept = thinned(&kept, cell);
        if kept.len() <= most || cell > COARSEST {
            return kept;
        }
        cell *= 1.5;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a place on the page is a small number")]
fn thinned(all: &[Dot], cell: f64) -> Vec<Dot> {
    let key = |dot: &Dot| ((dot.x / cell) as i32, dot.outcome, (dot.y / cell) as i32);
    let mut order: Vec<&Dot> = all.iter().collect();
    order.sort_by(|one, other| {
        let ((column, outcome, _), (column_, outcome_, _)) = (key(one), key(other));
        (column, outcome).cmp(&(column_, outcome_)).then(one.y.total_cmp(&other.y)).then(one.x.total_cmp(&other.x))
    });
    let mut kept: Vec<Dot> = Vec::new();
    for column in order.chunk_by(|one, other| (key(one).0, key(one).1) == (key(other).0, key(other).1)) {
        for (number, rows) in column.chunk_by(|one, other| key(one) == key(other)).enumerate() {
            // Upwards is smaller: the slowest of a column is the first, the fastest the last.
            let dot = if number == 0 { rows[0] } else { rows[rows.len() - 1] };
            kept.push(Dot { requests: rows.iter().map(|dot| dot.requests).sum(), ..*dot });
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(point: &Point) -> (f64, f64) {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        (point.at as f64, point.latency as f64)
    }

    #[test]
    fn few_requests_are_all_drawn() {
        let points = [Point { at: 1, latency: 2, outcome: 0 }, Point { at: 1, latency: 2, outcome: 0 }];
        assert_eq!(dots(&points, 10, at).len(), 2);
    }

    proptest! {
        #[test]
        fn no_request_is_lost_and_the_extremes_stay(
            points in proptest::collection::vec((0..980_u64, 0..300_u64, 0..3_usize), 1..3000),
            most in 40..400_usize,
        ) {
            let points: Vec<Point> =
                points.into_iter().map(|(at, latency, outcome)| Point { at, latency, outcome }).collect();
            let dots = dots(&points, most, at);
            prop_assert_eq!(dots.iter().map(|dot| dot.requests).sum::<u64>(), points.len() as u64);
            prop_assert!(dots.len() <= most, "{} dots of at most {most}", dots.len());
            for outcome in 0..3 {
                let of = |kept: &[f64]| (kept.iter().copied().reduce(f64::min), kept.iter().copied().reduce(f64::max));
                let all: Vec<f64> = points.iter().filter(|point| point.outcome == outcome).map(|point| at(point).1).collect();
                let kept: Vec<f64> = dots.iter().filter(|dot| dot.outcome == outcome).map(|dot| dot.y).collect();
                prop_assert_eq!(of(&all).0, of(&kept).0, "the slowest");
            }
        }
    }
}
