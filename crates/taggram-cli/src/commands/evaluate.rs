//! `taggram evaluate`: a model and a dataset in, a report out.

use std::io::{IsTerminal, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use taggram::Model;
use taggram_train::dataset::Dataset;
use taggram_train::evaluate::{Evaluation, Listening, SongClassifier, StoredRows, evaluate};
use taggram_train::report::{self, ReportInfo};

use crate::Outcome;
use crate::args::Evaluate;

pub fn run(arguments: &Evaluate) -> anyhow::Result<Outcome> {
    if arguments.model.ends_with(".toml") {
        return super::evaluate_recipe::run(arguments);
    }
    if arguments.learning.cv.is_some() {
        anyhow::bail!(
            "cross-validation learns a classifier in each fold, so it takes a recipe (.toml), not the finished model `{}`",
            arguments.model
        );
    }
    let mut dataset = Dataset::open(&arguments.data)?;
    let artifact = taggram::artifact(&arguments.model)?;
    dataset.use_genres(&artifact.description.labels)?;
    let decide = arguments.hearing.decide.into();
    let model;
    let classifier: Box<dyn SongClassifier> = match StoredRows::new(&artifact, &dataset, decide)? {
        Some(stored) => Box::new(stored),
        None => {
            model = Model::from_artifact(artifact)?;
            Box::new(Listening { model: &model, excerpt: arguments.hearing.excerpt, decide })
        }
    };
    if let Some((shares, seed)) = dataset.segment_split(&arguments.split)? {
        let model = Model::from_artifact(taggram::artifact(&arguments.model)?)?;
        let evaluation = taggram_train::segments::evaluate_model(&dataset, &model, shares, seed)?;
        let mut info = info(arguments)?;
        info.notes.push("LEAKY: windows of one song are on both sides of this split.".into());
        return finish(&arguments.out, &info, &[evaluation]);
    }
    let protocols = match arguments.split.as_str() {
        // The strict songs are among the others: one pass answers both.
        "fault-filtered" => vec!["fault-filtered", "strict"],
        other => vec![other],
    };
    let bar = if std::io::stderr().is_terminal() {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} songs · {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(dataset.split(protocols[0])?.test.len() as u64).with_style(style)
    } else {
        ProgressBar::hidden()
    };
    let evaluations = evaluate(&dataset, classifier.as_ref(), &protocols, &|| bar.inc(1))?;
    bar.finish_and_clear();
    finish(&arguments.out, &info(arguments)?, &evaluations)
}

/// How a report of a finished model can be made again.
fn info(arguments: &Evaluate) -> anyhow::Result<ReportInfo> {
    Ok(ReportInfo {
        command: format!(
            "taggram evaluate {} --data {} --split {} --out {}",
            arguments.model,
            arguments.data.display(),
            arguments.split,
            arguments.out.display()
        ),
        model_hash: taggram::fingerprint(&arguments.model)?,
        dataset: arguments.data.display().to_string(),
        notes: Vec::new(),
    })
}

/// Writes the report and says in a line for each protocol what is in it.
pub fn finish(
    out: &Path,
    info: &ReportInfo,
    evaluations: &[Evaluation],
) -> anyhow::Result<Outcome> {
    report::write(out, info, evaluations)?;
    let mut said = std::io::stdout();
    for evaluation in evaluations {
        let m = &evaluation.metrics;
        writeln!(
            said,
            "{:<15} {:.1} % of {} songs (95 % {:.1}–{:.1}) · top-3 {:.1} % · mAP {:.3} · ROC-AUC {:.3} · ECE {:.3} (by chance {:.3}) · log loss {:.3}",
            evaluation.protocol,
            100.0 * m.accuracy,
            m.songs,
            100.0 * m.accuracy_interval.low,
            100.0 * m.accuracy_interval.high,
            100.0 * m.top3,
            m.mean_average_precision,
            m.roc_auc,
            m.expected_calibration_error,
            m.calibration_error_by_chance.mean,
            m.log_loss
        )?;
        for failure in &evaluation.failed {
            eprintln!("taggram: {}: {}", failure.id, failure.reason);
        }
    }
    writeln!(said, "{}", out.join("report.html").display())?;
    let failed = evaluations.iter().any(|e| !e.failed.is_empty());
    Ok(if failed { Outcome::SomeFailed } else { Outcome::Done })
}
