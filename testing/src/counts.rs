//! How often tests do what takes long.

/// Set where tests are to do all of it.
const FULL: &str = "SECRETFS_FULL";
/// What they do, one line for each.
const TABLE: &str = include_str!("../counts");

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// What tests call it.
    pub name: &'static str,
    /// How often CI does it.
    pub usual: usize,
    /// How often `hack/test --full` does it.
    pub full: usize,
    /// Of what it is the number.
    pub what: &'static str,
}

/// All that tests count.
pub fn counted() -> Vec<Counted> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("testing/counts: {line}"))).collect()
}

fn parse(line: &'static str) -> Option<Counted> {
    let (name, rest) = line.split_once(' ')?;
    let (usual, rest) = rest.trim_start().split_once(' ')?;
    let (full, what) = rest.trim_start().split_once(' ')?;
    Some(Counted { name, usual: usual.parse().ok()?, full: full.parse().ok()?, what: what.trim_start() })
}

/// How often a test does what `name` of `testing/counts` is about.
///
/// # Panics
///
/// There is no such name, or the variable of this name is no number.
pub fn count(name: &str) -> usize {
    let counted = counted().into_iter().find(|counted| counted.name == name);
    let counted = counted.unwrap_or_else(|| panic!("{name} is not in testing/counts"));
    let told = std::env::var(format!("SECRETFS_{name}")).ok();
    let is_full = std::env::var_os(FULL).is_some();
    chosen(counted, told.as_deref(), is_full)
}

fn chosen(counted: Counted, told: Option<&str>, is_full: bool) -> usize {
    match told {
        Some(told) => told.parse().unwrap_or_else(|_| panic!("SECRETFS_{} is a number", counted.name)),
        None if is_full => counted.full,
        None => counted.usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_does_less_than_everything_and_a_variable_says_otherwise() {
        for counted in counted() {
            assert!(0 < counted.usual && counted.usual < counted.full, "{counted:?}");
            let numbers = [(None, false), (None, true), (Some("7"), true)]
                .map(|(told, is_full)| chosen(counted, told, is_full));
            assert_eq!(numbers, [counted.usual, counted.full, 7]);
        }
    }
}
