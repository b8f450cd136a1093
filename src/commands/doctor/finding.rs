use std::fmt;

use serde::Serialize;

use crate::commands::output::{count, table};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it has to be.
    Ok,
    /// It could not be looked at.
    NotLookedAt,
    /// It works, and something is to be known.
    Warning,
    /// It does not work.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at: one of a closed set, for scripts.
    pub check: &'static str,
    /// The fact, in words.
    pub found: String,
    /// What to do, unless all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    /// As it has to be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, found: found.into(), remedy: String::new() }
    }

    /// It could not be looked at, and `why`.
    pub fn not_looked_at(check: &'static str, why: impl Into<String>) -> Self {
        Self { level: Level::NotLookedAt, check, found: why.into(), remedy: String::new() }
    }

    /// It works, and something is to be known.
    pub fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, check, found: found.into(), remedy: remedy.into() }
    }

    /// It does not work.
    pub fn error(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Error, ..Self::warning(check, found, remedy) }
    }
}

/// Everything that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Findings that make it fail.
    pub errors: usize,
    /// Findings that do not.
    pub warnings: usize,
    /// What could not be looked at.
    pub not_looked_at: usize,
    /// All of them, in the order of looking.
    pub findings: Vec<Finding>,
}

impl From<Vec<Finding>> for Report {
    fn from(findings: Vec<Finding>) -> Self {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        Self {
            errors: count(Level::Error),
            warnings: count(Level::Warning),
            not_looked_at: count(Level::NotLookedAt),
            findings,
        }
    }
}

impl Report {
    /// A table, and a line for all.
    pub fn text(&self) -> String {
        let head = ["LEVEL", "CHECK", "FOUND"].map(str::to_owned).to_vec();
        let rows: Vec<Vec<String>> =
            std::iter::once(head).chain(self.findings.iter().map(Finding::row)).collect();
        let (errors, warnings) = (count(self.errors, "error"), count(self.warnings, "warning"));
        format!("{}\n{errors}, {warnings}, {} not looked at\n", table(&rows), self.not_looked_at)
    }
}

impl Finding {
    fn row(&self) -> Vec<String> {
        let told = if self.remedy.is_empty() {
            self.found.clone()
        } else {
            format!("{}; {}", self.found, self.remedy)
        };
        vec![self.level.to_string(), self.check.to_owned(), told]
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::NotLookedAt => "not looked at",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}
