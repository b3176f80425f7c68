//! What a stream of the command may have beside text: the one place that decides about colours and about redrawing.
//!
//! Called by whoever writes either. It promises what no-color.org and bixense.com/clicolors ask for: with `NO_COLOR` there
//! are no colours, else with `CLICOLOR_FORCE` there are, else on a terminal that knows them, unless `CLICOLOR` is `0`. Lines
//! are redrawn on a terminal that can, whatever is said of colours.

use std::io::IsTerminal;

/// Whether lines on this stream have colours.
pub(super) fn colours(stream: &impl IsTerminal) -> bool {
    are_colours(stream.is_terminal(), &crate::variables::text)
}

/// Whether this stream can be drawn over.
pub(super) fn redraws(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && moves(&crate::variables::text)
}

type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

fn are_colours(terminal: bool, variable: Variable<'_>) -> bool {
    if variable("NO_COLOR").is_some() {
        return false;
    }
    if variable("CLICOLOR_FORCE").is_some_and(|force| force != "0") {
        return true;
    }
    terminal && moves(variable) && variable("CLICOLOR").is_none_or(|wanted| wanted != "0")
}

/// Whether a terminal acts on codes at all.
fn moves(variable: Variable<'_>) -> bool {
    variable("TERM").is_some_and(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_where_they_are_known_and_wanted() {
        const XTERM: (&str, &str) = ("TERM", "xterm-256color");
        const FORCE: (&str, &str) = ("CLICOLOR_FORCE", "1");
        type Case<'a> = (&'a [(&'a str, &'a str)], bool, bool);
        let cases: [Case<'_>; 11] = [
            (&[XTERM], true, false),
            (&[], false, false),
            (&[("TERM", "dumb")], false, false),
            (&[XTERM, ("CLICOLOR", "1")], true, false),
            (&[XTERM, ("CLICOLOR", "0")], false, false),
            (&[XTERM, ("NO_COLOR", "1")], false, false),
            (&[XTERM, ("NO_COLOR", "0")], false, false),
            (&[XTERM, FORCE, ("NO_COLOR", "1")], false, false),
            (&[("TERM", "dumb"), FORCE, ("CLICOLOR", "0")], true, true),
            (&[FORCE], true, true),
            (&[XTERM, ("CLICOLOR_FORCE", "0")], true, false),
        ];
        for (set, on_a_terminal, in_a_pipe) in cases {
            let variable = |name: &str| set.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
            let found = [true, false].map(|terminal| are_colours(terminal, &variable));
            assert_eq!(found, [on_a_terminal, in_a_pipe], "{set:?}");
        }
    }
}
