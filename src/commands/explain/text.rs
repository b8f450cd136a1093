//! Pages and keys as text for a terminal.

use super::page::{Entry, Page, Section};
use crate::commands::output::table;

/// A line for every provider and every setting.
pub(super) fn all(pages: &[Page]) -> String {
    let lines = pages.iter().map(|page| vec![page.names.join(", "), page.title.to_owned()]);
    let providers = [vec!["NAME".to_owned(), "WHAT IT IS".to_owned()]].into_iter().chain(lines);
    let settings = pages.iter().flat_map(|page| &page.sections).filter(|section| is_of_every_class(section));
    let settings: String = settings.map(section).collect();
    format!(
        "{}\nAny other provider is an external one, whose own documentation tells its parameters.\n\n{settings}\n\
         `secretfs explain NAME` tells the keys of one, and `secretfs explain NAME.KEY` everything about a key.\n",
        table(&providers.collect::<Vec<_>>())
    )
}

fn is_of_every_class(section: &Section) -> bool {
    section.keys.iter().all(|entry| entry.key == entry.path)
}

/// A page: its subject, and a line for each key.
pub(super) fn page(page: &Page) -> String {
    let sections: Vec<_> = page.sections.iter().map(section).collect();
    format!(
        "{}: {}\n\n{}\n{}\n{}",
        page.names.join(", "),
        page.title,
        page.about,
        facts(page),
        sections.join("\n")
    )
}

fn facts(page: &Page) -> String {
    let Some(seconds) = page.default_refresh else { return String::new() };
    let credentials =
        if page.credentials.is_empty() { "none".to_owned() } else { page.credentials.join(", ") };
    format!(
        "\nRead again after:  {seconds}s where the class does not say\nCredentials:       {credentials}\n"
    )
}

fn section(section: &Section) -> String {
    let heads = ["KEY", "WHAT IT IS"].map(str::to_owned).to_vec();
    let rows = section.keys.iter().map(|entry| vec![entry.key.to_owned(), line(entry)]);
    format!("{}:\n\n{}", section.title, table(&[heads].into_iter().chain(rows).collect::<Vec<_>>()))
}

/// A short description of a key, for one line.
fn line(entry: &Entry) -> String {
    match entry.older_than {
        Some(newer) => format!("older name of {newer}"),
        None if entry.required => format!("{} (required)", entry.summary),
        None => entry.summary.to_owned(),
    }
}

/// The full description of one key.
pub(super) fn entry(entry: &Entry) -> String {
    let older = entry.older_than.map(|newer| format!("An older name of {newer}: write that one.\n"));
    let example: String = entry.example.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "{}\n\n{}\n{}\nType:      {}\nRequired:  {}\nDefault:   {}\n\nExample:\n\n{example}",
        entry.path,
        entry.meaning,
        older.unwrap_or_default(),
        entry.holds,
        if entry.required { "yes" } else { "no" },
        entry.default.unwrap_or("-"),
    )
}
