//! The loss of a run as a picture.

use std::{fs, path::Path};

use plotters::{
    prelude::{
        BLUE, ChartBuilder, Circle, Color, IntoDrawingArea, LineSeries, PathElement, RED,
        SVGBackend, WHITE,
    },
    style::IntoFont,
};
use safer_instruct::{Error, Result};
use serde::Deserialize;

/// How much the drawn loss keeps of itself from step to step.
const SMOOTHING: f64 = 0.8;

#[derive(Deserialize)]
struct Line {
    step: usize,
    loss: Option<f64>,
    held_out_loss: Option<f64>,
}

/// Draws `loss.svg` of the `metrics.jsonl` in a folder.
pub(super) fn draw(folder: &Path) -> Result<()> {
    let path = folder.join("metrics.jsonl");
    let text = fs::read_to_string(&path).map_err(|error| Error::io(&path, error))?;
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let (mut losses, mut held_out) = (Vec::new(), Vec::new());
    for line in lines {
        let step = line.step as f64;
        if let Some(loss) = line.loss {
            let last = losses.last().map_or(loss, |last: &(f64, f64)| last.1);
            losses.push((step, SMOOTHING * last + (1.0 - SMOOTHING) * loss));
        }
        held_out.extend(line.held_out_loss.map(|loss| (step, loss)));
    }
    picture(&folder.join("loss.svg"), &losses, &held_out)
        .map_err(|error| Error::Other(error.to_string().into()))
}

fn picture(
    path: &Path,
    losses: &[(f64, f64)],
    held_out: &[(f64, f64)],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let all = || losses.iter().chain(held_out);
    let right = all().map(|point| point.0).fold(1.0, f64::max);
    let low = all().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high = all().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    let margin = (0.05 * (high - low)).max(0.01);
    let area = SVGBackend::new(path, (720, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .caption("loss, nats a token", ("sans-serif", 16).into_font())
        .build_cartesian_2d(0.0..right, low - margin..high + margin)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .light_line_style(WHITE)
        .draw()?;
    chart
        .draw_series(LineSeries::new(losses.iter().copied(), &BLUE))?
        .label("training, smoothed")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BLUE));
    chart
        .draw_series(
            held_out
                .iter()
                .map(|point| Circle::new(*point, 4, RED.filled())),
        )?
        .label("held out")
        .legend(|(x, y)| Circle::new((x + 8, y), 4, RED.filled()));
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(BLUE.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
