use serde::Serialize;

use crate::commands::output::count;

/// What will be different.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The driver whose place is taken.
    pub driver: String,
    /// Classes that were looked at.
    pub classes: usize,
    /// Volumes that were looked at; those of one Deployment, or the like, are one.
    pub volumes: usize,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
    /// What will be different, the worst first.
    pub differences: Vec<Difference>,
}

/// Something that will be different under secretfs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// How it will be felt.
    pub effect: Effect,
    /// Of what, as in `SecretProviderClass shop/db`.
    pub object: String,
    /// What is different, in words.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
}

/// How a difference will be felt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// New pods will wait.
    Breaks,
    /// Pods start, and something behaves in another way.
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

    /// Each difference with its reason and its remedy below it, and a line for all.
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
