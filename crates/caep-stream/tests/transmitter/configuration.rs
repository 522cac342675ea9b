//! Streams are made, read, changed and deleted.
