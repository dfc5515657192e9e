//! Pictures for those who only want files: pLDDT along the chain, aligned errors of every rank, the alignment's coverage.

use crate::predict::coverage::Coverage;
use crate::predict::raster::{BLACK, Canvas, Colour, GREY, between, text_width};
use crate::predict::scored::Scored;

/// Aligned errors from 0 to the most, as the AlphaFold database shows them: dark green is certain.
const GREENS: [Colour; 3] = [[0, 68, 27], [65, 171, 93], [255, 255, 255]];
/// Identity from 0 to 100 %.
const RAINBOW: [Colour; 5] = [[215, 48, 39], [253, 174, 97], [180, 190, 80], [116, 173, 209], [49, 54, 149]];
/// One colour a rank, from the best.
const RANKS: [Colour; 8] =
    [[0, 83, 214], [214, 96, 0], [0, 140, 80], [150, 60, 170], [200, 30, 60], [90, 90, 90], [0, 150, 170], [160, 130, 0]];
/// Ranks in one picture: more cannot be told apart.
pub const MOST: usize = RANKS.len();

/// Outer size of a plot with axes, and the inside's place.
const OUTER: (usize, usize) = (900, 420);
const INSIDE: ((i32, i32), (i32, i32)) = ((80, 40), (790, 310));

/// A number for an axis's end.
fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Axes with ticks at quarters, their numbers, and titles.
fn axes(canvas: &mut Canvas, title: &str, (x_title, x_range): (&str, [f64; 2]), (y_title, y_range): (&str, [f64; 2])) {
    let ((x, y), (width, height)) = INSIDE;
    canvas.frame((x, y), (width, height), BLACK);
    for k in 0..=4 {
        let t = f64::from(k) / 4.0;
        let (value, at) = ((x_range[0] + t * (x_range[1] - x_range[0])).round(), x + (t * f64::from(width)) as i32);
        let label = number(value);
        canvas.fill((at, y + height), (1, 6), BLACK);
        canvas.text((at - text_width(&label, 2) / 2, y + height + 10), 2, &label, BLACK);
        let (value, at) = (y_range[0] + t * (y_range[1] - y_range[0]), y + height - (t * f64::from(height)) as i32);
        let label = number(value);
        canvas.fill((x - 6, at), (6, 1), BLACK);
        canvas.text((x - 10 - text_width(&label, 2), at - 7), 2, &label, BLACK);
    }
    canvas.text((x, 12), 2, title, BLACK);
    canvas.text((x + width / 2 - text_width(x_title, 2) / 2, y + height + 36), 2, x_title, BLACK);
    canvas.text((x + 6, y + 6), 2, y_title, BLACK);
}

/// A place inside the axes for shares of their ranges.
fn place(across: f64, up: f64) -> (f64, f64) {
    let ((x, y), (width, height)) = INSIDE;
    (f64::from(x) + across * f64::from(width - 2), f64::from(y) + (1.0 - up.clamp(0.0, 1.0)) * f64::from(height - 2))
}

/// A curve of values that are shares of the vertical range.
fn curve(canvas: &mut Canvas, shares: &[f64], colour: Colour) {
    let step = 1.0 / (shares.len().max(2) - 1) as f64;
    let points: Vec<(f64, f64)> = shares.iter().enumerate().map(|(i, &s)| place(i as f64 * step, s)).collect();
    points.windows(2).for_each(|p| canvas.line(p[0], p[1], colour));
}

/// pLDDT along the chain, a curve for each of the first ranks.
pub fn plddt(ranked: &[&Scored]) -> Vec<u8> {
    let n = ranked.first().map_or(1, |s| s.plddt.len());
    let mut canvas = Canvas::new(OUTER.0, OUTER.1);
    for border in [50.0, 70.0, 90.0] {
        let (x, y) = place(0.0, border / 100.0);
        canvas.fill((x as i32, y as i32), (INSIDE.1.0, 1), GREY);
    }
    for (rank, scored) in ranked.iter().enumerate().take(MOST).rev() {
        let shares: Vec<f64> = scored.plddt.iter().map(|p| p / 100.0).collect();
        curve(&mut canvas, &shares, RANKS[rank]);
    }
    axes(&mut canvas, "predicted LDDT", ("residue", [1.0, n as f64]), ("", [0.0, 100.0]));
    for (rank, colour) in RANKS.iter().enumerate().take(ranked.len()) {
        let x = INSIDE.0.0 + 330 + 62 * rank as i32;
        canvas.fill((x, 16), (16, 6), *colour);
        canvas.text((x + 20, 12), 2, &rank.to_string(), BLACK);
    }
    canvas.png()
}

/// Aligned errors of the first ranks side by side; `None` when no rank has them.
pub fn pae(ranked: &[&Scored]) -> Option<Vec<u8>> {
    const SIDE: i32 = 300;
    const GAP: i32 = 60;
    let with: Vec<(usize, &Scored)> = ranked.iter().copied().enumerate().filter(|(_, s)| s.errors.is_some()).take(5).collect();
    if with.is_empty() {
        return None;
    }
    let mut canvas = Canvas::new((GAP + with.len() as i32 * (SIDE + GAP)) as usize, 440);
    let most = with[0].1.errors.as_ref().map_or(1.0, |e| e.max_pae);
    for (k, (rank, scored)) in with.iter().enumerate() {
        let (errors, n) = (scored.errors.as_ref().expect("kept for having them"), scored.plddt.len());
        let (x, y) = (GAP + k as i32 * (SIDE + GAP), 50);
        canvas.text((x, 20), 2, &format!("rank {rank}"), BLACK);
        for (j, i) in (0..SIDE).flat_map(|j| (0..SIDE).map(move |i| (j, i))) {
            let residue = |at: i32| at as usize * n / SIDE as usize;
            canvas.dot(x + i, y + j, between(&GREENS, errors.pae[residue(j) * n + residue(i)] / most));
        }
        canvas.frame((x, y), (SIDE, SIDE), BLACK);
        let last = n.to_string();
        canvas.text((x, y + SIDE + 8), 2, "1", BLACK);
        canvas.text((x + SIDE - text_width(&last, 2), y + SIDE + 8), 2, &last, BLACK);
        canvas.text((x + SIDE / 2 - 66, y + SIDE + 8), 1, "scored residue / aligned down", BLACK);
    }
    for t in 0..SIDE {
        canvas.fill((GAP + t, 410), (1, 12), between(&GREENS, f64::from(t) / f64::from(SIDE)));
    }
    canvas.frame((GAP, 410), (SIDE, 12), BLACK);
    canvas.text((GAP - 20, 409), 2, "0", BLACK);
    canvas.text((GAP + SIDE + 8, 409), 2, &format!("{} angstrom, expected position error", number(most)), BLACK);
    Some(canvas.png())
}

/// Rows of the alignment by identity, and the number of rows over each residue.
pub fn coverage(coverage: &Coverage) -> Vec<u8> {
    let n = coverage.depth.len().max(1);
    let mut canvas = Canvas::new(OUTER.0, OUTER.1);
    let ((x, y), (width, height)) = INSIDE;
    for (j, i) in (0..height).flat_map(|j| (0..width).map(move |i| (j, i))) {
        let (row, column) = (j as usize * coverage.n_shown / height as usize, i as usize * n / width as usize);
        // The most alike row is the lowest, so that the pile grows upwards as the depth does.
        let cell = coverage.picture[row * n + column];
        if cell > 0 {
            canvas.dot(x + i, y + height - 1 - j, between(&RAINBOW, f64::from(cell - 1) / 100.0));
        }
    }
    let most = coverage.n_seq.max(1) as f64;
    let shares: Vec<f64> = coverage.depth.iter().map(|&d| f64::from(d) / most).collect();
    curve(&mut canvas, &shares, BLACK);
    axes(&mut canvas, "alignment: rows by identity, depth", ("residue", [1.0, n as f64]), ("", [0.0, most]));
    for t in 0..200 {
        canvas.fill((x + 480 + t, 14), (1, 12), between(&RAINBOW, f64::from(t) / 200.0));
    }
    canvas.text((x + 460, 13), 2, "0", BLACK);
    canvas.text((x + 688, 13), 2, "100 %", BLACK);
    canvas.png()
}
