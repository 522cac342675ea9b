//! `Bridge`: a recorder of the facade `metrics` that hands all on to a meter of OpenTelemetry.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// Makes instruments of a meter, with the units and descriptions that they were given before.
pub struct Bridge {
    meter: Meter,
    described: Mutex<HashMap<String, (&'static str, SharedString)>>,
    /// Gauges that are made twice are one: they share their value.
    gauges: Mutex<HashMap<Key, Arc<GaugeHandle>>>,
}

impl Bridge {
    pub fn new(meter: Meter) -> Self {
        Self {
            meter,
            described: Mutex::default(),
            gauges: Mutex::default(),
        }
    }

    fn describe(&self, key: &KeyName, unit: Option<Unit>, description: SharedString) {
        // OpenTelemetry's units are those of UCUM.
        let unit = match unit {
            Some(Unit::Seconds) => "s",
            Some(Unit::Bytes) => "By",
            _ => "1",
        };
        let mut described = self
            .described
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        described.insert(key.as_str().to_owned(), (unit, description));
    }

    fn description(&self, key: &Key) -> (&'static str, String) {
        let described = self
            .described
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let found = described.get(key.name());
        found.map_or(("1", String::new()), |(unit, text)| {
            (unit, text.to_string())
        })
    }
}

fn attributes(key: &Key) -> Box<[KeyValue]> {
    let labels = key.labels();
    labels
        .map(|label| KeyValue::new(label.key().to_owned(), label.value().to_owned()))
        .collect()
}

struct CounterHandle {
    counter: opentelemetry::metrics::Counter<u64>,
    attributes: Box<[KeyValue]>,
    /// How far an absolute value was passed on, since OpenTelemetry's counters only add.
    reached: AtomicU64,
}

impl CounterFn for CounterHandle {
    fn increment(&self, value: u64) {
        self.reached.fetch_add(value, Ordering::Relaxed);
        self.counter.add(value, &self.attributes);
    }

    fn absolute(&self, value: u64) {
        let before = self.reached.fetch_max(value, Ordering::Relaxed);
        if value > before {
            self.counter.add(value - before, &self.attributes);
        }
    }
}

struct GaugeHandle {
    gauge: opentelemetry::metrics::Gauge<f64>,
    attributes: Box<[KeyValue]>,
    /// OpenTelemetry's gauges are only set.
    bits: AtomicU64,
}

impl GaugeHandle {
    fn change(&self, change: impl Fn(f64) -> f64) {
        let next = |bits| Some(change(f64::from_bits(bits)).to_bits());
        let changed = self
            .bits
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let bits = changed.unwrap_or_else(|bits| bits);
        self.gauge
            .record(change(f64::from_bits(bits)), &self.attributes);
    }
}

impl GaugeFn for GaugeHandle {
    fn increment(&self, value: f64) {
        self.change(|before| before + value);
    }

    fn decrement(&self, value: f64) {
        self.change(|before| before - value);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

struct HistogramHandle {
    histogram: opentelemetry::metrics::Histogram<f64>,
    attributes: Box<[KeyValue]>,
}

impl HistogramFn for HistogramHandle {
    fn record(&self, value: f64) {
        self.histogram.record(value, &self.attributes);
    }
}

impl Recorder for Bridge {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(&key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(&key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.describe(&key, unit, description);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let (unit, description) = self.description(key);
        let counter = self
            .meter
            .u64_counter(key.name().to_owned())
            .with_unit(unit)
            .with_description(description)
            .build();
        let attributes = attributes(key);
        // Adding nothing makes the series, so that its first rise is seen as one.
        counter.add(0, &attributes);
        Counter::from_arc(Arc::new(CounterHandle {
            counter,
            attributes,
            reached: AtomicU64::new(0),
        }))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = gauges.get(key) {
            return Gauge::from_arc(Arc::clone(handle));
        }
        let (unit, description) = self.description(key);
        let gauge = self
            .meter
            .f64_gauge(key.name().to_owned())
            .with_unit(unit)
            .with_description(description)
            .build();
        let handle = Arc::new(GaugeHandle {
            gauge,
            attributes: attributes(key),
            bits: AtomicU64::new(0),
        });
        gauges.insert(key.clone(), Arc::clone(&handle));
        Gauge::from_arc(handle)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let (unit, description) = self.description(key);
        let histogram = self
            .meter
            .f64_histogram(key.name().to_owned())
            .with_unit(unit)
            .with_description(description)
            .build();
        Histogram::from_arc(Arc::new(HistogramHandle {
            histogram,
            attributes: attributes(key),
        }))
    }
}
