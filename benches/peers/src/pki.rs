//! Certificates and revocation lists: run by the programs that `m2m-pki` has for that, which print tables
//! and, behind the word `figure`, a name and a number for each promise.

use std::process::{Command, Stdio};

/// The programs, all with the feature `rustls`.
pub const PROGRAMS: [&str; 3] = ["handshake_cost", "crl_cost", "issue_cost"];

/// What the programs said, in their order; `None` if one could not be run.
#[derive(Clone, Debug, Default)]
pub struct Said {
    texts: [Option<String>; PROGRAMS.len()],
}

/// Runs them with a million revoked certificates, which takes some minutes.
pub fn measure() -> Said {
    Said {
        texts: PROGRAMS.map(said),
    }
}

fn said(example: &str) -> Option<String> {
    eprintln!("running {example}");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--release", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"))
        .args([
            "-p",
            "m2m-pki",
            "--features",
            "rustls",
            "--example",
            example,
        ])
        // They are built as users of the workspace would, not as this program was.
        .env_remove("CARGO_TARGET_DIR")
        .stderr(Stdio::inherit())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

impl Said {
    /// The number that one of them gave `name`.
    pub fn figure(&self, name: &str) -> Option<f64> {
        let number = |line: &str| {
            let rest = line.strip_prefix("figure ")?.strip_prefix(name)?;
            rest.strip_prefix(' ')?.trim().parse().ok()
        };
        let texts = self.texts.iter().flatten();
        texts.flat_map(|text| text.lines()).find_map(number)
    }

    /// Each program's name and table, as people read it.
    pub fn tables(&self) -> Vec<(&'static str, String)> {
        let table = |(name, text): (&'static str, &Option<String>)| {
            let lines = text.as_deref()?.lines();
            let lines = lines.filter(|line| !line.starts_with("figure "));
            let lines: Vec<&str> = lines.collect();
            Some((name, lines.join("\n")))
        };
        let programs = PROGRAMS.into_iter().zip(&self.texts);
        programs.filter_map(table).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_by_its_whole_name() {
        let table = "full handshake\n  with ÷ without    1.010   ≤ 1.03\nfigure a_b 1.0100\n";
        let said = Said {
            texts: [Some(table.into()), None, Some("figure a 2.5\n".into())],
        };
        assert_eq!(said.figure("a_b"), Some(1.01));
        assert_eq!(said.figure("a"), Some(2.5));
        assert_eq!(said.figure("a_"), None);
        let tables = said.tables();
        assert_eq!(tables.len(), 2);
        assert!(tables[0].1.ends_with("≤ 1.03"));
    }
}
