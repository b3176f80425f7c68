//! Tables as Go's tabwriter aligns them.

/// Pads every cell but a row's last to its column's longest, and two spaces.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths = [0; N];
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(width(cell));
        }
    }
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < N {
                text.extend(std::iter::repeat_n(' ', widths[column] - width(cell) + 2));
            }
        }
        text.push('\n');
    }
    text
}
