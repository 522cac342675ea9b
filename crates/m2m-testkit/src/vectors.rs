//! Finds test data made by others, and says loudly when it is missing.

use std::path::{Path, PathBuf};

/// The folder that holds the vectors, if there is one: `$M2M_VECTORS`, or `../shared/vectors` beside
/// this checkout.
pub fn root() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let root = std::env::var_os("M2M_VECTORS").map_or(beside, PathBuf::from);
    root.is_dir().then_some(root)
}

/// The text of `name`, a path inside [`root`]. Where it is missing, says on standard error that the
/// calling test was skipped, and gives `None`.
///
/// # Panics
///
/// If the file is there but cannot be read as text: broken data must not look like missing data.
#[expect(clippy::print_stderr, reason = "a skipped test must be heard of")]
pub fn read(name: &str) -> Option<String> {
    let path = root().map(|root| root.join(name));
    match path.filter(|path| path.is_file()) {
        Some(path) => Some(
            std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display())),
        ),
        None => {
            eprintln!("SKIPPED: test vectors {name} not found (set M2M_VECTORS to their folder)");
            None
        }
    }
}

/// [`read`] for JSON.
///
/// # Panics
///
/// If the file is there but is not JSON.
pub fn read_json(name: &str) -> Option<serde_json::Value> {
    read(name).map(|text| {
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name} is not JSON: {error}"))
    })
}
