//! Pages of the reference, in Markdown.

use super::page::{CLASS_PAGE, Entry, Page, Section};

/// The page in Markdown.
pub(super) fn page(page: &Page) -> String {
    let sections: String = page.sections.iter().map(section).collect();
    format!(
        "<!-- `secretfs explain --reference docs/reference` writes this page: change the declarations, not this. -->\n\
         # {}\n\n{}\n{}{sections}",
        title(page),
        page.about,
        facts(page)
    )
}

fn title(page: &Page) -> String {
    if page.name() == CLASS_PAGE {
        return "SecretProviderClass".to_owned();
    }
    format!("Provider `{}`: {}", page.name(), page.title)
}

fn facts(page: &Page) -> String {
    let Some(seconds) = page.default_refresh else { return String::new() };
    let quoted = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let credentials = if page.credentials.is_empty() { "none".to_owned() } else { quoted(page.credentials) };
    format!(
        "\n- Names in `spec.provider`: {}\n- A value is read again after: {seconds}s, where the class does not say\n\
         - Keys of credentials: {credentials}\n\nThe settings that every class has are in [{CLASS_PAGE}.md]({CLASS_PAGE}.md).\n",
        quoted(&page.names)
    )
}

fn section(section: &Section) -> String {
    let rows: String = section.keys.iter().map(row).collect();
    format!(
        "\n## {}\n\n| key | holds | default | meaning | example |\n|---|---|---|---|---|\n{rows}",
        section.title
    )
}

fn row(entry: &Entry) -> String {
    let default = if entry.required { "**required**" } else { entry.default.unwrap_or("–") };
    let older = entry.older_than.map(|newer| format!(" An older name of `{newer}`."));
    let cells = [
        format!("`{}`", entry.key),
        entry.holds.clone(),
        default.to_owned(),
        format!("{}{}", entry.meaning, older.unwrap_or_default()),
        format!("`{}`", entry.value),
    ];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

#[cfg(test)]
mod tests {
    use super::page;
    use crate::commands::explain::page::all;

    #[test]
    fn a_bar_in_a_cell_ends_no_cell() {
        let pages: String = all().iter().map(page).collect();
        for line in pages.lines().filter(|line| line.starts_with('|')) {
            let cells = line.replace("\\|", "").matches('|').count();
            assert_eq!(cells, 6, "{line}");
        }
    }
}
