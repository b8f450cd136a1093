//! Checks that the code depends only on what the tables in ARCHITECTURE.md allow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The names of the parts that each part uses.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// What a crate must not know, by the names of libraries: none of them is in what it depends on, however far away.
const UNKNOWN: [(&str, &[&str]); 7] = [
    ("authority", &["tokio"]),
    ("class", &["hyper", "rusqlite", "rustls", "tonic"]),
    ("engine", &["clap", "hyper", "rusqlite", "rustls", "tonic"]),
    ("kubernetes", &["clap", "rusqlite", "tonic"]),
    ("manifest", &["tokio"]),
    ("metrics", &["tokio"]),
    ("provider", &["rustls", "tokio"]),
];

/// The attribute before an item that only tests have.
const OF_TESTS: &str = "#[cfg(test)]";

#[test]
fn the_map_shows_which_crates_use_which() {
    let crates = crates();
    let names: BTreeSet<String> = crates.keys().cloned().collect();
    let used = |manifest: &String| dependencies(manifest).intersection(&names).cloned().collect();
    let arrows: Arrows = crates.iter().map(|(name, manifest)| (name.clone(), used(manifest))).collect();

    let rows = arrows.iter().map(|(name, used)| vec![quoted([name]), quoted(used)]);
    assert_table("crates", &table(&["crate", "uses"], rows));
}

#[test]
fn what_a_crate_must_not_know_is_in_nothing_that_it_depends_on() {
    let graph = dependency_graph();
    for (name, unknown) in UNKNOWN {
        let reached = reached(&graph, name);
        let known: Vec<_> = unknown.iter().filter(|library| reached.contains(**library)).collect();
        assert!(known.is_empty(), "{name} depends on {known:?}");
    }
    let of_kubernetes = reached(&graph, "kubernetes");
    assert!(["hyper", "rustls", "engine"].iter().all(|library| of_kubernetes.contains(*library)));
}

#[test]
fn the_map_shows_which_modules_use_which() {
    assert_modules("modules", "src", env!("CARGO_PKG_NAME"));
}

#[test]
fn the_map_shows_which_modules_of_the_engine_use_which() {
    assert_modules("modules of the engine", "crates/engine/src", "engine");
}

#[test]
fn no_modules_beside_each_other_use_each_other_in_a_circle() {
    for (source, own) in [
        ("src", "crate"),
        ("src/commands", "crate::commands"),
        ("src/csi", "crate::csi"),
        ("crates/class/src", "crate"),
        ("crates/engine/src", "crate"),
        ("crates/engine/src/mode", "crate::mode"),
        ("crates/engine/src/volume", "crate::volume"),
        ("crates/kubernetes/src", "crate"),
        ("crates/metrics/src", "crate"),
    ] {
        let modules = modules(&root().join(source), own);
        let used = |(module, files): (&String, &Vec<String>)| {
            let used = named(&files.concat(), own).into_iter();
            (module.clone(), used.filter(|used| used != module && modules.contains_key(used)).collect())
        };
        let arrows: Arrows = modules.iter().map(used).collect();
        for module in arrows.keys() {
            assert!(!reached(&arrows, module).contains(module), "{source}: {module} leads back to itself");
        }
    }
    let arrows = Arrows::from([
        ("a".to_owned(), BTreeSet::from(["b".to_owned()])),
        ("b".to_owned(), BTreeSet::from(["a".to_owned()])),
    ]);
    assert!(reached(&arrows, "a").contains("a"));
}

/// Fails unless ARCHITECTURE.md has the arrows between the modules in `source`, which is the crate `own`.
fn assert_modules(between: &str, source: &str, own: &str) {
    let modules = modules(&root().join(source), "crate");
    let crates = crates().into_keys().filter(|name| name != own);
    let crates: BTreeSet<String> = crates.map(|name| name.replace('-', "_")).collect();
    let all: String = modules.values().flatten().map(String::as_str).collect();
    assert!(named(&all, "crate").is_subset(&modules.keys().cloned().collect()), "{:?}", named(&all, "crate"));

    let rows = modules.iter().map(|(module, files)| {
        let code: String = files.iter().map(String::as_str).collect();
        let used: BTreeSet<_> = named(&code, "crate").into_iter().filter(|used| used != module).collect();
        let of_crates = crates.iter().filter(|name| !named(&code, name).is_empty());
        vec![quoted([module]), quoted(&used), quoted(of_crates)]
    });
    assert_table(between, &table(&["module", "uses", "crates"], rows));
}

#[test]
fn what_tests_and_comments_use_is_no_arrow_and_what_a_list_uses_is() {
    let code = product(
        "use crate::audit::{Audit, Record};\n\
         use crate::{class::{self, Classes}, metrics};\n\
         // crate::never\n\
         /// See [`crate::neither`].\n\
         pub(crate) fn f() { mycrate::nor(); crate::volume::go() }\n\
         #[cfg(test)]\n\
         #[path = \"x\"]\n\
         mod tests {\n    use crate::fakes;\n}\n\
         use crate::visible::visible;\n",
    );

    let used: Vec<_> = named(&code, "crate").into_iter().collect();
    assert_eq!(used, ["audit", "class", "metrics", "visible", "volume"]);
    assert_eq!(dependencies("[dependencies]\nb.workspace = true\n[dev-dependencies]\nc = \"1\"\n").len(), 1);
}

/// Fails unless ARCHITECTURE.md has this table of arrows. Prints the right table.
fn assert_table(between: &str, truth: &str) {
    let map = read("ARCHITECTURE.md");
    let (begin, end) =
        (format!("<!-- arrows between {between} -->\n"), format!("<!-- /arrows between {between} -->"));
    let told = map.split(&begin).nth(1).and_then(|rest| rest.split(&end).next()).unwrap_or_default();
    let missing = truth.lines().filter(|line| !told.contains(*line)).map(|line| format!("+ {line}\n"));
    let gone = told.lines().filter(|line| !truth.contains(*line)).map(|line| format!("- {line}\n"));
    let differences: String = gone.chain(missing).collect();
    assert!(
        told == truth,
        "ARCHITECTURE.md shows other arrows between {between} than the code has:\n{differences}\n\
         If each of them is right, put this there:\n\n{begin}{truth}{end}\n"
    );
}

fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rule = format!("{}|\n", "|---".repeat(heads.len()));
    [line(&heads), rule].into_iter().chain(rows.map(|cells| line(&cells))).collect()
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "–".to_owned() } else { names.join(" ") }
}

/// The manifest of each crate in the workspace, by the crate's name.
fn crates() -> BTreeMap<String, String> {
    let root = read("Cargo.toml");
    let members = root.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
    let members = members.split(',').map(|member| member.trim().trim_matches('"'));
    members
        .flat_map(directories)
        .map(|directory| fs::read_to_string(directory.join("Cargo.toml")).unwrap())
        .map(|manifest| (name_of(&manifest), manifest))
        .collect()
}

/// The directories of the crates that match a member of the workspace.
fn directories(member: &str) -> Vec<PathBuf> {
    let Some(above) = member.strip_suffix("/*") else { return vec![root().join(member)] };
    let entries = fs::read_dir(root().join(above)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.join("Cargo.toml").exists()).collect()
}

fn name_of(manifest: &str) -> String {
    let package = manifest.split("[package]").nth(1).unwrap();
    let name = package.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
    name.trim_matches('"').to_owned()
}

/// The dependencies of a crate, build dependencies included, without those for tests only.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let (mut names, mut counts) = (BTreeSet::new(), false);
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            counts = section.ends_with("dependencies]") && !section.contains("dev-dependencies");
            counts &= !section.starts_with("workspace");
        } else if counts {
            names.insert(head(line));
        }
    }
    names.remove("");
    names
}

/// What each library depends on, by `Cargo.lock`; of crates of this workspace without what only their tests need.
fn dependency_graph() -> Arrows {
    let lock = read("Cargo.lock");
    let mut graph = Arrows::new();
    for package in lock.split("[[package]]").skip(1) {
        let names: Vec<&str> = package.split('"').skip(1).step_by(2).collect();
        let listed = package.split("dependencies = [").nth(1).unwrap_or_default();
        let used = listed.split('"').skip(1).step_by(2).map(head);
        graph.entry(names[0].to_owned()).or_default().extend(used);
    }
    let root = read("Cargo.toml");
    let own = crates().into_iter().map(|(name, manifest)| {
        (name, dependencies(&manifest).into_iter().map(|used| package_of(&root, used)).collect())
    });
    graph.extend(own);
    graph
}

/// The package that the workspace calls `name`.
fn package_of(workspace: &str, name: String) -> String {
    let line = workspace.lines().find(|line| line.starts_with(&format!("{name} = ")));
    let package = line.and_then(|line| line.split("package = \"").nth(1)?.split('"').next());
    package.map_or(name, str::to_owned)
}

fn reached(graph: &Arrows, from: &str) -> BTreeSet<String> {
    let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(name) = left.pop() {
        for used in &graph[name] {
            if reached.insert(used.clone()) {
                left.push(used);
            }
        }
    }
    reached
}

/// The product's code of each module directly in `source`, without `lib.rs`, which names them all, and `main.rs`.
/// Paths upwards to what is in `source` begin with `own` there.
fn modules(source: &Path, own: &str) -> BTreeMap<String, Vec<String>> {
    let mut files = Vec::new();
    collect(source, &mut files);
    let texts: BTreeMap<PathBuf, String> =
        files.into_iter().map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect();
    let of_tests: Vec<PathBuf> = texts.iter().flat_map(|(file, text)| test_modules(file, text)).collect();

    let mut modules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in &texts {
        let place = file.strip_prefix(source).unwrap().with_extension("");
        let module = place.iter().next().unwrap().to_str().unwrap().to_owned();
        let is_of_tests = of_tests.iter().any(|tests| file.with_extension("").starts_with(tests));
        if !is_of_tests && !["lib", "main", "mod"].contains(&module.as_str()) {
            let depth = place.iter().filter(|name| *name != "mod").count();
            let code = product(text).replace(&"super::".repeat(depth), &format!("{own}::"));
            modules.entry(module).or_default().push(code);
        }
    }
    modules
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The test modules with files of their own that a file declares, without extension.
fn test_modules(file: &Path, text: &str) -> Vec<PathBuf> {
    let is_directory = ["mod.rs", "lib.rs"].iter().any(|name| file.ends_with(name));
    let below = if is_directory { file.parent().unwrap().to_owned() } else { file.with_extension("") };
    let items = text.split(OF_TESTS).skip(1);
    let first = items.filter_map(|item| {
        item.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#["))
    });
    first.filter_map(|line| Some(below.join(line.split("mod ").nth(1)?.strip_suffix(';')?))).collect()
}

/// The code without comments and test code. It relies on the layout of lines by rustfmt.
fn product(text: &str) -> String {
    let (mut code, mut lines) = (String::new(), text.lines());
    while let Some(line) = lines.next() {
        if line.trim() == OF_TESTS {
            let ends = |next: &&str| indent(next) == indent(line) && next.ends_with([';', '}']);
            lines.find(ends);
        } else {
            code.push_str(line.split("//").next().unwrap_or_default());
            code.push('\n');
        }
    }
    code
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The first names of paths that begin with `root`, also inside lists.
fn named(code: &str, root: &str) -> BTreeSet<String> {
    let begin = format!("{root}::");
    let is_whole = |at: usize| !code[..at].ends_with(|c: char| is_of_word(c) || matches!(c, ':' | '$'));
    let places = code.match_indices(&begin).filter(|(at, _)| is_whole(*at));
    places.flat_map(|(at, _)| heads(&code[at + begin.len()..])).collect()
}

/// The first name of a path, or the first names of the paths in its list.
fn heads(path: &str) -> Vec<String> {
    let Some(list) = path.strip_prefix('{') else { return vec![head(path)] };
    let (mut heads, mut depth, mut begins) = (Vec::new(), 0, true);
    for (at, c) in list.char_indices() {
        match c {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if begins && is_of_word(c) => {
                heads.push(head(&list[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    heads
}

fn head(text: &str) -> String {
    text.chars().take_while(|c| is_of_word(*c) || *c == '-').collect()
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
