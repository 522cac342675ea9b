//! Subjects are added and removed, and verifications asked for.
