//! One target's page: a single HTML file that needs no network, with the structure in a 3D viewer, its confidences, the alignment and recycling.
//!
//! The viewer is the vendored 3Dmol.js. Data goes into the page as one JSON text in which no tag can begin; the script writes it as text only, and
//! the page's policy forbids every request.

use serde_json::{Value, json};

use crate::predict::coverage::Coverage;
use crate::predict::output::{Finished, modelcif};
use crate::predict::scored::Scored;

const VIEWER: &str = include_str!("../../assets/vendor/3dmol/3Dmol-min.js");
const VIEWER_LICENCE: &str = include_str!("../../assets/vendor/3dmol/LICENSE");
const SCRIPT: &str = include_str!("../../assets/report/report.js");
const STYLE: &str = include_str!("../../assets/report/report.css");
const BODY: &str = include_str!("../../assets/report/body.html");

/// Largest side of an error matrix in the page; larger ones are averaged over blocks, which the page says.
const LARGEST: usize = 1024;
/// Errors are kept in steps of 1/8 Angstrom: 31.75 are 254.
const STEPS: f64 = 8.0;
/// Ranks in the page; a page of many long ones would not open.
const MOST_RANKS: usize = 10;
/// Longest header that the page shows.
const LONGEST_TITLE: usize = 300;

/// The page.
pub fn page(f: &Finished) -> String {
    let title: String = f.title.chars().take(LONGEST_TITLE).collect();
    let ranks: Vec<Value> = f.ranked.iter().take(MOST_RANKS).map(|s| rank(f, s)).collect();
    let data = json!({
        "name": f.name, "title": title, "software": format!("anyfold {}", env!("CARGO_PKG_VERSION")), "rankedBy": f.rank_by,
        "sequence": f.ranked.first().map_or("", |s| s.chain.sequence.as_str()),
        "ranks": ranks, "count": f.ranked.len(), "coverage": f.coverage.map(coverage),
    });
    let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; \
                  worker-src blob:; form-action 'none'; base-uri 'none'";
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n{BODY}<!-- 3Dmol.js\n{}\n-->\n<script>{VIEWER}</script>\n\
         <script type=\"application/json\" id=\"data\">{}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        escaped(f.name),
        VIEWER_LICENCE.replace("--", "- -"),
        in_script(&data),
    )
}

/// JSON in which no `<` stands, so that neither a tag nor a comment can begin in it.
fn in_script(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

/// Text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn rank(f: &Finished, s: &Scored) -> Value {
    let round = |v: f64, scale: f64| (v * scale).round() / scale;
    let history: Vec<Value> = s.history.iter().map(|c| json!([c.plddt, c.ptm, c.change])).collect();
    let violating: Vec<usize> = s.violating.iter().enumerate().filter(|(_, v)| **v).map(|(i, _)| i + 1).collect();
    json!({
        "label": s.label, "model": s.model, "seed": s.seed, "mean": round(s.mean_plddt(), 100.0), "ptm": s.ptm().map(|p| round(p, 1e4)),
        "plddt": s.plddt.iter().map(|&p| round(p, 100.0)).collect::<Vec<_>>(),
        "numbers": s.chain.sites.iter().map(|site| site.number.map(|n| n.value)).collect::<Vec<_>>(),
        "pae": pae(s), "history": history, "violations": s.violations, "violating": violating, "cif": modelcif(f, s),
    })
}

/// The error matrix in bytes, base64; `block` residues to a side of a cell.
fn pae(s: &Scored) -> Option<Value> {
    let (errors, n) = (s.errors.as_ref()?, s.plddt.len());
    let block = n.div_ceil(LARGEST).max(1);
    let side = n.div_ceil(block);
    let mut bytes = Vec::with_capacity(side * side);
    for (i, j) in (0..side).flat_map(|i| (0..side).map(move |j| (i, j))) {
        let (rows, columns) = (i * block..((i + 1) * block).min(n), j * block..((j + 1) * block).min(n));
        let count = (rows.len() * columns.len()) as f64;
        let sum: f64 = rows.map(|r| errors.pae[r * n + columns.start..r * n + columns.end].iter().sum::<f64>()).sum();
        bytes.push((sum / count * STEPS).round().clamp(0.0, 255.0) as u8);
    }
    Some(json!({ "side": side, "block": block, "steps": STEPS, "max": errors.max_pae, "data": base64(&bytes) }))
}

fn coverage(c: &Coverage) -> Value {
    json!({ "rows": c.n_seq, "depth": c.depth, "shown": c.n_shown, "picture": base64(&c.picture) })
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |w, (k, &b)| w | u32::from(b) << (16 - 8 * k));
        for k in 0..4 {
            out.push(if k <= chunk.len() { LETTERS[(word >> (18 - 6 * k) & 63) as usize] as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (n, text) in expected.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..n]), *text);
        }
    }

    /// What is put into the page as it is must not end the element that it stands in.
    #[test]
    fn the_vendored_script_cannot_leave_its_element() {
        for text in [VIEWER, SCRIPT] {
            let lower = text.to_ascii_lowercase();
            assert!(!lower.contains("</script") && !lower.contains("<!--"));
        }
        assert!(!STYLE.to_ascii_lowercase().contains("</style"));
    }

    #[test]
    fn a_hostile_text_begins_no_tag() {
        let text = in_script(&json!({ "title": "</script><script>alert(1)</script><!-- \u{2028}" }));
        assert!(!text.contains('<'));
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["title"], "</script><script>alert(1)</script><!-- \u{2028}");
        assert_eq!(escaped("<a href='x'>\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
    }
}
