//! A plan for people, and for programs.

use std::fmt;

use serde_json::{Value, json};

use super::{Change, Entry, Plan};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cluster {
            Some(cluster) => writeln!(f, "{}, on {cluster}", self.title)?,
            None => writeln!(f, "{}, on no cluster", self.title)?,
        }
        if !self.measured.is_empty() {
            writeln!(f, "measured when the run begins: {}", self.measured.join(", "))?;
        }
        for control in &self.controls {
            writeln!(f, "control: {control}")?;
        }
        match &self.hypothesis {
            Some(title) => writeln!(f, "hypothesis ({}): {title}", self.hypothesis_strategy)?,
            None => writeln!(f, "no hypothesis: nothing will be judged")?,
        }
        list(f, &self.probes)?;
        writeln!(f, "method:")?;
        list(f, &self.method)?;
        if self.rollbacks.is_empty() {
            writeln!(f, "no rollbacks of its own")?;
        } else {
            writeln!(f, "rollbacks ({}):", self.rollbacks_strategy)?;
            list(f, &self.rollbacks)?;
        }
        for object in &self.undone_at_the_end {
            writeln!(f, "undone by the run at its end: what is done to {object}")?;
        }
        if !self.rights.is_empty() {
            writeln!(f, "rights needed:")?;
        }
        for right in &self.rights {
            let missing = if self.lacking.contains(right) { " (MISSING)" } else { "" };
            writeln!(f, "  - {right}{missing}")?;
        }
        if !self.undo_layers.is_empty() {
            writeln!(f, "undone by: {}", self.undo_layers.join("; "))?;
        }
        Ok(())
    }
}

fn list(f: &mut fmt::Formatter<'_>, entries: &[Entry]) -> fmt::Result {
    for (number, entry) in entries.iter().enumerate() {
        writeln!(f, "  {}. {} {}: {}", number + 1, entry.kind, entry.name, entry.does)?;
        entry.details(&mut |line: &str| writeln!(f, "       {line}"))?;
    }
    Ok(())
}

impl Entry {
    fn details(&self, line: &mut dyn FnMut(&str) -> fmt::Result) -> fmt::Result {
        if let Some(tolerance) = &self.tolerance {
            line(&format!("tolerance: {tolerance}"))?;
        }
        for note in &self.notes {
            line(&format!("note: {note}"))?;
        }
        for change in &self.changes {
            match change {
                Change::Left(what) => line(&format!("left as it is, nobody undoes it: {what}"))?,
                Change::Fault { fault, targets, trusted, left, .. } => {
                    line(&format!("fault: {fault}"))?;
                    for target in &targets.names {
                        line(&format!("  target: {target}"))?;
                    }
                    for note in &targets.notes {
                        line(&format!("  note: {note}"))?;
                    }
                    if *left {
                        line("  note: left on at the end, nobody undoes it")?;
                    }
                    if let Some(why) = trusted {
                        line(&format!("  note: believed without a proof: {why}"))?;
                    }
                }
            }
        }
        for object in &self.ends {
            line(&format!("ends: what this experiment did to {object}"))?;
        }
        if let Some(why) = &self.fails {
            line(&format!("FAILS: {why}"))?;
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let changes = self.changes.iter().map(|change| match change {
            Change::Left(what) => json!({"does": what, "undone": false}),
            Change::Fault { fault, targets, places, trusted, left } => json!({
                "does": fault, "undone": !left, "targets": targets.names, "rights": targets.rights, "places": places,
                "notes": targets.notes, "trusted": trusted,
            }),
        });
        json!({
            "type": self.kind, "name": self.name, "does": self.does, "tolerance": self.tolerance,
            "changes": changes.collect::<Vec<_>>(), "ends": self.ends, "fails": self.fails, "notes": self.notes,
        })
    }
}

impl Plan {
    /// The same as JSON: activities have `changes`, each of them with what it `does` and whether it is `undone`.
    pub(crate) fn to_json(&self) -> Value {
        let list = |entries: &[Entry]| entries.iter().map(Entry::to_json).collect::<Value>();
        json!({
            "title": self.title,
            "cluster": self.cluster,
            "strategies": {"hypothesis": self.hypothesis_strategy, "rollbacks": self.rollbacks_strategy},
            "measured": self.measured,
            "controls": self.controls,
            "hypothesis": self.hypothesis.as_ref().map(|title| json!({"title": title, "probes": list(&self.probes)})),
            "method": list(&self.method),
            "rollbacks": list(&self.rollbacks),
            "undone_at_the_end": self.undone_at_the_end,
            "rights": self.rights,
            "lacking": self.lacking,
            "undone_by": self.undo_layers,
            "fails": self.fails(),
        })
    }
}
