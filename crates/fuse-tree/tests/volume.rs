//! What a volume answers, without a kernel.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what a test arranges has to fail it loudly")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuse_tree::{
    Access, AllowAll, Answer, Ask, Caller, Contents, DATA, Edition, Errno, File, Invalid, Kind, Look, Moment,
    NodeId, Notice, Opening, Plain, Policy, Question, Reading, Refusal, Ruling, Source, Step, Volume,
};

const APP: Caller = Caller { tid: 7, uid: 1000, gid: 1000 };
const LOOK: Look = Look { uid: 0, gid: 5, directory_mode: 0o750 };
const SWAPPER: u32 = 99;

fn edition(number: u64, files: &[(&str, &str)]) -> Edition {
    let file = |text: &str| File { mode: 0o440, source: Source::Known(Plain::of(text)) };
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect();
    Edition {
        number,
        name: format!("..{number}"),
        changed: Moment { seconds: number, nanoseconds: 1 },
        files,
    }
}

fn volume_with(policy: Arc<dyn Policy>, files: &[(&str, &str)]) -> Volume {
    let volume = Volume::new("pvc", LOOK, policy);
    volume.add(edition(1, files)).unwrap();
    volume.show(1).unwrap();
    volume
}

fn volume(files: &[(&str, &str)]) -> Volume {
    volume_with(Arc::new(AllowAll), files)
}

/// Follows a path as a kernel does.
fn walk(volume: &Volume, path: &str) -> Result<NodeId, Errno> {
    walk_from(volume, NodeId::ROOT, path)
}

fn walk_from(volume: &Volume, from: NodeId, path: &str) -> Result<NodeId, Errno> {
    path.split('/').try_fold(from, |node, name| {
        let found = volume.lookup(node, name.as_bytes())?;
        match found.kind {
            Kind::Link => walk_from(volume, node, &volume.read_link(found.node)?),
            Kind::File | Kind::Directory => Ok(found.node),
        }
    })
}

fn open(volume: &Volume, node: NodeId) -> Result<u64, Errno> {
    match volume.open(APP, node)? {
        Opening::Done(handle) => Ok(handle),
        other => panic!("{other:?}"),
    }
}

fn read(volume: &Volume, node: NodeId, handle: u64) -> Result<String, Errno> {
    match volume.read(APP, node, handle)? {
        Reading::From(contents) => Ok(text(&*contents)),
        other => panic!("{other:?}"),
    }
}

fn text(contents: &dyn Contents) -> String {
    let mut bytes = vec![0; usize::try_from(contents.len()).unwrap()];
    assert_eq!(contents.copy(0, &mut bytes), Some(bytes.len()));
    String::from_utf8(bytes).unwrap()
}

fn cat(volume: &Volume, path: &str) -> Result<String, Errno> {
    let node = walk(volume, path)?;
    read(volume, node, open(volume, node)?)
}

fn names(volume: &Volume, directory: NodeId) -> Vec<String> {
    let mut names: Vec<_> = volume.list(directory, 0).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

/// Takes the steps as the swapper's thread does.
fn take(volume: &Volume, steps: Result<Vec<Step>, Invalid>) {
    let steps = steps.unwrap();
    volume.arm(SWAPPER, steps.clone());
    for step in &steps {
        step_by(volume, SWAPPER, step).unwrap();
    }
    assert_eq!(volume.disarm(), 0);
}

fn step_by(volume: &Volume, tid: u32, step: &Step) -> Result<(), Errno> {
    match step {
        Step::Link { name, target } => {
            volume.link(tid, NodeId::ROOT, name.as_bytes(), target.as_bytes()).map(drop)
        }
        Step::Rename => volume.rename(tid, [NodeId::ROOT; 2], [b"..data_tmp", b"..data"]),
        Step::RemoveDirectory { name } => volume.remove_name(tid, NodeId::ROOT, name.as_bytes(), true),
        Step::Unlink { path } => {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let parent = if parent.is_empty() { NodeId::ROOT } else { walk(volume, parent).unwrap() };
            volume.remove_name(tid, parent, name.as_bytes(), false)
        }
    }
}

#[test]
fn a_volume_has_kubelets_layout() {
    let volume = volume(&[("token", "t"), ("tls/key", "k"), ("tls/crt", "c")]);

    assert_eq!(names(&volume, NodeId::ROOT), [".", "..", "..1", "..data", "tls", "token"]);
    assert_eq!(names(&volume, walk(&volume, "tls").unwrap()), [".", "..", "crt", "key"]);
    assert_eq!(
        volume.read_link(volume.lookup(NodeId::ROOT, b"token").unwrap().node),
        Ok("..data/token".to_owned())
    );
    assert_eq!((cat(&volume, "token"), cat(&volume, "tls/key")), (Ok("t".to_owned()), Ok("k".to_owned())));
    assert_eq!(walk(&volume, "tls"), walk(&volume, "..1/tls"));
}

#[test]
fn attributes_are_those_of_the_volume_and_the_file() {
    let volume = volume(&[("tls/key", "four")]);

    let file = volume.attributes(walk(&volume, "tls/key").unwrap(), None).unwrap();
    assert_eq!((file.kind, file.size, file.mode, file.links), (Kind::File, 4, 0o440, 1));
    assert_eq!(
        (file.uid, file.gid, file.changed, file.lasts),
        (0, 5, Moment { seconds: 1, nanoseconds: 1 }, true)
    );
    let directory = volume.attributes(walk(&volume, "tls").unwrap(), None).unwrap();
    assert_eq!((directory.kind, directory.mode, directory.links), (Kind::Directory, 0o750, 2));
    let link = volume.lookup(NodeId::ROOT, DATA.as_bytes()).unwrap();
    assert_eq!((link.kind, link.size, link.mode), (Kind::Link, 3, 0o777));
}

#[test]
fn what_is_not_there_is_told_apart() {
    let volume = volume(&[("a", "x"), ("d/e", "y")]);
    let (file, link) = (walk(&volume, "a").unwrap(), volume.lookup(NodeId::ROOT, b"a").unwrap().node);

    assert_eq!(volume.lookup(NodeId::ROOT, b"b").unwrap_err(), Errno::NOENT);
    assert_eq!(volume.lookup(NodeId::ROOT, b"\xff").unwrap_err(), Errno::NOENT);
    assert_eq!(volume.lookup(walk(&volume, "d").unwrap(), b"").unwrap_err(), Errno::NOENT);
    assert_eq!(volume.lookup(file, b"b").unwrap_err(), Errno::NOTDIR);
    assert_eq!(volume.lookup(link, b"b").unwrap_err(), Errno::NOTDIR);
    assert_eq!(volume.list(file, 0).unwrap_err(), Errno::NOTDIR);
    assert_eq!(volume.open(APP, NodeId::ROOT).unwrap_err(), Errno::LOOP);
    assert_eq!(volume.open(APP, walk(&volume, "d").unwrap()).unwrap_err(), Errno::ISDIR);
    assert_eq!(volume.read_link(file).unwrap_err(), Errno::INVAL);
    for raw in [0, 2, 77, u64::MAX] {
        assert_eq!(volume.attributes(NodeId::from_raw(raw), None).unwrap_err(), Errno::STALE);
    }
}

#[test]
fn another_process_gives_the_same_numbers_and_handles() {
    let (first, next) = (volume(&[("a/b", "x")]), volume(&[("a/b", "x"), ("c", "y")]));
    let node = walk(&first, "a/b").unwrap();
    let handle = open(&first, node).unwrap();

    assert_eq!(walk(&next, "a/b"), Ok(node));
    assert_eq!(read(&next, node, handle), Ok("x".to_owned()));
}

#[test]
fn a_listing_goes_on_where_it_was_though_entries_come_and_go() {
    let volume = volume(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
    let all = volume.list(NodeId::ROOT, 0).unwrap();

    for (index, entry) in all.iter().enumerate() {
        assert_eq!(volume.list(NodeId::ROOT, entry.cookie).unwrap(), all[index + 1..]);
    }
    let _ = volume.withdraw([all[3].name.as_str()]);
    let rest = volume.list(NodeId::ROOT, all[3].cookie).unwrap();
    assert!(rest.iter().all(|entry| all[4..].contains(entry)));
}

#[test]
fn the_swapper_shows_the_next_edition_in_kubelets_order() {
    let volume = volume(&[("a", "old"), ("gone", "g")]);
    volume.add(edition(2, &[("a", "new"), ("more", "m")])).unwrap();

    let steps = volume.steps_to_show(2).unwrap();

    let link = |name: &str, target: &str| Step::Link { name: name.to_owned(), target: target.to_owned() };
    let unlink = |path: &str| Step::Unlink { path: path.to_owned() };
    assert_eq!(steps, [unlink("gone"), link("..data_tmp", "..2"), Step::Rename, link("more", "..data/more")]);
    take(&volume, Ok(steps));
    assert_eq!((cat(&volume, "a"), cat(&volume, "more")), (Ok("new".to_owned()), Ok("m".to_owned())));
    assert_eq!(
        cat(&volume, "..1/a"),
        Ok("old".to_owned()),
        "who read ..data before the swap is still on its way"
    );
    assert_eq!(walk(&volume, "gone"), Err(Errno::NOENT));

    take(&volume, volume.steps_to_remove(1));
    assert_eq!(names(&volume, NodeId::ROOT), [".", "..", "..2", "..data", "a", "more"]);
}

#[test]
fn nobody_else_changes_anything_and_the_swapper_nothing_else() {
    let volume = volume(&[("a", "x")]);
    volume.add(edition(2, &[("a", "y")])).unwrap();
    let steps = volume.steps_to_show(2).unwrap();
    let all = |tid| -> Vec<_> { steps.iter().map(|step| step_by(&volume, tid, step)).collect() };

    assert_eq!(all(SWAPPER), [Err(Errno::ROFS); 2], "not armed");
    volume.arm(SWAPPER, steps.clone());
    assert_eq!(all(7), [Err(Errno::ROFS); 2]);
    assert_eq!(volume.remove_name(SWAPPER, NodeId::ROOT, b"a", false), Err(Errno::ROFS));
    assert_eq!(step_by(&volume, SWAPPER, &Step::Rename), Err(Errno::ROFS), "out of order");
    assert_eq!(volume.disarm(), 2);
    assert_eq!((volume.shown(), cat(&volume, "a")), (Some(1), Ok("x".to_owned())));
}

#[test]
fn a_handle_keeps_its_edition_until_it_is_released() {
    let volume = volume(&[("a", "old")]);
    let node = walk(&volume, "a").unwrap();
    let handle = open(&volume, node).unwrap();
    volume.add(edition(2, &[("a", "newer")])).unwrap();
    take(&volume, volume.steps_to_show(2));
    take(&volume, volume.steps_to_remove(1));

    assert_eq!(read(&volume, node, handle), Ok("old".to_owned()));
    assert_eq!(volume.attributes(node, Some(handle)).unwrap().size, 3);
    volume.release(node, handle);
    assert_eq!(read(&volume, node, handle), Err(Errno::STALE));
    assert_eq!(volume.editions(), [(2, true)]);
}

#[test]
fn who_kept_a_file_or_directory_of_an_old_edition_finds_the_one_that_is_shown() {
    let volume = volume(&[("d/a", "old"), ("f", "old")]);
    let (directory, file) = (walk(&volume, "d").unwrap(), walk(&volume, "f").unwrap());
    for number in 2..40 {
        volume.add(edition(number, &[("d/a", "new"), ("d/b", "more"), ("f", &number.to_string())])).unwrap();
        take(&volume, volume.steps_to_show(number));
        take(&volume, volume.steps_to_remove(number - 1));
    }

    assert_eq!(read(&volume, file, open(&volume, file).unwrap()), Ok("39".to_owned()));
    assert_eq!(names(&volume, directory), [".", "..", "a", "b"]);
    let child = volume.lookup(directory, b"b").unwrap();
    assert_eq!(read(&volume, child.node, open(&volume, child.node).unwrap()), Ok("more".to_owned()));
    assert!(!child.lasts && !volume.attributes(file, None).unwrap().lasts, "a kernel asks each time");
    assert_eq!(volume.editions().len(), 1);
}

#[test]
fn a_withdrawn_file_is_denied_to_handles_and_missing_to_who_opens_it() {
    let volume = volume(&[("d/a", "x"), ("b", "y")]);
    let (directory, node) = (walk(&volume, "d").unwrap(), walk(&volume, "d/a").unwrap());
    let handle = open(&volume, node).unwrap();

    let notices = volume.withdraw(["d/a"]);

    assert_eq!(read(&volume, node, handle), Err(Errno::ACCESS));
    assert_eq!(volume.open(APP, node).unwrap_err(), Errno::NOENT);
    assert_eq!(walk(&volume, "d"), Err(Errno::NOENT));
    assert_eq!(cat(&volume, "b"), Ok("y".to_owned()));
    assert_eq!(names(&volume, NodeId::ROOT), [".", "..", "..1", "..data", "b"]);
    let deleted = |parent, child, name: &str| Notice::Deleted { parent, child, name: name.to_owned() };
    assert!(notices.contains(&Notice::Node(node)) && notices.contains(&deleted(directory, node, "a")));
    let tops = |notice: &&Notice| matches!(notice, Notice::Deleted { parent: NodeId::ROOT, name, .. } if name == "d");
    assert_eq!(notices.iter().filter(tops).count(), 1);
    assert!(volume.withdraw(["d/a", "nothing"]).is_empty());
}

#[test]
fn a_withdrawn_file_comes_back_with_another_edition_only() {
    let volume = volume(&[("a", "x")]);
    let node = walk(&volume, "a").unwrap();
    let handle = open(&volume, node).unwrap();
    let _ = volume.withdraw(["a"]);
    volume.add(edition(2, &[("a", "again")])).unwrap();
    take(&volume, volume.steps_to_show(2));

    assert_eq!(cat(&volume, "a"), Ok("again".to_owned()));
    assert_eq!(read(&volume, node, handle), Err(Errno::ACCESS));
    assert_eq!(
        read(&volume, node, open(&volume, node).unwrap()),
        Ok("again".to_owned()),
        "as by a bind mount"
    );
}

#[test]
fn editions_that_do_not_fit_are_refused() {
    let volume = volume(&[("a", "x")]);

    assert_eq!(volume.add(edition(1, &[])), Err(Invalid::Number));
    assert_eq!(
        volume.add(edition(1 + 0x7f_ffff, &[])),
        Err(Invalid::Number),
        "its nodes would be those of 1"
    );
    assert_eq!(volume.add(Edition { number: 5, ..edition(1, &[]) }), Err(Invalid::Name("..1".to_owned())));
    assert!(volume.show(9).is_err() && volume.steps_to_show(9).is_err());
    assert!(volume.steps_to_remove(1).is_err(), "it is shown");
    assert!(volume.unname(1).is_empty());
}

#[test]
fn only_so_many_old_editions_are_kept_for_handles() {
    let volume = volume(&[("a", "0")]);
    let mut handles = Vec::new();
    for number in 2..30 {
        let node = walk(&volume, "a").unwrap();
        handles.push((node, open(&volume, node).unwrap()));
        volume.add(edition(number, &[("a", "x")])).unwrap();
        let _ = volume.show(number).unwrap();
        let _ = volume.unname(number - 1);
    }

    assert_eq!(volume.editions().len(), 9);
    assert_eq!(read(&volume, handles[0].0, handles[0].1), Err(Errno::STALE));
    let last = handles.last().unwrap();
    assert_eq!(read(&volume, last.0, last.1), Ok("x".to_owned()));
}

#[test]
fn an_inherited_edition_is_kept_though_no_handle_is_known() {
    let volume = volume(&[("a", "new")]);
    volume.inherit(edition(0, &[("a", "old")]), false).unwrap();

    let node = walk(&volume, "a").unwrap();
    assert_eq!(read(&volume, node, 0), Ok("old".to_owned()));
    volume.release(node, 0);
    assert_eq!(read(&volume, node, 0), Ok("old".to_owned()), "others may be open");
    volume.forget(0);
    assert_eq!(read(&volume, node, 0), Err(Errno::STALE));
}

/// Knows what a file holds: a version for each time it is asked.
#[derive(Debug, Default)]
struct Store {
    asked: Mutex<Vec<Question>>,
    answers: Mutex<Vec<Answer>>,
}

impl Ask for Store {
    fn ask(&self, question: Question, answer: Answer) {
        self.asked.lock().unwrap().push(question);
        self.answers.lock().unwrap().push(answer);
    }
}

fn volume_that_asks() -> (Volume, Arc<Store>, NodeId) {
    let store = Arc::new(Store::default());
    let file = File { mode: 0o400, source: Source::Asked(store.clone()) };
    let files = BTreeMap::from([("a".to_owned(), file)]);
    let volume = Volume::new("pvc", LOOK, Arc::new(AllowAll));
    volume.add(Edition { files, ..edition(1, &[]) }).unwrap();
    volume.show(1).unwrap();
    let node = walk(&volume, "a").unwrap();
    (volume, store, node)
}

#[test]
fn a_file_of_unknown_contents_is_asked_for_with_caller_and_patience() {
    let (volume, store, node) = volume_that_asks();
    let Opening::Ask(asking) = volume.open(APP, node).unwrap() else { panic!("known") };

    asking.ask(Duration::from_secs(3), Answer::new(|_| {}));

    let patience = Duration::from_secs(3);
    let question = Question { caller: APP, path: "a".to_owned(), wanted: None, patience };
    assert_eq!(*store.asked.lock().unwrap(), [question]);
    let before = volume.attributes(node, None).unwrap();
    assert_eq!((before.size, before.lasts), (0, false));
}

#[test]
fn contents_that_were_asked_for_stay_with_their_handles() {
    let (volume, _, node) = volume_that_asks();
    let handle = volume.opened(node, 4, Plain::of("four")).unwrap();
    let same = volume.opened(node, 4, Plain::of("four")).unwrap();
    let other = volume.opened(node, 5, Plain::of("fives")).unwrap();

    assert_eq!((read(&volume, node, handle), handle), (Ok("four".to_owned()), same));
    assert_eq!(read(&volume, node, other), Ok("fives".to_owned()));
    assert_eq!(volume.attributes(node, Some(other)).unwrap().size, 5);
    volume.release(node, handle);
    assert_eq!(read(&volume, node, same), Ok("four".to_owned()));
    volume.release(node, same);
    assert!(matches!(volume.read(APP, node, same), Ok(Reading::Ask(_))));
}

#[test]
fn a_handle_of_an_earlier_process_is_asked_for_again_and_shows_its_version_only() {
    let (before, _, node) = volume_that_asks();
    let handle = before.opened(node, 4, Plain::of("four")).unwrap();
    let (volume, store, _) = volume_that_asks();

    let Reading::Ask(asking) = volume.read(APP, node, handle).unwrap() else { panic!("known") };
    asking.ask(Duration::ZERO, Answer::new(|_| {}));

    assert_eq!(store.asked.lock().unwrap()[0].wanted, Some(4));
    assert_eq!(volume.found_again(node, handle, 5, &Plain::of("fives")), Err(Refusal::Replaced));
    assert_eq!(volume.found_again(node, handle, 4, &Plain::of("four")), Ok(()));
    assert_eq!(read(&volume, node, handle), Ok("four".to_owned()));
}

/// Contents that the test takes back.
#[derive(Debug, Default)]
struct Lent(AtomicBool);

impl Contents for Lent {
    fn len(&self) -> u64 {
        4
    }

    fn is_here(&self) -> bool {
        !self.0.load(Ordering::SeqCst)
    }

    fn copy(&self, _: u64, into: &mut [u8]) -> Option<usize> {
        into[..4].copy_from_slice(b"four");
        self.is_here().then_some(4)
    }
}

#[test]
fn a_handle_whose_contents_were_taken_back_asks_again_and_keeps_its_size() {
    let (volume, _, node) = volume_that_asks();
    let lent = Arc::new(Lent::default());
    let handle = volume.opened(node, 4, lent.clone()).unwrap();
    assert_eq!(volume.attributes(node, None).unwrap().size, 4, "who maps the file goes by its size");

    lent.0.store(true, Ordering::SeqCst);

    assert!(matches!(volume.read(APP, node, handle), Ok(Reading::Ask(_))));
    assert_eq!(volume.attributes(node, None).unwrap().size, 4);
    assert_eq!(volume.found_again(node, handle, 5, &Plain::of("fives")), Err(Refusal::Replaced));
    assert_eq!(volume.found_again(node, handle, 4, &Plain::of("four")), Ok(()));
    assert_eq!(read(&volume, node, handle), Ok("four".to_owned()));
    volume.release(node, handle);
    let after = volume.attributes(node, None).unwrap();
    assert_eq!((after.size, after.lasts), (0, false));
    assert_eq!(volume.nodes_of("a"), [node]);
}

#[test]
fn withdrawing_takes_back_what_was_asked_for() {
    let (volume, _, node) = volume_that_asks();
    let handle = volume.opened(node, 4, Plain::of("four")).unwrap();

    assert!(!volume.withdraw(["a"]).is_empty());

    assert_eq!(volume.read(APP, node, handle).unwrap_err(), Errno::ACCESS);
    assert_eq!(volume.opened(node, 4, Plain::of("four")), Err(Errno::NOENT), "an answer that came too late");
}

/// Judges by the caller's user.
#[derive(Debug)]
struct ByUser;

impl Policy for ByUser {
    fn judge(&self, access: &Access<'_>) -> Ruling {
        assert_eq!(access.path, "a");
        match access.caller.uid {
            0 => Ruling::Allow,
            1000 => Ruling::NotYet,
            _ => Ruling::Deny,
        }
    }
}

#[test]
fn a_policy_judges_each_open_and_each_read() {
    let volume = volume_with(Arc::new(ByUser), &[("a", "x")]);
    let node = walk(&volume, "a").unwrap();
    let (root, other) = (Caller { uid: 0, ..APP }, Caller { uid: 5, ..APP });

    let Ok(Opening::Done(handle)) = volume.open(root, node) else { panic!("denied") };
    assert!(matches!(volume.open(APP, node), Ok(Opening::NotYet)));
    assert_eq!(volume.open(other, node).unwrap_err(), Errno::ACCESS);
    assert!(matches!(volume.read(root, node, handle), Ok(Reading::From(_))));
    assert!(matches!(volume.read(APP, node, handle), Ok(Reading::NotYet)));
    assert_eq!(volume.read(other, node, handle).unwrap_err(), Errno::ACCESS);
}
