//! HS256 as on a processor without instructions for SHA-256, by the clock: aws-lc-rs can be told not to
//! use them, and is both what is measured and what it is measured beside. *ring* cannot be told.

use std::process::{Command, Stdio};

/// What aws-lc-rs reads when it starts: the bit of the SHA instructions is taken away (`cpuid` leaf 7).
const WITHOUT_SHA: (&str, &str) = ("OPENSSL_ia32cap", "~0x0:~0x20000000");

/// Verifying HS256 on aws-lc-rs ÷ its bare HMAC, both without the instructions.
pub fn measure() -> Option<f64> {
    let output = Command::new(std::env::current_exe().ok()?)
        .args(["time", "token/verify/hs256"])
        .env(WITHOUT_SHA.0, WITHOUT_SHA.1)
        .stderr(Stdio::inherit())
        .output()
        .ok()?;
    quotient(std::str::from_utf8(&output.stdout).ok()?)
}

/// Both are printed as multiples of the same.
fn quotient(table: &str) -> Option<f64> {
    let ratio = |id: &str| {
        let line = table.lines().find_map(|line| {
            let rest = line.strip_prefix("token/verify/hs256/")?;
            rest.strip_prefix(id)?.strip_prefix(' ')
        })?;
        let word = line
            .split_whitespace()
            .find_map(|word| word.strip_suffix('x'))?;
        word.parse::<f64>().ok()
    };
    Some(ratio("m2m-aws-lc")? / ratio("aws-lc")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quotient_is_of_the_two_rows() {
        let table = "timing\n\
            token/verify/hs256/ring           624 ns    1.000x      0 alloc\n\
            token/verify/hs256/aws-lc        2256 ns    3.500x      0 alloc\n\
            token/verify/hs256/m2m-aws-lc    2593 ns    4.200x      0 alloc\n";
        assert_eq!(quotient(table), Some(1.2));
        assert_eq!(quotient(""), None);
    }
}
