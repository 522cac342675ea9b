//! Streams are paused, disabled, full, and enabled again.
