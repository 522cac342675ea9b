//! Where the files are, and what it costs there to make a write durable.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use crate::timing::median;

/// A directory of its own on the file system that is measured: `M2M_STORE_DIR`, or this package's
/// `target`.
///
/// # Panics
///
/// If it cannot be made.
pub fn directory() -> TempDir {
    let parent = std::env::var_os("M2M_STORE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    TempDir::new_in(parent).expect("a directory")
}

/// Seconds that a sync of one changed page takes: the median of many.
///
/// # Panics
///
/// If the file cannot be written.
pub fn sync_seconds() -> f64 {
    const PAGE: u64 = 4096;
    let directory = directory();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(directory.path().join("synced"))
        .expect("a new file");
    file.set_len(256 * PAGE).expect("room");
    file.write_all_at(&[1; 256 * PAGE as usize], 0)
        .expect("room");
    file.sync_all().expect("a sync");
    median((0..200).map(|round| {
        file.write_all_at(&[round as u8; PAGE as usize], round % 256 * PAGE)
            .expect("room");
        let start = Instant::now();
        file.sync_data().expect("a sync");
        start.elapsed().as_secs_f64()
    }))
}

/// The name of the file system, such as `ext4`.
///
/// # Panics
///
/// If the directory is nowhere.
pub fn file_system() -> String {
    let directory = directory();
    let path = directory.path().canonicalize().expect("a path");
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    // The innermost one that holds it; of several on one point the last.
    let here = mounts
        .filter(|(point, _)| path.starts_with(point))
        .max_by_key(|(point, _)| point.len());
    here.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

/// Bytes of all files in `directory`.
///
/// # Panics
///
/// If it cannot be read.
pub fn bytes_in(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let bytes = entries.map(|entry| {
        let entry = entry.expect("an entry");
        let metadata = entry.metadata().expect("its metadata");
        match metadata.is_dir() {
            true => bytes_in(&entry.path()),
            false => metadata.len(),
        }
    });
    bytes.sum()
}
