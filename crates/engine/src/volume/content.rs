//! What a volume is to show: the objects of its class, the state of each, and the files that they make.

mod learning;
mod ordering;
mod withdrawn;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use manifest::{Class, Composed};
use provider::{Error, ErrorKind, Object, ObjectPath, ObjectRef, Request, Result, Source, Workload};
use tokio::time::Instant;

use crate::readings::Held;
use crate::revocation::On;
use crate::snapshot::{File, Fingerprint, FingerprintKey, Made, Snapshot};
use crate::volume::about::{About, asked};
use crate::volume::demand::Demand;
use crate::volume::expiry::Expiries;
use crate::volume::extent::Extent;
use crate::volume::freshness::{self, Freshness, Notice, Policy};
use crate::volume::pace::Pace;
use crate::volume::reader::{Reader, Readout};
use crate::volume::report::Outlook;
use crate::volume::trees::Grown;

pub use ordering::Obeyed;

/// One class as one volume reads it.
#[derive(Debug)]
pub struct Content {
    class: Arc<Class>,
    policy: Policy,
    /// Reads the objects from the store.
    pub reader: Reader,
    extent: Extent,
    objects: Vec<Freshness>,
    expiries: Expiries,
    /// The orders to take objects of this volume back.
    orders: On,
    /// Whether one of them covered an object when they were judged last.
    is_covered: bool,
    /// Errors of listings, by request: why the store's last answer did not tell which objects there are.
    untold: BTreeMap<Request, Error>,
    /// Older versions of each file, newest first, if the class keeps some.
    previous: BTreeMap<ObjectPath, VecDeque<File>>,
    /// Fingerprints of files that were taken over and whose objects were not read again yet.
    carried: BTreeMap<ObjectPath, Fingerprint>,
    key: Arc<FingerprintKey>,
    pace: Pace,
    /// Most bytes that all composed files may have together.
    most_composed: u64,
}

/// The files to show next.
#[derive(Debug)]
pub struct Assembled {
    /// The files.
    pub snapshot: Snapshot,
    /// Files that disappear because their store took them back.
    pub withdrawn: BTreeSet<ObjectPath>,
}

impl Content {
    /// The content of `class`, of which nothing is read yet. Its composed files may have at most `most_composed` bytes
    /// together.
    pub fn new(
        class: Arc<Class>,
        reader: Reader,
        pace: Pace,
        policy: Policy,
        key: Arc<FingerprintKey>,
        most_composed: u64,
    ) -> Self {
        let extent = Extent::of(reader.source());
        let objects = extent.objects().iter().map(|_| Freshness::default()).collect();
        Self {
            class,
            policy,
            reader,
            extent,
            objects,
            expiries: Expiries::default(),
            orders: On::default(),
            is_covered: false,
            untold: BTreeMap::new(),
            previous: BTreeMap::new(),
            carried: BTreeMap::new(),
            key,
            pace,
            most_composed,
        }
    }

    /// Takes over files that an earlier process or an earlier version of the class showed. `confirmed` is when the
    /// store last confirmed them.
    pub fn carry(&mut self, shown: &Snapshot, confirmed: Instant) {
        if let Some(whole) = self.reader.source().whole() {
            self.extent = Extent::shown(shown, whole.request(), |path| is_made(&self.class, path));
        } else if let Some(grown) = self.extent.grown() {
            self.extent = Extent::Grown(grown.carried(shown, |path| is_made(&self.class, path)));
        }
        self.objects = self.extent.objects().iter().map(|_| Freshness::default()).collect();
        for (ObjectRef { path, file, .. }, state) in self.extent.objects().iter().zip(&mut self.objects) {
            if let Some(file) = shown.get(path).filter(|_| *file) {
                let (contents, version) = (file.contents.clone(), file.version.clone());
                let object = Object { contents, significant: None, version };
                *state = Freshness::carried(object, confirmed);
                self.carried.insert(path.clone(), file.fingerprint.clone());
            }
        }
        self.judge_orders();
    }

    /// Follows an edit of the class. Objects whose request is the same as before keep their contents until they are
    /// read again.
    pub fn edit(&mut self, class: Arc<Class>, source: Arc<dyn Source>, pace: Pace, policy: Policy) {
        // If only an answer tells which objects there are, the objects stay the same until the next answer.
        if source.whole().is_none() {
            self.extend_to(self.extent.edited(&source));
        }
        self.reader.set_source(source);
        self.policy = policy;
        self.class = class;
        self.pace = pace;
        self.judge_orders();
    }

    /// Replaces the objects by those of `extent`. Objects that were there before keep their state.
    fn extend_to(&mut self, extent: Extent) {
        let states = std::mem::take(&mut self.objects);
        let mut kept: BTreeMap<String, Freshness> =
            self.extent.objects().iter().map(identity_of).zip(states).collect();
        let kept_or_new = |object: &ObjectRef| kept.remove(&identity_of(object)).unwrap_or_default();
        self.objects = extent.objects().iter().map(kept_or_new).collect();
        self.expiries.keep(extent.objects());
        self.extent = extent;
    }

    /// The reader, with the readings and the login that it holds. Everything else that was read is dropped.
    pub fn into_reader(self) -> Reader {
        self.reader
    }

    /// The class.
    pub fn class(&self) -> &Arc<Class> {
        &self.class
    }

    /// How old a shared reading may become before it is made again.
    pub fn refresh(&self) -> Duration {
        self.pace.refresh
    }

    /// Whether the volume follows changes of its store and of its class. It does not if rotation is off.
    pub fn rotates(&self) -> bool {
        self.pace.rotates
    }

    /// Whether the volume reads its store again by itself. If rotation is off, it does so only for readings that have a
    /// lease or a limited life.
    pub fn is_kept_fresh(&self) -> bool {
        self.pace.rotates || self.reader.has_own()
    }

    /// Each object with its state.
    pub fn objects(&self) -> impl Iterator<Item = (&ObjectRef, &Freshness)> {
        self.extent.objects().iter().zip(&self.objects)
    }

    /// Reads what is due and judges the answers. Returns the first error of an object that the class needs.
    pub async fn read(&mut self, workload: &Workload, demand: Demand, notice: Notice) -> Option<Error> {
        let readout = self.reader.round(workload, demand).await;
        self.judge(&readout, notice)
    }

    /// A text about objects that expire soon or have expired, if there is something new to say.
    pub fn expiring(&mut self) -> Option<String> {
        self.expiries.news()
    }

    /// Uses readings that this node already has for the same identity, for a store that does not answer. They may be as
    /// old as `max-stale` allows. Requests that the store refused are left out.
    pub fn read_cached(&mut self) {
        let most = self.policy.max_stale;
        let young = |held: &Held| most.is_none_or(|most| held.at.elapsed() <= most);
        let refused: BTreeSet<_> = self
            .objects()
            .filter(|(_, state)| state.has_turned())
            .map(|(object, _)| object.request.clone())
            .collect();
        let mut readout = self.reader.granted();
        readout.retain(|request, held| {
            !refused.contains(request) && held.as_ref().is_ok_and(|held| young(held))
        });
        self.judge(&readout, Notice::Polled);
    }

    /// Decides for each object what the store's answer means for its file. Returns the first error of an object that
    /// the class needs.
    ///
    /// One answer can be good for one object and bad for another. So each object is judged alone, and a file stays as
    /// it is until the answer about its own object says otherwise. An example: `db/user` and `db/pass` are two keys of
    /// one secret, and somebody deletes the key `pass`. The call succeeds. `db/user` gets its value from the answer.
    /// `db/pass` does not find its key: this is an answer of the store, as a 404 would be, and the class decides what
    /// happens to the file. If the store had not answered at all, both files would stay. A request that was not made in
    /// this round has no entry in `readout`, and its objects are not judged.
    fn judge(&mut self, readout: &Readout, notice: Notice) -> Option<Error> {
        self.learn(readout);
        self.judge_orders();
        let mut first = self.untold.values().next().cloned();
        let (extent, now) = (self.extent.clone(), Timestamp::now().as_second());
        for (index, object) in extent.objects().iter().enumerate() {
            if self.order_on(index).is_some() {
                continue;
            }
            let Some(outcome) = readout.get(&object.request) else { continue };
            let outcome = self.untold.get(&object.request).map_or(outcome.as_ref(), Err);
            let read = outcome.map_err(Clone::clone).and_then(|held| {
                let extracted = extent.extract(index, held)?;
                Ok((extracted, held.at))
            });
            let error = match read {
                Ok((extracted, at)) => {
                    let expires = outcome.ok().and_then(|held| extent.expires(index, held));
                    self.expiries.note(&object.path, expires, now);
                    self.confirmed(index, extracted, at);
                    continue;
                }
                Err(error) if self.untold.contains_key(&object.request) => error,
                Err(error) => error.of(&object.name),
            };
            first = first.or_else(|| (!may_lack(object, &error)).then(|| error.clone()));
            self.failed(index, object, error, notice);
        }
        first
    }

    fn confirmed(&mut self, index: usize, object: Object, at: Instant) {
        let Some(state) = self.objects.get_mut(index) else { return };
        let turned = state.has_turned();
        state.confirm(object, at);
        if let Some(object) = self.extent.objects().get(index) {
            self.carried.remove(&object.path);
        }
        if turned {
            let (name, total) = (self.turned_name(index), self.reader.total());
            self.reader.health(|health| health.returned(&name, total));
        }
    }

    fn failed(&mut self, index: usize, object: &ObjectRef, error: Error, notice: Notice) {
        let now = Instant::now();
        let refused = freshness::is_a_word_of_the_store(error.kind());
        let (name, total) = (self.turned_name(index), self.reader.total());
        let Some(state) = self.objects.get_mut(index) else { return };
        let turning = refused && state.good().is_some() && !notice.settles(&error);
        let braked = self
            .reader
            .health(|health| if turning { health.turned(&name, total, now) } else { health.braked() });
        if may_lack(object, &error) {
            state.absent(error, notice, &self.policy, braked, now);
        } else {
            state.fail(error, notice, &self.policy, braked, now);
        }
        if state.is_withdrawn() {
            if notice != Notice::Ordered {
                self.reader.forget(&object.request);
            }
            self.previous.retain(|path, _| *path != object.path);
        }
    }

    /// The name under which the brake counts an object. Volumes that share a reading give it the same name, so it
    /// counts once.
    fn turned_name(&self, index: usize) -> String {
        let identity = self.reader.identity().map_or("", |identity| identity);
        let Some(object) = self.extent.objects().get(index) else { return String::new() };
        let is_one_of_many = self.reader.source().whole().is_some()
            || self.extent.grown().is_some_and(|grown| grown.is_leaf(index));
        let name = if is_one_of_many { "" } else { &object.name };
        format!("{identity}\0{}\0{name}", object.request.text)
    }

    /// Checks that every object that the class needs was read, or was shown before and withdrawn.
    ///
    /// # Errors
    ///
    /// The error of the first object that is missing.
    pub fn complete(&self) -> Result<()> {
        if self.objects.is_empty() && self.reader.source().whole().is_some() {
            return Err(self.untold.values().next().cloned().unwrap_or_else(|| self.unanswered()));
        }
        if let Some(grown) = self.extent.grown() {
            grown.complete(&self.class.settings.files, &self.untold, |name| self.unread(name))?;
            self.valueless(grown).map_or(Ok(()), Err)?;
        }
        for (object, state) in self.objects() {
            let lacking = state.good().is_none() && !state.is_withdrawn();
            if lacking && !object.optional && object.default.is_none() {
                return Err(state.error().cloned().unwrap_or_else(|| self.unread(&object.name)));
            }
        }
        Ok(())
    }

    /// Why a file cannot be composed of what a listing found: it never had a value. One that had a value and lost it is
    /// withdrawn with its composed files.
    fn valueless(&self, grown: &Grown) -> Option<Error> {
        let from = || self.class.settings.files.iter().flat_map(|composed| &composed.from);
        let is_wanted = |name: &str| from().any(|(_, wanted)| wanted == name);
        let mut objects = self.objects().enumerate();
        let (index, _) = objects.find(|(index, (object, state))| {
            let has_none = state.good().is_none() && !state.is_withdrawn();
            has_none && grown.needs(*index) && is_wanted(&object.name)
        })?;
        grown.valueless(index)
    }

    fn unread(&self, name: &str) -> Error {
        self.unanswered().of(name)
    }

    fn unanswered(&self) -> Error {
        let waiting = format!("{} has not answered yet", self.reader.store());
        Error::new(ErrorKind::Unavailable, waiting).remedy("is it up, and does the network let us there?")
    }

    /// When the store last confirmed the file that it has not confirmed for the longest time.
    pub fn confirmed_at(&self) -> Option<Instant> {
        self.objects.iter().filter_map(Freshness::good).map(|good| good.confirmed).min()
    }

    /// What will happen to the files of the objects that fail with this kind of error. If it differs between objects,
    /// the outcome that matters most.
    pub fn outlook(&self, kind: ErrorKind) -> Outlook {
        let troubled = |state: &&Freshness| state.error().is_some_and(|error| error.kind() == kind);
        let outlooks = self.objects.iter().filter(troubled).map(|state| state.outlook(&self.policy));
        outlooks.max().unwrap_or(Outlook::Stay)
    }

    /// The objects that a failure of this kind is about. Without a kind, these are the objects that have no contents.
    /// If no single object is affected, these are all objects of the class.
    pub fn about(&self, kind: Option<ErrorKind>) -> About {
        let befallen = |object: &ObjectRef, state: &Freshness| match kind {
            None => state.good().is_none(),
            Some(kind) => state.error().is_some_and(|error| error.kind() == kind && !may_lack(object, error)),
        };
        let objects = self.objects().enumerate();
        let troubled: Vec<_> = objects
            .filter(|(_, (object, state))| befallen(object, state))
            .filter_map(|(index, (object, _))| Some(asked(&self.class, object, self.extent.origin(index)?)))
            .collect();
        let source = self.reader.source();
        if troubled.is_empty() {
            return About::all(&self.class, &**source);
        }
        About::objects(&self.class, &**source, troubled.into_iter())
    }

    /// When the decision about some object may change because of time alone.
    pub fn reconsider_at(&self) -> Option<Instant> {
        self.objects.iter().filter_map(|state| state.reconsider_at(&self.policy)).min()
    }

    /// The files to show next; `shown` are the files that the volume shows now.
    ///
    /// # Errors
    ///
    /// `Invalid` if a composed file cannot be made, or if the composed files together are larger than a volume may be:
    /// a class of a few lines can ask for a thousand copies of a value, and the process holds them until they are
    /// shown.
    pub fn assemble(&mut self, shown: &Snapshot) -> Result<Assembled> {
        let mut files: BTreeMap<ObjectPath, File> = BTreeMap::new();
        // Done once for each object, because a fingerprint reads the whole value.
        let own: Vec<_> = self.objects().map(|(object, state)| self.file(object, state)).collect();
        for ((object, _), file) in self.objects().zip(&own) {
            if let Some(file) = file.as_ref().filter(|_| object.file) {
                files.insert(object.path.clone(), file.clone());
            }
        }
        let mut left = self.most_composed;
        for composed in &self.class.settings.files {
            if let Some(file) = self.compose(composed, &own)? {
                left =
                    left.checked_sub(file.contents.len() as u64).ok_or_else(|| self.composes_too_much())?;
                files.insert(composed.path.clone(), file);
            }
        }
        self.keep_previous(&mut files, shown);
        let withdrawn = self.withdrawn(shown, &files);
        let snapshot: Snapshot = files.into_iter().collect();
        Ok(Assembled { snapshot: snapshot.made_of(self.made_of(own)), withdrawn })
    }

    /// The objects that the files are made of now. `own` has the file of each object.
    fn made_of(&self, own: Vec<Option<File>>) -> Vec<Made> {
        let made = |(index, ((object, _), file)): (usize, ((&ObjectRef, &Freshness), Option<File>))| {
            let File { fingerprint, version, .. } = file?;
            let asked = asked(&self.class, object, self.extent.origin(index)?);
            Some(Made { asked, version, fingerprint })
        };
        self.objects().zip(own).enumerate().filter_map(made).collect()
    }

    fn file(&self, object: &ObjectRef, state: &Freshness) -> Option<File> {
        let good = state.good().map(|good| good.object.clone());
        let object_or_default = good.or_else(|| {
            let text = object.default.clone().filter(|_| !state.is_withdrawn())?;
            Some(Object { contents: text.into(), significant: None, version: None })
        })?;
        let Object { contents, significant, version } = object_or_default;
        let computed =
            || self.key.fingerprint(&object.path, significant.as_ref().unwrap_or(&contents).expose());
        let fingerprint = self.carried.get(&object.path).cloned().unwrap_or_else(computed);
        Some(File { contents, mode: object.mode, fingerprint, version })
    }

    fn composes_too_much(&self) -> Error {
        let message =
            format!("its composed files are larger than a volume may be, {} bytes", self.most_composed);
        Error::new(ErrorKind::Invalid, message)
            .remedy("compose fewer files, or ask the administrator for a higher --max-volume-bytes")
    }

    /// Makes one composed file. `None` if one of its objects was withdrawn, or is missing from a tree that needs it.
    /// Other missing objects are left out. `own` has the file of each object.
    fn compose(&self, composed: &Composed, own: &[Option<File>]) -> Result<Option<File>> {
        let mut values = Vec::new();
        for (key, name) in &composed.from {
            let mut objects = self.objects().zip(own).enumerate();
            let found = objects.find(|(_, ((object, _), _))| object.name == *name);
            let Some((index, ((_, state), file))) = found else { continue };
            match file {
                Some(file) => values.push((key.as_str(), file.contents.clone())),
                None if state.is_withdrawn()
                    || self.extent.grown().is_some_and(|grown| grown.needs(index)) =>
                {
                    return Ok(None);
                }
                None => {}
            }
        }
        let contents = composed.compose(&values)?;
        let fingerprint = self.key.fingerprint(&composed.path, contents.expose());
        Ok(Some(File { contents, mode: composed.mode, fingerprint, version: None }))
    }

    fn keep_previous(&mut self, files: &mut BTreeMap<ObjectPath, File>, shown: &Snapshot) {
        let most = self.class.settings.keep_previous as usize;
        if most == 0 {
            return;
        }
        for (path, file) in files.iter() {
            let replaced = shown.get(path).filter(|old| old.fingerprint != file.fingerprint);
            if let Some(old) = replaced {
                let kept = self.previous.entry(path.clone()).or_default();
                kept.push_front(old.clone());
                kept.truncate(most);
            }
        }
        self.previous.retain(|path, _| files.contains_key(path));
        for (path, kept) in &self.previous {
            for (index, file) in kept.iter().enumerate() {
                let suffix =
                    if index == 0 { ".previous".to_owned() } else { format!(".previous.{}", index + 1) };
                if let Ok(path) = path.with_suffix(&suffix) {
                    files.entry(path).or_insert_with(|| file.clone());
                }
            }
        }
    }
}

/// Identifies an object across edits of the class: it is the same object if the class still asks for the same.
fn identity_of(object: &ObjectRef) -> String {
    let Request { text, ownership } = &object.request;
    format!("{}\0{text}\0{ownership:?}\0{:?}", object.name, object.jmes_path)
}

/// Whether the file at `path` is composed of objects or is an older version, and so not the file of one object.
fn is_made(class: &Class, path: &str) -> bool {
    let suffix = path.rsplit_once(".previous").map(|(_, suffix)| suffix);
    let is_older =
        |suffix: &str| suffix.strip_prefix('.').unwrap_or(suffix).bytes().all(|b| b.is_ascii_digit());
    class.settings.files.iter().any(|composed| composed.path.as_str() == path)
        || class.settings.keep_previous > 0 && suffix.is_some_and(is_older)
}

fn may_lack(object: &ObjectRef, error: &Error) -> bool {
    (object.optional || object.default.is_some())
        && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Revoked)
}
