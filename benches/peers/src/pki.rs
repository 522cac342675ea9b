//! Certificates and revocation lists: run by the programs that `m2m-pki` has for that, which print tables.

use std::process::{Command, Stdio};

/// What the programs said; `None` if one could not be run.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// `crl_cost`.
    pub crl: Option<String>,
    /// `handshake_cost`.
    pub handshake: Option<String>,
}

/// Runs them with a million revoked certificates, which takes some minutes.
pub fn measure() -> Said {
    Said {
        crl: said("crl_cost"),
        handshake: said("handshake_cost"),
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
    /// The numbers in the line of `crl_cost` that begins with `label`.
    pub fn of_crl(&self, label: &str) -> Option<Vec<f64>> {
        numbers(self.crl.as_deref()?, label)
    }

    /// The numbers in the line of `handshake_cost` that begins with `label` below `title`; behind the
    /// title itself if that is empty.
    pub fn of_handshake(&self, title: &str, label: &str) -> Option<Vec<f64>> {
        let text = self.handshake.as_deref()?;
        numbers(text.get(text.find(title)?..)?, label)
    }
}

/// The numbers behind `label` in the first line that begins with it, white space aside.
fn numbers(text: &str, label: &str) -> Option<Vec<f64>> {
    let behind = |line: &str| line.trim_start().strip_prefix(label).map(str::to_owned);
    let rest = text.lines().find_map(behind)?;
    let words = rest.split(|c: char| !c.is_ascii_digit() && c != '.');
    let numbers: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
    (!numbers.is_empty()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_below_its_title() {
        let said = Said {
            handshake: Some(
                "full handshake\n  with revocation ÷ without     1.010   ≤ 1.03\n\n\
                 resumed handshake\n  with revocation ÷ without     1.027   ≤ 1.03\n"
                    .into(),
            ),
            crl: Some("open and first answer                0.009 ms\n".into()),
        };
        let label = "with revocation ÷ without";
        assert_eq!(said.of_handshake("resumed", label), Some(vec![1.027, 1.03]));
        assert_eq!(said.of_handshake("full", label), Some(vec![1.010, 1.03]));
        assert_eq!(said.of_crl("open and first answer"), Some(vec![0.009]));
        assert_eq!(said.of_crl("something else"), None);
    }
}
