//! Tests events at moments that no caller of the public interface can choose.

use std::collections::BTreeMap;
use std::thread::JoinHandle;

use provider::SecretBytes;
use tempfile::TempDir;

use super::*;
use crate::deletion::Ciphertext;
use crate::{Anchor, Item, RootKeySource, ServiceAccounts, Store, Values};

/// Much longer than any step takes, so that a test fails only if a change is lost.
const SOON: Duration = Duration::from_secs(20);

/// A store with one item.
struct Fixture(TempDir);

impl Fixture {
    fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        Store::init(fixture.directory(), &fixture.root()).unwrap();
        fixture.put("one");
        fixture
    }

    fn directory(&self) -> &Path {
        self.0.path()
    }

    fn root(&self) -> RootKeySource {
        RootKeySource::beside(self.directory())
    }

    fn store(&self) -> Store {
        Store::open(self.directory(), &Anchor::new(self.root())).unwrap()
    }

    fn put(&self, value: &str) {
        let values = BTreeMap::from([("value".parse().unwrap(), SecretBytes::from(value.to_owned()))]);
        let values = Values::new(values).unwrap();
        self.store().put(&item(), Some(ServiceAccounts::Any), &values).unwrap();
    }

    fn delete(&self) {
        self.store().delete(&item(), None, Ciphertext::Kept(Duration::from_secs(3600))).unwrap();
    }

    /// A watch that no thread runs yet.
    fn begin(&self) -> Option<Watched> {
        Some(Watched::begin(self.directory()).unwrap())
    }

    /// Runs the watch from `first` on. `before` is called before each watch begins.
    fn watch(&self, first: Option<Watched>, before: impl FnMut() + Send + 'static) -> Watching {
        let (stopped, stop) = io::pipe().unwrap();
        let (announce, announcements) = watch::channel(Instant::now());
        let (directory, restarts) = (self.directory().to_owned(), Arc::<Restarts>::default());
        let (counted, mut before) = (Arc::clone(&restarts), before);
        let thread = std::thread::spawn(move || {
            keep(first, &stopped, &counted, |first| {
                before();
                run(&directory, first, &stopped, &announce);
            });
        });
        Watching { announcements, restarts, stop: Some(stop), thread: Some(thread) }
    }
}

fn item() -> Item {
    Item { namespace: "shop".parse().unwrap(), name: "api".parse().unwrap() }
}

struct Watching {
    announcements: watch::Receiver<Instant>,
    restarts: Arc<Restarts>,
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Watching {
    fn is_announced_to(&mut self, what: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let heard =
            runtime.block_on(async { tokio::time::timeout(SOON, self.announcements.changed()).await });
        heard.unwrap_or_else(|_| panic!("nobody was told of {what}")).unwrap();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

#[test]
fn a_change_and_a_deletion_before_the_thread_of_the_watch_runs_are_announced() {
    for change in [|store: &Fixture| store.put("two"), |store: &Fixture| store.delete()] {
        let store = Fixture::new();
        let first = store.begin();

        change(&store);

        store.watch(first, || {}).is_announced_to("what was changed before the thread ran");
    }
}

#[test]
fn a_change_and_a_deletion_between_two_watches_are_announced() {
    for change in [|store: &Fixture| store.put("two"), |store: &Fixture| store.delete()] {
        let store = Fixture::new();
        let lost = store.begin();

        change(&store);
        drop(lost);

        store.watch(None, || {}).is_announced_to("what was changed while nobody watched");
    }
}

#[test]
fn a_watch_that_ends_by_itself_is_counted_and_begun_anew_and_tells_what_was_changed_meanwhile() {
    let store = Fixture::new();
    let mut panics = [true, false].into_iter();
    let mut watching = store.watch(store.begin(), move || {
        if panics.next() == Some(true) {
            panic!("a fault");
        }
    });

    watching.is_announced_to("a new beginning");
    assert_eq!(watching.restarts.get(), 1);

    store.put("two");
    watching.is_announced_to("a change after it");
}

#[test]
fn a_watch_that_ended_by_itself_stops_at_once_when_nobody_listens_any_more() {
    let store = Fixture::new();
    let begun = Instant::now();
    let watching = store.watch(store.begin(), || panic!("a fault"));
    while watching.restarts.get() < 3 {
        std::thread::sleep(Duration::from_millis(10));
        assert!(begun.elapsed() < SOON);
    }

    // The pause after the third failure is four seconds. Dropping the watch has to interrupt it, because it joins the
    // thread.
    drop(watching);
}
