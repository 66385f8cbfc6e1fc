//! Plots as SVG that stretch to the width of the page while their text does not: places in them are
//! shares of the width. Names and ticks stand outside of the picture, in a frame that leaves room
//! for them.

use std::fmt::Write as _;

use super::axis::Axis;
use super::escaped;

/// Pixels. The room around it stands in report.css.
const AREA_HEIGHT: f64 = 220.0;
/// From one line's label to the next.
const LABEL_HEIGHT: f64 = 16.0;
/// The coordinates of lines go from 0 to this in both directions.
const LINES: f64 = 1_000.0;

/// A plot over two axes.
pub(super) struct Plot {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// For those who do not see it, and below it for all others.
    pub(super) about: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// Parts of the x axis that do not count.
    pub(super) shades: Vec<(f64, f64)>,
    pub(super) marks: Vec<Mark>,
    /// Columns of the table of windows that belong to it.
    pub(super) columns: &'static [usize],
}

/// A line, with its name at its end.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// `c0` to `c5`.
    pub(super) colour: &'static str,
    /// Where there is no value the line has a gap.
    pub(super) points: Vec<(f64, Option<f64>)>,
    /// Each point also as a dot: full, or hollow where this is false. None where there is no word
    /// of it.
    pub(super) dots: Vec<bool>,
}

impl Line {
    /// Whether there is a dot, and whether it is full: one between two gaps would not be seen.
    fn dot(&self, n: usize) -> Option<bool> {
        let is_gap = |n: usize| self.points.get(n).is_none_or(|(_, value)| value.is_none());
        let is_alone = is_gap(n.wrapping_sub(1)) && is_gap(n + 1);
        self.dots.get(n).copied().or(is_alone.then_some(true))
    }
}

/// A place on the x axis that has a name.
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) text: String,
}

impl Plot {
    /// The whole figure.
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        let columns: Vec<_> = self.columns.iter().map(usize::to_string).collect();
        let _ = write!(
            out,
            "<figure class=\"plot\" data-columns=\"{}\"><h3>{}</h3>\
             <p class=\"readout\" aria-hidden=\"true\"></p>",
            columns.join(" "),
            escaped(self.title)
        );
        open_svg(&mut out, "", self.id, self.title, &self.about, AREA_HEIGHT);
        self.shades(&mut out);
        self.axes(&mut out);
        self.lines(&mut out);
        self.marks(&mut out);
        self.labels(&mut out);
        out.push_str("<line class=\"cursor\" y1=\"0\" y2=\"100%\"/></svg></div>");
        let _ = write!(out, "<figcaption>{}</figcaption></figure>", escaped(&self.about));
        out
    }

    fn shades(&self, out: &mut String) {
        for (from, to) in &self.shades {
            let (from, to) = (self.x.share(*from) * 100.0, self.x.share(*to) * 100.0);
            let _ = write!(
                out,
                "<rect class=\"shade\" x=\"{from:.2}%\" width=\"{:.2}%\" height=\"100%\"/>",
                to - from
            );
        }
    }

    fn axes(&self, out: &mut String) {
        for (value, label) in &self.y.ticks {
            let y = self.y_of(*value);
            let _ = write!(
                out,
                "<line class=\"grid\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick y\" x=\"-8\" y=\"{y:.1}\" dy=\".35em\">{}</text>",
                escaped(label)
            );
        }
        write_x_ticks(out, &self.x, AREA_HEIGHT + 19.0);
        let _ = write!(
            out,
            "<text class=\"title\" x=\"-56\" y=\"-15\">{}</text>\
             <text class=\"title end\" x=\"100%\" y=\"{}\">{}</text>",
            escaped(self.y.title),
            AREA_HEIGHT + 40.0,
            escaped(self.x.title)
        );
    }

    fn lines(&self, out: &mut String) {
        let _ = write!(
            out,
            "<svg class=\"lines\" width=\"100%\" height=\"100%\" viewBox=\"0 0 {LINES} {LINES}\" \
             preserveAspectRatio=\"none\">"
        );
        for line in &self.lines {
            let _ = write!(out, "<path class=\"{}\" d=\"", line.colour);
            let mut is_drawing = false;
            for (x, y) in &line.points {
                let Some(y) = y else {
                    is_drawing = false;
                    continue;
                };
                let x = self.x.share(*x) * LINES;
                let y = (1.0 - self.y.share(*y)) * LINES;
                let step = if is_drawing { "L" } else { "M" };
                let _ = write!(out, "{step}{x:.1} {y:.1}");
                is_drawing = true;
            }
            out.push_str("\"/>");
        }
        out.push_str("</svg>");
        for line in &self.lines {
            for (n, (x, y)) in line.points.iter().enumerate() {
                let (Some(y), Some(is_full)) = (y, line.dot(n)) else { continue };
                let (x, y) = (self.x.share(*x) * 100.0, self.y_of(*y));
                let hollow = if is_full { "" } else { " hollow" };
                let colour = line.colour;
                let _ = write!(
                    out,
                    "<circle class=\"{colour}{hollow}\" cx=\"{x:.2}%\" cy=\"{y:.1}\" r=\"3\"/>"
                );
            }
        }
    }

    fn marks(&self, out: &mut String) {
        for (n, mark) in self.marks.iter().enumerate() {
            let share = self.x.share(mark.at);
            let (class, dx) = if share > 0.5 { ("mark end", -6) } else { ("mark", 6) };
            let _ = write!(
                out,
                "<line class=\"mark\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y2=\"100%\"/>\
                 <text class=\"{class}\" x=\"{x:.2}%\" dx=\"{dx}\" y=\"{}\">{}</text>",
                14.0 + LABEL_HEIGHT * n as f64,
                escaped(&mark.text),
                x = share * 100.0,
            );
        }
    }

    /// The name of each line beside its end, and none on another.
    fn labels(&self, out: &mut String) {
        let end = |line: &Line| line.points.iter().rev().find_map(|(_, y)| *y);
        let mut labels: Vec<_> =
            self.lines.iter().filter_map(|line| Some((self.y_of(end(line)?), line))).collect();
        labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        let lowest = AREA_HEIGHT - 4.0;
        let mut next = 4.0;
        for (y, _) in &mut labels {
            *y = y.max(next);
            next = *y + LABEL_HEIGHT;
        }
        let mut next = lowest;
        for (y, _) in labels.iter_mut().rev() {
            *y = y.min(next);
            next = *y - LABEL_HEIGHT;
        }
        for (y, line) in labels {
            let _ = write!(
                out,
                "<text class=\"label {}\" x=\"100%\" dx=\"8\" y=\"{y:.1}\" dy=\".35em\">{}</text>",
                line.colour,
                escaped(line.name)
            );
        }
    }

    fn y_of(&self, value: f64) -> f64 {
        (1.0 - self.y.share(value)) * AREA_HEIGHT
    }
}

/// Two bars for each name, with their values beside them.
pub(super) struct Bars {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) about: String,
    /// What the first and the second bar are.
    pub(super) kinds: [&'static str; 2],
    pub(super) x: Axis,
    pub(super) rows: Vec<(&'static str, [(f64, String); 2])>,
}

const BAR_HEIGHT: f64 = 16.0;
const ROW_HEIGHT: f64 = 52.0;

impl Bars {
    /// The whole figure.
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        let area = ROW_HEIGHT * self.rows.len() as f64;
        let [first, second] = self.kinds;
        let _ = write!(
            out,
            "<figure class=\"plot\"><h3>{}</h3><p class=\"legend\">\
             <span class=\"c0\"></span>{first} <span class=\"c2\"></span>{second}</p>",
            escaped(self.title)
        );
        open_svg(&mut out, " bars", self.id, self.title, &self.about, area);
        write_x_ticks(&mut out, &self.x, area + 19.0);
        for (n, (name, bars)) in self.rows.iter().enumerate() {
            let top = ROW_HEIGHT * n as f64;
            let _ = write!(
                out,
                "<text class=\"tick y\" x=\"-8\" y=\"{}\" dy=\".35em\">{}</text>",
                top + ROW_HEIGHT / 2.0,
                escaped(name)
            );
            for ((value, text), (offset, colour)) in
                bars.iter().zip([(8.0, "c0"), (10.0 + BAR_HEIGHT, "c2")])
            {
                let (y, share) = (top + offset, self.x.share(*value) * 100.0);
                let _ = write!(
                    out,
                    "<rect class=\"bar {colour}\" y=\"{y}\" width=\"{share:.2}%\" \
                     height=\"{BAR_HEIGHT}\"/>\
                     <text class=\"value\" x=\"{share:.2}%\" dx=\"6\" y=\"{}\" dy=\".35em\">\
                     {}</text>",
                    y + BAR_HEIGHT / 2.0,
                    escaped(text)
                );
            }
        }
        let about = escaped(&self.about);
        let _ = write!(out, "</svg></div><figcaption>{about}</figcaption></figure>");
        out
    }
}

/// A line through the picture and a figure below it, for each tick.
fn write_x_ticks(out: &mut String, axis: &Axis, label_y: f64) {
    for (value, label) in &axis.ticks {
        let x = axis.share(*value) * 100.0;
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y2=\"100%\"/>\
             <text class=\"tick\" x=\"{x:.2}%\" y=\"{label_y}\">{}</text>",
            escaped(label)
        );
    }
}

/// The frame and the picture in it, with its name for those who do not see it.
fn open_svg(out: &mut String, class: &str, id: &str, title: &str, about: &str, height: f64) {
    let _ = write!(
        out,
        "<div class=\"frame{class}\"><svg class=\"chart\" role=\"img\" width=\"100%\" \
         height=\"{height}\" \
         aria-labelledby=\"{id}-title {id}-about\"><title id=\"{id}-title\">{}</title>\
         <desc id=\"{id}-about\">{}</desc><rect class=\"ground\" width=\"100%\" height=\"100%\"/>",
        escaped(title),
        escaped(about)
    );
}
