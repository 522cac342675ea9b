//! `PostgresLimits`: how many, how much and how long.

use std::time::Duration;

/// What a [`PostgresStore`](crate::PostgresStore) may use, and how long it may take.
///
/// ```
/// use std::time::Duration;
/// use m2m_store_postgres::PostgresLimits;
///
/// let limits = PostgresLimits::new()
///     .with_read_connections(4)
///     .with_read_time(Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresLimits {
    pub(crate) read_connections: usize,
    pub(crate) waiting_reads: usize,
    pub(crate) queued_batches: usize,
    pub(crate) queued_bytes: usize,
    pub(crate) wait: Duration,
    pub(crate) connect: Duration,
    pub(crate) statement: Duration,
    pub(crate) read: Duration,
    pub(crate) commit: Duration,
    pub(crate) poll: Duration,
}

impl PostgresLimits {
    /// - 8 connections for reading (and two more: one writes, one watches), 1,024 reads waiting;
    /// - 1,024 batches and 64 MiB waiting to be committed, each at most 5 s;
    /// - 5 s to connect, 5 s a statement, 10 s a read with all it retries, 15 s a commit with all
    ///   it retries, once it is its turn;
    /// - a look at the head each 20 ms while somebody waits in `changed`.
    pub const fn new() -> Self {
        Self {
            read_connections: 8,
            waiting_reads: 1_024,
            queued_batches: 1_024,
            queued_bytes: 64 << 20,
            wait: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            statement: Duration::from_secs(5),
            read: Duration::from_secs(10),
            commit: Duration::from_secs(15),
            poll: Duration::from_millis(20),
        }
    }

    /// How many connections read; at least 1. Two more are opened, to write and to watch.
    #[must_use]
    pub const fn with_read_connections(mut self, connections: usize) -> Self {
        self.read_connections = at_least_one(connections);
        self
    }

    /// How many reads may wait for a connection before the next is refused as overload.
    #[must_use]
    pub const fn with_waiting_reads(mut self, reads: usize) -> Self {
        self.waiting_reads = at_least_one(reads);
        self
    }

    /// How many batches, and how many bytes of them, may wait to be committed. More wait outside,
    /// for the time of [`PostgresLimits::with_wait`]. A batch always fits.
    #[must_use]
    pub const fn with_queue(mut self, batches: usize, bytes: usize) -> Self {
        self.queued_batches = at_least_one(batches);
        self.queued_bytes = bytes;
        self
    }

    /// How long a read waits for a connection, and a batch for its turn, before it is refused as
    /// overload.
    #[must_use]
    pub const fn with_wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// How long connecting may take, TLS, password and checks included.
    #[must_use]
    pub const fn with_connect_time(mut self, time: Duration) -> Self {
        self.connect = time;
        self
    }

    /// How long one statement may take, on the server and as seen from here.
    #[must_use]
    pub const fn with_statement_time(mut self, time: Duration) -> Self {
        self.statement = time;
        self
    }

    /// How long a read may take, with all it retries.
    #[must_use]
    pub const fn with_read_time(mut self, time: Duration) -> Self {
        self.read = time;
        self
    }

    /// How long a commit may take once it is its turn, with all it retries and with finding out
    /// what became of it.
    #[must_use]
    pub const fn with_commit_time(mut self, time: Duration) -> Self {
        self.commit = time;
        self
    }

    /// How often the head is looked at while somebody waits in `changed`: what was committed by
    /// others is seen that much later. Costs one read of one row each time, whatever the number of
    /// followers in this process.
    #[must_use]
    pub const fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll = interval;
        self
    }
}

const fn at_least_one(number: usize) -> usize {
    match number {
        0 => 1,
        number => number,
    }
}

impl Default for PostgresLimits {
    fn default() -> Self {
        Self::new()
    }
}
