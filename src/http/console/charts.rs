//! Charts as SVG, drawn without texts and without colours of their own: they take the width that they are given and the
//! page's colours, and what is to be read stands beside them as text.

use std::error::Error;

use maud::{Markup, PreEscaped, html};
use plotters::prelude::{AreaSeries, ChartBuilder, IntoDrawingArea, LineSeries, RGBColor, Rectangle, SVGBackend};
use plotters::style::Color;

/// The drawing's own measures. It is stretched to the place it is given; lines keep their width.
const SIZE: (u32, u32) = (1200, 300);
/// What of its place a bar fills.
const BAR: f64 = 0.72;
/// The parts that the height is divided into.
const LEVELS: u32 = 2;
/// Colours that stand for those of the page: the lines across, and of each of the lines.
const ACROSS: (RGBColor, &str) = (RGBColor(0, 0, 1), "across");
const COLOURS: [(RGBColor, &str); 3] =
    [(RGBColor(0, 0, 2), "one"), (RGBColor(0, 0, 3), "two"), (RGBColor(0, 0, 4), "three")];

/// A line of a chart.
pub(super) struct Line {
    /// What it is of.
    pub(super) name: &'static str,
    /// Its values from left to right; none where there is none.
    pub(super) values: Vec<Option<f64>>,
}

/// What stands around a drawing.
pub(super) struct Frame<'a> {
    /// The chart's name on the page.
    pub(super) id: &'a str,
    /// Its title.
    pub(super) title: &'a str,
    /// What of, in a few words.
    pub(super) about: &'a str,
    /// The two ends of the time.
    pub(super) ends: (&'a str, &'a str),
    /// What each place from left to right is called.
    pub(super) places: Vec<String>,
    /// How a value is written.
    pub(super) write: fn(f64) -> String,
}

/// Something that is drawn, by the number of its colour.
enum Shape {
    Bar(usize, f64),
    Line(usize, Vec<(f64, f64)>),
}

/// Counts over time, as bars.
pub(super) fn bars(frame: &Frame<'_>, name: &'static str, values: &[u64]) -> Markup {
    let values: Vec<Option<f64>> = values.iter().map(|value| Some(*value as f64)).collect();
    let top = round_up(highest(&values)).max(2.0);
    let shapes = values.iter().flatten().enumerate().filter(|(_, value)| **value > 0.0);
    let drawing = drawn(values.len(), top, shapes.map(|(place, value)| Shape::Bar(place, *value)).collect());
    framed(frame, &[Line { name, values }], top, &drawing)
}

/// Values over time, as lines; below the first the ground is tinted.
pub(super) fn lines(frame: &Frame<'_>, lines: &[Line]) -> Markup {
    let top = round_up(lines.iter().map(|line| highest(&line.values)).fold(0.0, f64::max));
    let places = lines.iter().map(|line| line.values.len()).max().unwrap_or_default();
    let runs = lines.iter().enumerate().flat_map(|(n, line)| runs(&line.values).map(move |run| Shape::Line(n, run)));
    let drawing = drawn(places, top, runs.collect());
    framed(frame, lines, top, &drawing)
}

fn highest(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().copied().fold(0.0, f64::max)
}

/// The points of each run of values without a gap. One that stands alone is a short line.
fn runs(values: &[Option<f64>]) -> impl Iterator<Item = Vec<(f64, f64)>> {
    let mut all: Vec<Vec<(f64, f64)>> = vec![Vec::new()];
    for (place, value) in (0_u32..).zip(values) {
        match (value, all.last_mut()) {
            (Some(value), Some(run)) => run.push((f64::from(place) + 0.5, *value)),
            _ => all.push(Vec::new()),
        }
    }
    all.into_iter().filter(|run| !run.is_empty()).map(|run| match run.as_slice() {
        [(x, y)] => vec![(x - 0.3, *y), (x + 0.3, *y)],
        _ => run,
    })
}

/// The next number that is easily halved.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let magnitude = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * magnitude).find(|step| *step >= value).unwrap_or(value)
}

/// The drawing alone. One that fails is an empty one: nothing of a page depends on it.
fn drawn(places: usize, top: f64, shapes: Vec<Shape>) -> String {
    let mut svg = String::new();
    let result = draw(&mut svg, places, top, shapes);
    if let Err(error) = result {
        tracing::debug!(%error, "a chart was not drawn");
        return String::new();
    }
    // The page decides how large it is, and of which colours.
    let start = svg.find('>').filter(|_| svg.starts_with("<svg")).map_or(0, |end| end + 1);
    let inner = svg.split_at(start).1;
    let (width, height) = SIZE;
    let mut drawing = format!(
        "<svg viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\">{inner}"
    );
    for (colour, name) in COLOURS.into_iter().chain([ACROSS]) {
        let RGBColor(red, green, blue) = colour;
        let code = format!("#{red:02X}{green:02X}{blue:02X}");
        drawing = drawing
            .replace(&format!("stroke=\"{code}\""), &format!("class=\"line {name}\""))
            .replace(&format!("fill=\"{code}\""), &format!("class=\"ground {name}\""));
    }
    drawing
}

fn draw(svg: &mut String, places: usize, top: f64, shapes: Vec<Shape>) -> Result<(), Box<dyn Error>> {
    let places = f64::from(u32::try_from(places)?.max(1));
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    // A little room above, so that a line at the top is seen whole.
    let mut chart = ChartBuilder::on(&area).build_cartesian_2d(0.0..places, 0.0..top * 1.03)?;
    for level in 0..=LEVELS {
        let y = top * f64::from(level) / f64::from(LEVELS);
        chart.draw_series(LineSeries::new([(0.0, y), (places, y)], ACROSS.0))?;
    }
    for shape in shapes {
        match shape {
            Shape::Bar(place, value) => {
                let left = f64::from(u32::try_from(place)?) + (1.0 - BAR) / 2.0;
                let style = COLOURS.first().map_or(ACROSS.0, |(colour, _)| *colour).filled();
                chart.draw_series([Rectangle::new([(left, 0.0), (left + BAR, value)], style)])?;
            }
            Shape::Line(number, run) => {
                let colour = COLOURS.get(number).map_or(ACROSS.0, |(colour, _)| *colour);
                if number == 0 {
                    chart.draw_series(AreaSeries::new(run.iter().copied(), 0.0, colour.mix(0.14)))?;
                }
                chart.draw_series(LineSeries::new(run, colour.stroke_width(2)))?;
            }
        }
    }
    area.present()?;
    Ok(())
}

/// A drawing with its texts: the title, what the lines are, the measures, and all of it as a table.
fn framed(frame: &Frame<'_>, lines: &[Line], top: f64, drawing: &str) -> Markup {
    let Frame { id, title, about, ends, places, write } = frame;
    let levels = (0..=LEVELS).rev().map(|level| top * f64::from(level) / f64::from(LEVELS));
    let rows = places.iter().enumerate().map(|(place, name)| {
        let values = lines.iter().map(move |line| line.values.get(place).copied().flatten());
        (name, values.map(|value| value.map_or("–".to_owned(), write)).collect::<Vec<_>>())
    });
    let rows: Vec<_> = rows.collect();
    let tips: Vec<String> = rows
        .iter()
        .map(|(name, values)| {
            let told = lines.iter().zip(values).map(|(line, value)| format!("{} {value}", line.name));
            format!("{name}: {}", told.collect::<Vec<_>>().join(", "))
        })
        .collect();
    html! {
        figure.chart {
            figcaption {
                h2 { (title) }
                p { (about) }
                @if lines.len() > 1 {
                    ul.key { @for (line, (_, colour)) in lines.iter().zip(COLOURS) { li class=(colour) { (line.name) } } }
                }
            }
            div.plot {
                div.levels aria-hidden="true" { @for level in levels { span { (write(level)) } } }
                div.drawing data-tips=(serde_json::json!(tips)) { (PreEscaped(drawing)) }
                div.ends aria-hidden="true" { span { (ends.0) } span { (ends.1) } }
            }
            details data-keep=(id) {
                summary { "As a table" }
                div.table {
                    table {
                        caption.unseen { (title) ", " (about) }
                        thead {
                            tr { th scope="col" { "Time" } @for line in lines { th.num scope="col" { (line.name) } } }
                        }
                        tbody {
                            @for (name, values) in rows.iter().rev() {
                                tr { th scope="row" { (name) } @for value in values { td.num { (value) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_round_and_never_below_the_highest() {
        for (value, top) in [(0.0, 1.0), (1.0, 1.0), (3.0, 4.0), (5.0, 6.0), (61.0, 80.0), (99.0, 100.0), (0.4, 0.4)] {
            assert!((round_up(value) - top).abs() < 1e-9, "{value}: {}", round_up(value));
        }
        assert_eq!(round_up(f64::NAN), 1.0);
    }

    #[test]
    fn a_gap_is_a_gap() {
        let found: Vec<_> = runs(&[Some(1.0), Some(2.0), None, None, Some(3.0), None]).collect();
        assert_eq!(found, [vec![(0.5, 1.0), (1.5, 2.0)], vec![(4.2, 3.0), (4.8, 3.0)]]);
        assert_eq!(runs(&[None, None]).count(), 0);
    }

    #[test]
    fn a_drawing_has_the_pages_colours_and_no_size_of_its_own() {
        let shapes = vec![Shape::Line(0, vec![(0.5, 1.0), (1.5, 2.0)]), Shape::Bar(1, 1.0)];
        let svg = drawn(2, 2.0, shapes);
        assert!(svg.contains("class=\"line one\"") && svg.contains("class=\"ground one\""), "{svg}");
        assert!(svg.contains("class=\"line across\"") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(!svg.contains("#0000") && !svg.contains("style=") && !svg.contains("width=\"1200\""), "{svg}");
    }
}
