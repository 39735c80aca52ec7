//! Protocols on a dataset made for the purpose.

use std::collections::HashSet;

use super::*;
use crate::dataset::error::Result;
use crate::dataset::{Group, Segment, Shares};

/// Says `rock` for tracks whose loudness is above 5, fails on one.
struct Loud(Vec<String>);

impl SongClassifier for Loud {
    fn name(&self) -> String {
        "loud".into()
    }
    fn genres(&self) -> &[String] {
        &self.0
    }
    fn predict(&self, dataset: &Dataset, track: &Track) -> Result<Vec<f64>> {
        if track.id == "rock.00002" {
            return Err(TrainError::malformed("rock.00002", "it is broken"));
        }
        let p = if dataset.features(track)?[0] > 5.0 { 0.9 } else { 0.2 };
        Ok(vec![p, 1.0 - p])
    }
}

fn genres() -> Vec<String> {
    ["rock", "blues"].map(String::from).to_vec()
}

#[test]
fn several_protocols_come_from_one_pass() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = crate::dataset::tests::toy(folder.path(), &["blues", "rock"], 12);
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let count = || {
        asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let reports =
        evaluate(&dataset, &Loud(genres()), &["fault-filtered", "strict"], &count).unwrap();
    assert_eq!(asked.into_inner(), 8);
    // Test songs are 2, 5, 8, 11 of each genre; loudness is the number of the song.
    let [all, strict] = &reports[..] else { panic!() };
    assert_eq!((all.predictions.len(), all.failed.len()), (7, 1));
    assert_eq!(all.failed[0].reason, "rock.00002: it is broken");
    assert_eq!(all.metrics.confusion.counts, [[2, 1], [2, 2]]);
    assert_eq!(all.predictions[0].label, 1, "labels are in the classifier's order of genres");
    assert_eq!(strict.metrics.songs, 2);
    let error = evaluate(&dataset, &Loud(vec!["rock".into(), "jazz".into()]), &["strict"], &|| ());
    assert!(error.unwrap_err().message.contains("`blues`, which the classifier does not know"));
}

#[test]
fn an_answer_that_is_no_distribution_is_a_failure() {
    struct Wrong;
    impl SongClassifier for Wrong {
        fn name(&self) -> String {
            "wrong".into()
        }
        fn genres(&self) -> &[String] {
            const { &[] }
        }
        fn predict(&self, _: &Dataset, _: &Track) -> Result<Vec<f64>> {
            Ok(vec![f64::NAN])
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let d = crate::dataset::tests::toy(folder.path(), &["blues", "rock"], 6);
    assert!(sound(vec![f64::NAN], &Wrong, &d.tracks[0]).is_err());
    assert!(sound(vec![0.5, 0.4], &Loud(genres()), &d.tracks[0]).is_err());
    assert!(sound(vec![0.5, 0.5], &Loud(genres()), &d.tracks[0]).is_ok());
}

#[test]
fn cross_validation_tests_each_song_once_by_a_stranger() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = crate::dataset::tests::toy(folder.path(), &["blues", "rock"], 20);
    let all: Vec<usize> = (0..dataset.len()).collect();
    let mut folds = 0;
    let cv = cross_validate(&dataset, &all, 4, Group::Artist, 1, |i, split| {
        assert_eq!(i, folds);
        folds += 1;
        let artists = |side: &[usize]| -> HashSet<_> {
            side.iter().map(|&t| dataset.tracks[t].artist.clone()).collect()
        };
        assert!(artists(&split.train).is_disjoint(&artists(&split.test)));
        Ok(Box::new(Loud(genres())))
    })
    .unwrap();
    assert_eq!((folds, cv.folds.len()), (4, 4));
    assert_eq!(cv.pooled.predictions.len() + cv.pooled.failed.len(), 40);
    assert_eq!(cv.pooled.predictions[0].id, "blues.00000");
    assert_eq!(cv.pooled.protocol, "artist-grouped 4-fold");
    let (mean, deviation) = cv.accuracy();
    assert!((0.0..=1.0).contains(&mean) && deviation >= 0.0);
}

#[test]
fn segments_of_one_song_land_on_both_sides() {
    struct Memory(HashSet<usize>);
    impl SegmentClassifier for Memory {
        fn name(&self) -> String {
            "memory".into()
        }
        fn predict(&self, segment: Segment) -> Result<Vec<f64>> {
            // Knows the song, not the genre: right exactly when the song leaked.
            let known = if self.0.contains(&segment.track) { 1.0 } else { 0.0 };
            let rock = segment.track >= 10;
            Ok(if rock { vec![1.0 - known, known] } else { vec![known, 1.0 - known] })
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let dataset = crate::dataset::tests::toy(folder.path(), &["blues", "rock"], 10);
    let all: Vec<usize> = (0..20).collect();
    let e = evaluate_segments(&dataset, &all, &[10; 20], Shares::default(), 3, |split| {
        Ok(Box::new(Memory(split.train.iter().map(|s| s.track).collect())))
    })
    .unwrap();
    assert_eq!((e.metrics.songs, e.metrics.accuracy), (20, 1.0));
    assert!(e.predictions[0].id.contains('#'));
    let none = evaluate_segments(&dataset, &[0], &[0], Shares::default(), 3, |_| unreachable!());
    assert!(none.unwrap_err().message.contains("0 windows"));
}
