//! The chart of `docs/benchmarks.svg`: what a verification costs, by algorithm and library.

use std::fmt::Write as _;

use super::Measured;
use crate::fixture::Algorithm;
use crate::measure::Row;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 210.0;
const RIGHT: f64 = 90.0;
const BAR: f64 = 15.0;
const STEP: f64 = 20.0;
const TITLE: f64 = 30.0;
const TOP: f64 = 64.0;
/// The axis runs from 10 ns to 1 ms, one step per power of ten.
const FROM: f64 = 1.0;
const TO: f64 = 6.0;

/// Draws the chart. The scale is logarithmic: from the cheapest to the dearest are four powers.
pub(super) fn draw(measured: &Measured) -> String {
    let panels: Vec<(Algorithm, Vec<&Row>)> = Algorithm::ALL
        .into_iter()
        .map(|algorithm| (algorithm, sorted(measured, algorithm)))
        .collect();
    let height = TOP
        + panels
            .iter()
            .map(|(_, rows)| TITLE + STEP * rows.len() as f64)
            .sum::<f64>()
        + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" font-family=\"system-ui, sans-serif\" \
         font-size=\"12\" fill=\"#1f2328\">\n\
         <title>Cost of verifying a token, by algorithm and library</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"17\" font-weight=\"600\">Verifying one access token</text>\n\
         <text x=\"16\" y=\"46\" fill=\"#59636e\">calm time, logarithmic; shorter is better</text>\n"
    );
    legend(&mut svg);
    axis(&mut svg, height);
    let mut y = TOP;
    for (algorithm, rows) in panels {
        y += TITLE;
        let _ = writeln!(
            svg,
            "<text x=\"16\" y=\"{:.1}\" font-weight=\"600\" font-size=\"14\">{}</text>",
            y - 8.0,
            algorithm.name()
        );
        for row in rows {
            bar(&mut svg, row, y);
            y += STEP;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn sorted(measured: &Measured, algorithm: Algorithm) -> Vec<&Row> {
    let group = format!("token/verify/{}", algorithm.id());
    let mut rows: Vec<&Row> = measured
        .rows
        .iter()
        .filter(|row| crate::contender::group(&row.id) == group)
        .collect();
    rows.sort_by(|one, other| one.calm.total_cmp(&other.calm));
    rows
}

fn bar(svg: &mut String, row: &Row, y: f64) {
    let library = row.id.rsplit('/').next().unwrap_or_default();
    let (kind, colour) = kind(library);
    let width = place(row.calm) - LEFT;
    let weight = if kind == Kind::Ours { "600" } else { "400" };
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-weight=\"{weight}\">{}</text>\
         <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" font-weight=\"{weight}\">{}</text>",
        LEFT - 8.0,
        y + 12.0,
        label(library),
        LEFT + width + 6.0,
        y + 12.0,
        time(row.calm),
    );
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    Raw,
    Rival,
}

fn kind(library: &str) -> (Kind, &'static str) {
    match library {
        name if name.starts_with("m2m-warm") => (Kind::Ours, "#1a7f37"),
        name if name.starts_with("m2m") => (Kind::Ours, "#4ac26b"),
        "ring" | "aws-lc" | "aws-lc-parsed" => (Kind::Raw, "#afb8c1"),
        _ => (Kind::Rival, "#6b8fd6"),
    }
}

/// What the id's last part is called in public.
pub(super) fn label(library: &str) -> &str {
    match library {
        "ring" => "raw ring",
        "aws-lc" => "raw aws-lc-rs",
        "aws-lc-parsed" => "raw aws-lc-rs, parsed key",
        "jsonwebtoken-aws-lc" => "jsonwebtoken (aws_lc_rs)",
        "jsonwebtoken-rustcrypto" => "jsonwebtoken (rust_crypto)",
        "m2m-ring" => "m2m (ring)",
        "m2m-ring-struct" => "m2m (ring), into a struct",
        "m2m-aws-lc" => "m2m (aws-lc-rs)",
        "m2m-warm" => "m2m, warm",
        other => other,
    }
}

/// Nanoseconds for people.
pub(super) fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e4 => format!("{:.2} µs", ns / 1e3),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

fn legend(svg: &mut String) {
    let entries = [
        ("#1a7f37", "m2m, warm"),
        ("#4ac26b", "m2m, cold"),
        ("#6b8fd6", "other libraries"),
        ("#afb8c1", "the signature alone"),
    ];
    let mut x = 370.0;
    for (colour, name) in entries {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"15\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"25\">{name}</text>",
            x + 17.0
        );
        x += 40.0 + 6.9 * name.len() as f64;
    }
}

fn axis(svg: &mut String, height: f64) {
    let mut power = FROM;
    while power <= TO {
        let nanoseconds = 10_f64.powf(power);
        let x = place(nanoseconds);
        let name = match power as i32 {
            1 => "10 ns",
            2 => "100 ns",
            3 => "1 µs",
            4 => "10 µs",
            5 => "100 µs",
            _ => "1 ms",
        };
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#e4e7eb\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#59636e\" font-size=\"11\">{name}</text>",
            height - 12.0,
            TOP - 4.0,
        );
        power += 1.0;
    }
}

fn place(nanoseconds: f64) -> f64 {
    let share = (nanoseconds.max(10.0).log10() - FROM) / (TO - FROM);
    LEFT + share.min(1.0) * (WIDTH - LEFT - RIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_people() {
        let shown = [41.2, 2_260.0, 68_100.0, 1_090_000.0].map(time);
        assert_eq!(shown, ["41 ns", "2.26 µs", "68.1 µs", "1.09 ms"]);
    }

    #[test]
    fn the_axis_is_logarithmic() {
        let step = place(1e3) - place(1e2);
        assert!((place(1e6) - place(1e5) - step).abs() < 1e-6);
    }
}
