use std::fmt;

use serde::Serialize;

use crate::commands::output::{count, table};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// All is well.
    Ok,
    /// It could not be checked.
    NotLookedAt,
    /// It works, but there is something that the user should know.
    Warning,
    /// It does not work.
    Error,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The severity.
    pub level: Level,
    /// The name of the check: one of a closed set, for scripts.
    pub check: &'static str,
    /// What was found, in words.
    pub found: String,
    /// What to do. Empty if all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    /// A finding that all is well.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, found: found.into(), remedy: String::new() }
    }

    /// A finding that something could not be checked, with the reason.
    pub fn not_looked_at(check: &'static str, why: impl Into<String>) -> Self {
        Self { level: Level::NotLookedAt, check, found: why.into(), remedy: String::new() }
    }

    /// A finding about something that works, but that the user should know.
    pub fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warning, check, found: found.into(), remedy: remedy.into() }
    }

    /// A finding about something that does not work.
    pub fn error(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Error, ..Self::warning(check, found, remedy) }
    }
}

/// All results of the doctor.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many findings are errors.
    pub errors: usize,
    /// How many findings are warnings.
    pub warnings: usize,
    /// How many checks could not be made.
    pub not_looked_at: usize,
    /// All findings, in the order of the checks.
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
    /// A table of the findings, and one line with the totals.
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
