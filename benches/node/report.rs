//! What was measured, as a table, as Markdown and as JSON lines.

use std::fmt;
use std::path::Path;

use serde_json::json;

use crate::measure::Samples;

/// Of what a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Ms,
    Micros,
    PerSecond,
    Mib,
    Megabytes,
    Calls,
    Count,
}

/// What the number is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Measured to be known.
    None,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) unit: Unit,
    /// The figure of the existing driver with its vault provider.
    pub(crate) peer: &'static str,
    pub(crate) goal: Goal,
    pub(crate) ours: f64,
    /// The least that the kernel and the store themselves take, measured in the same run.
    pub(crate) floor: Option<f64>,
    /// p99, counts, and what else is to be known.
    pub(crate) more: String,
}

/// Where it was measured.
#[derive(Debug, Clone)]
pub(crate) struct Conditions {
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) openbao: String,
    pub(crate) binary: String,
}

impl Line {
    /// A line of times of which the median counts.
    pub(crate) fn of(what: &str, ours: &Samples) -> Self {
        Self {
            what: what.to_owned(),
            unit: Unit::Ms,
            peer: "–",
            goal: Goal::None,
            ours: ours.median(),
            floor: None,
            more: format!("p99 {}, n {}", number(ours.p99()), ours.len()),
        }
    }

    pub(crate) fn number(what: &str, unit: Unit, ours: f64) -> Self {
        let (peer, goal) = ("–", Goal::None);
        Self { what: what.to_owned(), unit, peer, goal, ours, floor: None, more: String::new() }
    }

    pub(crate) fn peer(self, peer: &'static str) -> Self {
        Self { peer, ..self }
    }

    pub(crate) fn at_most(self, goal: f64) -> Self {
        Self { goal: Goal::AtMost(goal), ..self }
    }

    pub(crate) fn at_least(self, goal: f64) -> Self {
        Self { goal: Goal::AtLeast(goal), ..self }
    }

    pub(crate) fn floor(self, floor: f64) -> Self {
        Self { floor: Some(floor), ..self }
    }

    pub(crate) fn more(mut self, more: impl fmt::Display) -> Self {
        let comma = if self.more.is_empty() { "" } else { ", " };
        self.more = format!("{}{comma}{more}", self.more);
        self
    }

    fn met(&self) -> Option<bool> {
        match self.goal {
            Goal::AtMost(most) => Some(self.ours <= most),
            Goal::AtLeast(least) => Some(self.ours >= least),
            Goal::None => None,
        }
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.ours / self.floor.filter(|floor| *floor > 0.0)?)
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Goal::AtMost(most) => format!("≤ {}", self.unit.of(most)),
            Goal::AtLeast(least) => format!("≥ {}", self.unit.of(least)),
            Goal::None => "–".to_owned(),
        }
    }

    fn cells(&self) -> [String; 7] {
        let verdict = match self.met() {
            Some(false) => " ✗",
            _ => "",
        };
        [
            self.what.clone(),
            self.peer.to_owned(),
            self.goal_text(),
            format!("{}{verdict}", self.unit.of(self.ours)),
            self.floor.map_or_else(|| "–".to_owned(), |floor| self.unit.of(floor)),
            self.ratio().map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.1}×")),
            self.more.clone(),
        ]
    }

    pub(crate) fn json(&self, row: &str, conditions: &Conditions) -> String {
        json!({
            "row": row, "what": self.what, "unit": self.unit.name(), "peer": self.peer,
            "goal": self.goal_text(), "ours": self.ours, "floor": self.floor, "ratio": self.ratio(),
            "met": self.met(), "more": self.more, "cores": conditions.cores,
            "kernel": conditions.kernel, "openbao": conditions.openbao, "binary": conditions.binary,
            "load": load(),
        })
        .to_string()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [what, _, goal, ours, floor, _, more] = self.cells();
        write!(f, "{what}: {ours} (goal {goal}, floor {floor}; {more})")
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Micros => "µs",
            Self::PerSecond => "/s",
            Self::Mib => "MiB",
            Self::Megabytes => "MB",
            Self::Calls => "calls",
            Self::Count => "",
        }
    }

    fn of(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", number(value)),
            Self::Calls | Self::Count => number(value),
            _ => format!("{} {}", number(value), self.name()),
        }
    }
}

impl Conditions {
    pub(crate) fn here(openbao: String, binary: &Path) -> Self {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: kernel.trim().to_owned(),
            openbao,
            binary: binary.display().to_string(),
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, kernel, openbao, binary: _ } = self;
        write!(f, "{cores} cores, Linux {kernel}, OpenBao {openbao} on the same cores, load {}", load())
    }
}

/// Load of the last minute.
pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value == value.trunc() => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

const HEAD: [&str; 7] = ["what", "peer", "goal", "ours", "floor", "ratio", "conditions"];

pub(crate) fn markdown(lines: &[Line]) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head = row(&HEAD.map(str::to_owned)) + &row(&HEAD.map(|_| "---".to_owned()));
    lines.iter().fold(head, |table, line| table + &row(&line.cells()))
}

/// The same in columns.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(lines.iter().map(Line::cells));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..HEAD.len()).map(width).collect();
    let padded = |row: &[String; 7]| -> String {
        row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect()
    };
    rows.iter().map(|row| padded(row).trim_end().to_owned() + "\n").collect()
}
