use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Every text that a check sees: the messages that it adds, and the log lines written meanwhile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Telling(Arc<Mutex<String>>);

impl Telling {
    pub(crate) fn add(&self, told: impl fmt::Debug) {
        let _ = writeln!(self.0.lock().unwrap(), "{told:?}");
    }

    /// The first line that contains `text`.
    pub(crate) fn find(&self, text: &str) -> Option<String> {
        self.0.lock().unwrap().lines().find(|line| line.contains(text)).map(str::to_owned)
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Telling {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut told = self.0.lock().unwrap();
        attributes.record(&mut Fields(&mut told));
        told.push('\n');
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut told = self.0.lock().unwrap();
        told.push_str(event.metadata().target());
        event.record(&mut Fields(&mut told));
        told.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
