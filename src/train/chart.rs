//! Curves as SVG text: lines over steps, with the range of what each point stands for.

use std::fmt::Write;

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend; also its colour's class: `train`, `validation` or `baseline`.
    pub name: &'static str,
    /// Step and value, in order of steps.
    pub points: Vec<(f64, f64)>,
}

/// Points that a line is drawn with at most; more are drawn as means of equal stretches, with their range behind.
const POINTS: usize = 400;
const WIDTH: f64 = 476.0;
const HEIGHT: f64 = 240.0;
/// Left, top, right and bottom of the plotting area.
const AREA: [f64; 4] = [56.0, 12.0, 452.0, 208.0];

/// A stretch of a line: mean step, mean value, least and largest value.
type Stretch = [f64; 4];

fn stretches(points: &[(f64, f64)]) -> Vec<Stretch> {
    let size = points.len().div_ceil(POINTS).max(1);
    let of = |part: &[(f64, f64)]| {
        let n = part.len() as f64;
        let mean = |f: fn(&(f64, f64)) -> f64| part.iter().map(f).sum::<f64>() / n;
        let (low, high) = part.iter().fold((f64::MAX, f64::MIN), |(l, h), p| (l.min(p.1), h.max(p.1)));
        [mean(|p| p.0), mean(|p| p.1), low, high]
    };
    points.chunks(size).map(of).collect()
}

/// Places for about `n` ticks between two values: multiples of 1, 2 or 5 times a power of ten.
fn ticks(low: f64, high: f64, n: usize) -> Vec<f64> {
    let raw = (high - low) / n as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw * 0.999).unwrap_or(10.0 * power);
    let first = (low / step - 1e-9).ceil() as i64;
    (first..).map(|k| k as f64 * step).take_while(|v| *v <= high + step * 1e-9).collect()
}

/// A number as short as it can be read.
pub fn short(v: f64) -> String {
    match v.abs() {
        0.0 => "0".into(),
        a if !(1e-3..1e6).contains(&a) => format!("{v:.1e}"),
        a if a >= 1000.0 && v.fract() == 0.0 => format!("{v:.0}"),
        a => {
            let digits = (2 - a.log10().floor() as i32).clamp(0, 6) as usize;
            let text = format!("{v:.digits$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
        }
    }
}

/// What maps steps and values to the plotting area.
struct Axes {
    x: [f64; 2],
    y: [f64; 2],
    log: bool,
}

impl Axes {
    fn of(all: &[Vec<Stretch>], marks: &[(f64, &str)]) -> Self {
        let flat = || all.iter().flatten();
        let range = |values: &mut dyn Iterator<Item = f64>| values.fold([f64::MAX, f64::MIN], |[l, h], v| [l.min(v), h.max(v)]);
        let [first, last] = range(&mut flat().map(|s| s[0]));
        let [low, high] = range(&mut flat().flat_map(|s| [s[2], s[3]]).chain(marks.iter().map(|m| m.0)));
        // Norms and rates run over decades.
        let log = low > 0.0 && high / low > 1000.0;
        let [low, high] = if log { [low.log10(), high.log10()] } else { [low, high] };
        let pad = if high > low { (high - low) * 0.05 } else { high.abs().max(1e-6) * 0.1 };
        Self { x: [first, if last > first { last } else { first + 1.0 }], y: [low - pad, high + pad], log }
    }

    fn x(&self, v: f64) -> f64 {
        AREA[0] + (v - self.x[0]) / (self.x[1] - self.x[0]) * (AREA[2] - AREA[0])
    }

    fn y(&self, v: f64) -> f64 {
        let v = if self.log { v.log10() } else { v };
        AREA[3] - (v - self.y[0]) / (self.y[1] - self.y[0]) * (AREA[3] - AREA[1])
    }
}

/// A chart of several lines, with horizontal marks; text in `title` and marks must need no escaping.
pub fn chart(title: &str, series: &[Series], marks: &[(f64, &str)]) -> String {
    let drawn: Vec<Vec<Stretch>> = series.iter().map(|s| stretches(&s.points)).collect();
    let mut out = format!("<figure><figcaption>{title}");
    for s in series {
        let last = s.points.last().map_or(String::new(), |p| format!(" {}", short(p.1)));
        write!(out, " <span class=\"{0}\">{0}{last}</span>", s.name).expect("writing to a string");
    }
    writeln!(out, "</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">")
        .expect("writing to a string");
    if drawn.iter().any(|d| !d.is_empty()) {
        draw(&mut out, &Axes::of(&drawn, marks), series, &drawn, marks);
    }
    out + "</svg></figure>\n"
}

fn draw(out: &mut String, axes: &Axes, series: &[Series], drawn: &[Vec<Stretch>], marks: &[(f64, &str)]) {
    let mut put = |text: String| out.push_str(&(text + "\n"));
    let [left, top, right, bottom] = AREA;
    let tall = if axes.log && axes.y[1] - axes.y[0] > 1.5 {
        (axes.y[0].ceil() as i32..=axes.y[1].floor() as i32).map(|p| 10f64.powi(p)).collect()
    } else if axes.log {
        ticks(10f64.powf(axes.y[0]), 10f64.powf(axes.y[1]), 4)
    } else {
        ticks(axes.y[0], axes.y[1], 5)
    };
    for v in tall {
        let y = axes.y(v);
        put(format!(
            "<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" class=\"y\">{}</text>",
            left - 5.0,
            y + 4.0,
            short(v)
        ));
    }
    for v in ticks(axes.x[0], axes.x[1], 5) {
        let x = axes.x(v);
        put(format!(
            "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/><text x=\"{x:.1}\" y=\"{:.1}\" class=\"x\">{}</text>",
            bottom + 16.0,
            short(v)
        ));
    }
    for (value, what) in marks {
        let y = axes.y(*value);
        put(format!(
            "<path class=\"mark\" d=\"M{left} {y:.1}H{right}\"/><text x=\"{right}\" y=\"{:.1}\" class=\"marked\">{what}</text>",
            y - 4.0
        ));
    }
    for (s, line) in series.iter().zip(drawn) {
        let at = |x: f64, y: f64| format!("{:.1} {:.1}", axes.x(x), axes.y(y));
        if s.points.len() > POINTS {
            let band = line.iter().map(|p| at(p[0], p[3])).chain(line.iter().rev().map(|p| at(p[0], p[2])));
            put(format!("<path class=\"band {}\" d=\"M{}Z\"/>", s.name, band.collect::<Vec<_>>().join("L")));
        }
        match line[..] {
            [] => {}
            [p] => put(format!("<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", s.name, axes.x(p[0]), axes.y(p[1]))),
            _ => {
                let path = line.iter().map(|p| at(p[0], p[1])).collect::<Vec<_>>().join("L");
                put(format!("<path class=\"line {}\" d=\"M{path}\"/>", s.name));
            }
        }
    }
    put(format!("<text x=\"{right}\" y=\"{:.1}\" class=\"marked\">step</text>", bottom + 29.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_numbers_short() {
        let read = |low, high, n| ticks(low, high, n).into_iter().map(short).collect::<Vec<_>>().join(" ");
        assert_eq!(read(0.0, 1.0, 5), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(read(-0.3, 2.2, 5), "0 0.5 1 1.5 2");
        assert_eq!(read(1.0, 78_000.0, 5), "20000 40000 60000");
        assert_eq!(
            (short(1e-6), short(0.001), short(12.3456), short(-2.0), short(1e7)),
            ("1.0e-6".into(), "0.001".into(), "12.3".into(), "-2".into(), "1.0e7".into())
        );
    }

    #[test]
    fn long_lines_keep_their_means_and_ranges() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        let all = stretches(&points);
        assert!(all.len() <= POINTS && all.iter().all(|s| s[2] == 0.0 && s[3] == 1.0));
        assert!(all.iter().all(|s| (s[1] - 0.5).abs() < 0.03));
        let svg = chart("t", &[Series { name: "train", points }], &[]);
        assert!(svg.contains("band train") && svg.len() < 30_000);
    }

    #[test]
    fn one_point_constant_lines_and_none_are_drawn() {
        let one = |points: &[(f64, f64)]| chart("t", &[Series { name: "train", points: points.to_vec() }], &[]);
        assert!(one(&[]).contains("</svg>"));
        assert!(one(&[(3.0, 0.0)]).contains("<circle"));
        let flat = one(&[(1.0, 2.0), (2.0, 2.0)]);
        assert!(flat.contains("line train") && !flat.contains("NaN") && !flat.contains("inf"), "{flat}");
        let decades = one(&[(1.0, 1e-6), (2.0, 1e-3), (3.0, 1.0)]);
        assert!(decades.contains(">1.0e-6<") && decades.contains(">0.001<"), "{decades}");
    }
}
