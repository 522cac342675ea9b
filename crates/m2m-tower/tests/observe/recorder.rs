//! A recorder that keeps what it is told, and one whose handles panic.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// Values by name and labels: `name{a="b",c="d"}`. A handle is an atomic number, as in any exporter.
#[derive(Default)]
pub(crate) struct Recording {
    values: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    described: Mutex<BTreeMap<String, (&'static str, Option<Unit>)>>,
}

impl Recording {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn value(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={:?}", label.key(), label.value()))
            .collect();
        let name = match labels.is_empty() {
            true => key.name().to_owned(),
            false => format!("{}{{{}}}", key.name(), labels.join(",")),
        };
        Arc::clone(self.values.lock().unwrap().entry(name).or_default())
    }

    fn bits(&self, name: &str) -> u64 {
        let values = self.values.lock().unwrap();
        let value = values
            .get(name)
            .unwrap_or_else(|| panic!("nothing is called {name}: {:?}", values.keys()));
        value.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.bits(name)
    }

    pub(crate) fn gauge(&self, name: &str) -> f64 {
        f64::from_bits(self.bits(name))
    }

    /// All that counted something, by full name.
    pub(crate) fn counted(&self, name: &str) -> BTreeMap<String, u64> {
        let values = self.values.lock().unwrap();
        let of_name = values
            .iter()
            .filter(|(key, _)| key.split('{').next() == Some(name));
        of_name
            .map(|(key, value)| (key.clone(), value.load(Ordering::Relaxed)))
            .filter(|(_, value)| *value > 0)
            .collect()
    }

    /// The full names of all that was made.
    pub(crate) fn names(&self) -> Vec<String> {
        self.values.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn described(&self) -> BTreeMap<String, (&'static str, Option<Unit>)> {
        self.described.lock().unwrap().clone()
    }

    fn describe(&self, kind: &'static str, key: &KeyName, unit: Option<Unit>) {
        let name = key.as_str().to_owned();
        self.described.lock().unwrap().insert(name, (kind, unit));
    }
}

impl Recorder for Recording {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("counter", &key, unit);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("gauge", &key, unit);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("histogram", &key, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Times(self.value(key))))
    }
}

/// How often something was recorded.
struct Times(Arc<AtomicU64>);

impl HistogramFn for Times {
    fn record(&self, value: f64) {
        assert!(value >= 0.0);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Its handles panic, each time.
pub(crate) struct Broken;

impl Recorder for Broken {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Self))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Self))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(Self))
    }
}

impl CounterFn for Broken {
    fn increment(&self, _: u64) {
        panic!("a bug of a recorder")
    }

    fn absolute(&self, _: u64) {
        panic!("a bug of a recorder")
    }
}

impl GaugeFn for Broken {
    fn increment(&self, _: f64) {
        panic!("a bug of a recorder")
    }

    fn decrement(&self, _: f64) {
        panic!("a bug of a recorder")
    }

    fn set(&self, _: f64) {
        panic!("a bug of a recorder")
    }
}

impl HistogramFn for Broken {
    fn record(&self, _: f64) {
        panic!("a bug of a recorder")
    }
}
