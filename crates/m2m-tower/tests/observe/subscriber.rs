//! A subscriber that keeps what it is told, and one that panics wherever it is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// One event, or one span with all that was recorded of it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    pub(crate) fields: BTreeMap<&'static str, String>,
    pub(crate) parent: Option<u64>,
    pub(crate) is_closed: bool,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// Keeps events and spans of the target `m2m` up to a level.
pub(crate) struct Capture {
    most: Level,
    next: AtomicU64,
    events: Mutex<Vec<Seen>>,
    spans: Mutex<BTreeMap<u64, Seen>>,
}

impl Capture {
    pub(crate) fn new(most: Level) -> Self {
        Self {
            most,
            next: AtomicU64::new(1),
            events: Mutex::default(),
            spans: Mutex::default(),
        }
    }

    pub(crate) fn events(&self) -> Vec<Seen> {
        self.events.lock().unwrap().clone()
    }

    pub(crate) fn spans(&self) -> Vec<(u64, Seen)> {
        let spans = self.spans.lock().unwrap();
        spans.iter().map(|(id, span)| (*id, span.clone())).collect()
    }
}

struct Fields<'f>(&'f mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

fn seen(metadata: &'static Metadata<'static>, parent: Option<&Id>) -> Seen {
    Seen {
        name: metadata.name(),
        level: *metadata.level(),
        fields: BTreeMap::new(),
        parent: parent.map(Id::into_u64),
        is_closed: false,
    }
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "m2m" && *metadata.level() <= self.most
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut kept = seen(span.metadata(), span.parent());
        span.record(&mut Fields(&mut kept.fields));
        self.spans.lock().unwrap().insert(id, kept);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut spans = self.spans.lock().unwrap();
        let kept = spans.get_mut(&span.into_u64()).unwrap();
        values.record(&mut Fields(&mut kept.fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut kept = seen(event.metadata(), event.parent());
        event.record(&mut Fields(&mut kept.fields));
        self.events.lock().unwrap().push(kept);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn try_close(&self, id: Id) -> bool {
        let mut spans = self.spans.lock().unwrap();
        spans.get_mut(&id.into_u64()).unwrap().is_closed = true;
        true
    }
}

/// Panics when it is asked to do this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    NewSpan,
    Record,
    Event,
    Close,
    Everything,
}

impl Broken {
    pub(crate) const ALL: [Self; 5] = [
        Self::NewSpan,
        Self::Record,
        Self::Event,
        Self::Close,
        Self::Everything,
    ];

    fn at(self, place: Self) {
        assert!(
            self != place && self != Self::Everything,
            "a bug of a subscriber"
        );
    }
}

impl Subscriber for Broken {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "m2m"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        self.at(Self::NewSpan);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        self.at(Self::Record);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.at(Self::Event);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn try_close(&self, _: Id) -> bool {
        self.at(Self::Close);
        true
    }
}
