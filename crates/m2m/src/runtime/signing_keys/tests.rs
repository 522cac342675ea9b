//! Rotation by schedule, and the same ring after a restart.
