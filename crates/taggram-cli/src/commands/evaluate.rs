//! `taggram evaluate`: a model and a dataset in, a report out.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use taggram_train::dataset::Dataset;
use taggram_train::evaluate::{Listening, evaluate};
use taggram_train::report::{self, ReportInfo};

use crate::Outcome;
use crate::args::Evaluate;

pub fn run(arguments: &Evaluate) -> anyhow::Result<Outcome> {
    let model = taggram::model(&arguments.model)?;
    let mut dataset = Dataset::open(&arguments.data)?;
    dataset.use_genres(model.labels())?;
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
    let listening = Listening {
        model: &model,
        excerpt: arguments.hearing.excerpt,
        decide: arguments.hearing.decide.into(),
    };
    let evaluations = evaluate(&dataset, &listening, &protocols, &|| bar.inc(1))?;
    bar.finish_and_clear();
    let info = ReportInfo {
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
    };
    report::write(&arguments.out, &info, &evaluations)?;
    for evaluation in &evaluations {
        let m = &evaluation.metrics;
        println!(
            "{:<15} {:.1} % of {} songs (95 % {:.1}–{:.1}) · top-3 {:.1} % · mAP {:.3} · ROC-AUC {:.3} · ECE {:.3} · log loss {:.3}",
            evaluation.protocol,
            100.0 * m.accuracy,
            m.songs,
            100.0 * m.accuracy_interval.low,
            100.0 * m.accuracy_interval.high,
            100.0 * m.top3,
            m.mean_average_precision,
            m.roc_auc,
            m.expected_calibration_error,
            m.log_loss
        );
        for failure in &evaluation.failed {
            eprintln!("taggram: {}: {}", failure.id, failure.reason);
        }
    }
    println!("{}", arguments.out.join("report.html").display());
    let failed = evaluations.iter().any(|e| !e.failed.is_empty());
    Ok(if failed { Outcome::SomeFailed } else { Outcome::Done })
}
