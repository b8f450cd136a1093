//! Checks that the pages agree with each other and with the product.

use std::collections::BTreeSet;
use std::fs;

use super::blocks::{read, top};

/// Pages that are not in docs/.
const OTHERS: [&str; 6] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "SEMANTICS.md", "CHANGELOG.md"];

/// The number of cells in a row about a metric, with the empty one after the last `|`.
const COLUMNS: usize = 6;

#[test]
fn every_link_between_pages_leads_to_a_file_and_a_heading() {
    let pages = pages();
    assert!(pages.len() > 10, "{pages:?}");

    for page in &pages {
        for link in links(&read(page)) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = target(page, file);
            assert!(top().join(&target).exists(), "{page}: {link} leads nowhere");
            assert!(
                heading.is_empty() || anchors(&read(&target)).contains(heading),
                "{page}: {link}: no such heading"
            );
        }
    }
}

#[test]
fn the_index_names_every_page() {
    let index: BTreeSet<String> =
        links(&read("docs/README.md")).map(|link| target("docs/README.md", &link)).collect();

    for page in pages() {
        let is_for_authors = ["docs/README.md", "CONTRIBUTING.md"].contains(&page.as_str());
        assert!(is_for_authors || index.contains(&page), "docs/README.md does not name {page}");
    }
}

#[test]
fn the_page_of_metrics_has_every_metric_with_its_type_and_no_other() {
    let told: BTreeSet<String> = metric_rows(&read("docs/metrics.md"));

    let golden = read("tests/golden/metrics.txt");
    let families = golden.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let exported: BTreeSet<String> = families.map(family).collect();

    assert_eq!(told.symmetric_difference(&exported).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// The name of a family as its samples show it, and its type.
fn family(typed: &str) -> String {
    match typed.split_once(' ').unwrap() {
        (name, "counter") => format!("{name}_total counter"),
        (name, "info") => format!("{name}_info info"),
        (name, kind) => format!("{name} {kind}"),
    }
}

/// Name and type in each row. The row's stability must be one of those that the page explains.
fn metric_rows(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let metrics = cells.filter(|cells| cells.len() == COLUMNS);
    metrics
        .map(|cells| {
            assert!(["stable", "upstream", "internal"].contains(&cells[3]), "{cells:?}");
            format!("{} {}", cells[0].trim_end_matches('`'), cells[1])
        })
        .collect()
}

/// Every page for users, relative to the root directory of the repository.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(top().join("docs")).unwrap();
    let names = entries.map(|entry| format!("docs/{}", entry.unwrap().file_name().display()));
    let docs = names.filter(|name| name.ends_with(".md"));
    docs.chain(OTHERS.map(str::to_owned)).collect()
}

/// The targets of a page's links, without links to other machines.
fn links(page: &str) -> impl Iterator<Item = String> + '_ {
    let links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.filter(|link| !link.contains("://")).map(str::to_owned)
}

/// The file to which a page's link leads, relative to the root directory of the repository.
fn target(page: &str, file: &str) -> String {
    if file.is_empty() {
        return page.to_owned();
    }
    let directory = page.rsplit_once('/').map(|(directory, _)| directory).unwrap_or_default();
    match file.strip_prefix("../") {
        Some(above) => above.to_owned(),
        None if directory.is_empty() => file.to_owned(),
        None => format!("{directory}/{file}"),
    }
}

/// The anchors of a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings =
        page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let plain = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let anchor = |heading: &str| heading.to_lowercase().chars().filter(|c| plain(*c)).collect::<String>();
    headings.map(|heading| anchor(heading).replace(' ', "-")).collect()
}
