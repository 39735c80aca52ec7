//! What a person sees while a network trains.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::curves::EpochRecord;

/// Where an epoch stands after an update; means since its start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// 1 = the first.
    pub epoch: usize,
    /// 1 = the first of the epoch.
    pub step: usize,
    /// Training loss.
    pub loss: f64,
    /// Accuracy on training patches, 0 … 1.
    pub accuracy: f64,
    /// Patches a second.
    pub samples_per_second: f64,
}

/// Is told how a training goes on.
pub trait Progress {
    /// Before all else: what computes, when that is not this program itself.
    fn device(&mut self, _device: &str) {}
    /// Before the first update: epochs and updates an epoch, and the epochs already done.
    fn start(&mut self, _epochs: usize, _steps: usize, _done: &[EpochRecord]) {}
    /// After every update.
    fn step(&mut self, _report: &StepReport) {}
    /// After every epoch; whether it is the best so far.
    fn epoch(&mut self, _record: &EpochRecord, _best: bool) {}
    /// When all is over.
    fn end(&mut self) {}
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {}

/// A bar that moves on a terminal, and a line for every epoch; elsewhere the lines alone. On standard error.
#[derive(Debug)]
pub struct Terminal {
    bar: ProgressBar,
    steps: usize,
    epochs: usize,
}

impl Default for Terminal {
    fn default() -> Self {
        Self { bar: ProgressBar::hidden(), steps: 0, epochs: 0 }
    }
}

impl Terminal {
    fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }
}

/// An accuracy as a bar of eighth blocks: learning is nicer to watch than to read.
fn meter(share: f64) -> String {
    const BLOCKS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    let eighths = (share.clamp(0.0, 1.0) * 80.0).round() as usize;
    (0..10).map(|cell| BLOCKS[eighths.saturating_sub(cell * 8).min(8)]).collect()
}

impl Progress for Terminal {
    fn device(&mut self, device: &str) {
        self.line(&format!("computed by {device}"));
    }

    fn start(&mut self, epochs: usize, steps: usize, done: &[EpochRecord]) {
        (self.steps, self.epochs) = (steps, epochs);
        if std::io::stderr().is_terminal() {
            self.bar = ProgressBar::with_draw_target(
                Some((epochs * steps) as u64),
                ProgressDrawTarget::stderr_with_hz(8),
            );
            let style = ProgressStyle::with_template(
                "{msg} {wide_bar:.cyan/black} {pos}/{len} · {eta} left",
            );
            // The template is fixed; the plain bar is there should indicatif ever refuse it.
            self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar.set_position((done.len() * steps) as u64);
            self.bar.reset_eta();
        }
        if !done.is_empty() {
            self.line(&format!("continuing after epoch {}", done.len()));
        }
    }

    fn step(&mut self, report: &StepReport) {
        if !self.bar.is_hidden() {
            self.bar.set_position(((report.epoch - 1) * self.steps + report.step) as u64);
            self.bar.set_message(format!(
                "epoch {}/{} · loss {:.3} · right {:.0} % · {:.0} patches/s",
                report.epoch,
                self.epochs,
                report.loss,
                100.0 * report.accuracy,
                report.samples_per_second
            ));
        }
    }

    fn epoch(&mut self, r: &EpochRecord, best: bool) {
        let valid = match (r.valid_accuracy, r.valid_log_loss) {
            (Some(accuracy), Some(loss)) => format!(
                " · songs {} {:5.1} % · log loss {loss:.3}",
                meter(accuracy),
                100.0 * accuracy
            ),
            _ => String::new(),
        };
        let mark = if best { " ★" } else { "" };
        self.line(&format!(
            "epoch {:>3}/{} · loss {:.3} · patches {:5.1} %{valid} · {:.0} patches/s{mark}",
            r.epoch,
            self.epochs,
            r.train_loss,
            100.0 * r.train_accuracy,
            r.samples_per_second
        ));
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}
