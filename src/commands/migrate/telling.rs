use serde::Serialize;

use crate::commands::output::count;

/// All differences after the move.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The driver that secretfs replaces.
    pub driver: String,
    /// The number of classes that were judged.
    pub classes: usize,
    /// The number of volumes that were judged. All pods of one Deployment, or of a similar workload, count once.
    pub volumes: usize,
    /// What could not be read, and why.
    pub unseen: Vec<String>,
    /// The differences, the worst first.
    pub differences: Vec<Difference>,
}

/// Something that will be different with secretfs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// How serious it is.
    pub effect: Effect,
    /// The object that it is about, as in `SecretProviderClass shop/db`.
    pub object: String,
    /// What is different, in words.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

/// How serious a difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// New pods will wait.
    Breaks,
    /// Pods start, but something behaves differently.
    Changes,
    /// Nothing has to be done.
    Note,
}

impl Effect {
    fn word(self) -> &'static str {
        match self {
            Self::Breaks => "breaks",
            Self::Changes => "changes",
            Self::Note => "note",
        }
    }
}

impl Plan {
    /// Whether new pods will wait.
    pub fn breaks(&self) -> bool {
        self.count(Effect::Breaks) > 0
    }

    fn count(&self, effect: Effect) -> usize {
        self.differences.iter().filter(|difference| difference.effect == effect).count()
    }

    /// Each difference with its reason and its remedy, and one line with the totals.
    pub fn text(&self) -> String {
        let differences: String = self.differences.iter().map(line).collect();
        let unseen: String = self.unseen.iter().map(|what| format!("not looked at: {what}\n")).collect();
        let classes =
            if self.classes == 1 { "1 class".to_owned() } else { format!("{} classes", self.classes) };
        let (breaks, changes) = (self.count(Effect::Breaks), self.count(Effect::Changes));
        format!(
            "{differences}{unseen}{}: {classes}, {}: {breaks} will break, {changes} will change, {}\n",
            self.driver,
            count(self.volumes, "volume"),
            count(self.count(Effect::Note), "note"),
        )
    }
}

fn line(difference: &Difference) -> String {
    let Difference { effect, object, reason, remedy } = difference;
    format!("{:<8} {object}\n         {reason}\n         → {remedy}\n", effect.word())
}
