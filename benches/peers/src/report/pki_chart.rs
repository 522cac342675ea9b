//! The chart of `docs/benchmarks-pki.svg`: handshakes, look-ups and the reading of lists, beside others.

use std::fmt::Write as _;

use crate::pki::Said;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 270.0;
const RIGHT: f64 = 110.0;
const STEP: f64 = 22.0;

/// One group of bars: what the lines of the tables begin with, and what the bar is called.
struct Panel {
    title: &'static str,
    unit: &'static str,
    bars: &'static [(&'static str, &'static str)],
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "A full handshake by mutual TLS, both sides",
        unit: "µs",
        bars: &[
            ("stock rustls, no CRL", "rustls, no CRL"),
            ("stock rustls, the same CRLs", "rustls, 1,000,000 revoked"),
            ("ours, no revocation", "m2m, no revocation"),
            ("ours, all CRLs, new leaves", "m2m, 1,000,000 revoked"),
            (
                "ours, all CRLs, leaves seen before",
                "m2m, and a leaf seen before",
            ),
        ],
    },
    Panel {
        title: "Is this one of 1,000,000 revoked? No",
        unit: "ns",
        bars: &[
            ("rustls-webpki ", "rustls-webpki"),
            ("index ", "m2m, mapped index"),
        ],
    },
    Panel {
        title: "Reading a CRL of 1,000,000 entries",
        unit: "ms",
        bars: &[
            ("read by x509-parser", "x509-parser"),
            ("read by openssl crl", "openssl crl, with its process"),
            ("read ", "m2m"),
        ],
    },
];

/// Draws what the tables say; [`None`] if they say nothing. Each panel has its own logarithmic scale.
pub(super) fn draw(said: &Said) -> Option<String> {
    let tables = said.tables();
    let lines: Vec<&str> = tables.iter().flat_map(|(_, text)| text.lines()).collect();
    let mut body = String::new();
    let mut y = 40.0;
    for panel in &PANELS {
        let of = |(begin, name): &(&str, &'static str)| Some((*name, number(&lines, begin)?));
        let bars: Vec<(&str, f64)> = panel.bars.iter().filter_map(of).collect();
        let most = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        if most <= 0.0 {
            continue;
        }
        let least = bars.iter().map(|(_, value)| *value).fold(most, f64::min);
        y += 26.0;
        let _ = writeln!(
            body,
            "<text x=\"16\" y=\"{y:.1}\" font-weight=\"600\" font-size=\"14\">{}</text>",
            panel.title
        );
        // From half of the least to the most.
        let span = (most / (least / 2.0)).ln();
        for (name, value) in bars {
            y += STEP;
            let width = (WIDTH - LEFT - RIGHT) * (value / (least / 2.0)).ln() / span;
            let (colour, weight) = match name.starts_with("m2m") {
                true => ("#0969da", 600),
                false => ("#8c959f", 400),
            };
            let _ = writeln!(
                body,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-weight=\"{weight}\">{name}</text>\
                 <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"15\" rx=\"2\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{value:.0} {}</text>",
                LEFT - 8.0,
                y,
                y - 12.0,
                LEFT + width + 6.0,
                y,
                panel.unit
            );
        }
        y += 8.0;
    }
    let height = y + 16.0;
    (!body.is_empty()).then(|| {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
             height=\"{height:.0}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#1f2328\">\n\
             <title>Certificates and revocation lists, beside others</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"16\" y=\"26\" font-size=\"17\" font-weight=\"600\">Certificates and revocation lists</text>\n\
             <text x=\"16\" y=\"44\" fill=\"#59636e\">each scale is logarithmic; shorter is better</text>\n\
             {body}</svg>\n"
        )
    })
}

/// The number behind `begin`, in the first line that has one there.
fn number(lines: &[&str], begin: &str) -> Option<f64> {
    lines.iter().find_map(|line| {
        let rest = line.trim_start().strip_prefix(begin)?;
        rest.split_whitespace().next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_number_is_found_behind_the_words_before_it() {
        let lines = [
            "  read by x509-parser    61.5 ms",
            "read 24.0 ms, verify 25.1 ms",
        ];
        assert_eq!(number(&lines, "read by x509-parser"), Some(61.5));
        assert_eq!(number(&lines, "read "), Some(24.0));
        assert_eq!(number(&lines, "verify"), None);
    }
}
