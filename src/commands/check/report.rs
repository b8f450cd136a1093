use std::fmt;

use manifest::Fault;
use serde::Serialize;

use crate::commands::output::count;

/// The result of a check.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Files that were read.
    pub files: usize,
    /// Classes without errors.
    pub classes: usize,
    /// Volumes of pods that mount classes.
    pub volumes: usize,
    /// How many findings are errors.
    pub errors: usize,
    /// How many findings are warnings.
    pub warnings: usize,
    /// All findings, by file and line.
    pub findings: Vec<Finding>,
}

/// One problem in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// Its line, from 1.
    pub line: Option<usize>,
    /// Whether the manifest can work with it.
    pub severity: Severity,
    /// The key that has the problem.
    pub key: String,
    /// What is wrong.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

/// Whether something can work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot work as it is written.
    Error,
    /// It works, but may be a mistake.
    Warning,
}

impl Report {
    pub(super) fn add(&mut self, file: &str, severity: Severity, fault: Fault) {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        let Fault { line, key, reason, remedy } = fault;
        self.findings.push(Finding { file: file.to_owned(), line, severity, key, reason, remedy });
    }

    /// Turns all warnings into errors.
    pub(super) fn strictly(mut self) -> Self {
        self.findings.iter_mut().for_each(|finding| finding.severity = Severity::Error);
        self.errors += std::mem::take(&mut self.warnings);
        self
    }

    /// A line for each finding, and one line with the totals.
    pub fn text(&self) -> String {
        let findings: String = self.findings.iter().map(|finding| format!("{finding}\n")).collect();
        format!(
            "{findings}{}, {}, {}: {}, {}\n",
            count(self.files, "file"),
            if self.classes == 1 { "1 class".to_owned() } else { format!("{} classes", self.classes) },
            count(self.volumes, "volume"),
            count(self.errors, "error"),
            count(self.warnings, "warning"),
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line.unwrap_or(1))?;
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}: {}", self.key, self.reason)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}
