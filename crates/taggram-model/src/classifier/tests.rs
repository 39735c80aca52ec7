use super::*;

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("class {i}")).collect()
}

/// A tree asking whether column 0 is below 0.5 (missing: right).
fn stump(width: usize) -> Tree {
    let question =
        Node { column: 0, threshold: 0.5, missing_left: false, left: 1, right: 2, answer: 0 };
    let values = match width {
        1 => vec![1.0, -1.0],
        n => (0..2 * n).map(|i| if i == 0 || i == 2 * n - 1 { 1.0 } else { 0.0 }).collect(),
    };
    Tree { nodes: vec![question, Node::leaf(0), Node::leaf(1)], values }
}

fn examples() -> Vec<Pipeline> {
    let platt = vec![Platt { slope: -2.0, offset: 0.1 }; 3];
    let weight = vec![1.0, -1.0, 0.5, 0.25, -0.5, 2.0];
    let bias = vec![0.1, 0.0, -0.1];
    let classifiers = [
        Classifier::Knn(Knn {
            inputs: 2,
            classes: 3,
            k: 2,
            vote: Vote::Distance,
            rows: vec![0.0, 0.0, 1.0, 1.0, 2.0, 0.0],
            labels: vec![0, 1, 2],
        }),
        Classifier::GaussianNb(GaussianNb {
            inputs: 2,
            log_prior: vec![-1.0; 3],
            mean: weight.clone(),
            variance: vec![0.5; 6],
        }),
        Classifier::Logistic(Logistic { inputs: 2, weight: weight.clone(), bias: bias.clone() }),
        Classifier::SvmLinear(LinearSvm {
            inputs: 2,
            weight: weight.clone(),
            bias: bias.clone(),
            platt: platt.clone(),
        }),
        Classifier::SvmRbf(RbfSvm {
            inputs: 2,
            gamma: 0.5,
            vectors: vec![0.0, 0.0, 1.0, 1.0],
            coefficients: weight,
            bias,
            platt,
        }),
        Classifier::RandomForest(Forest { inputs: 2, classes: 3, trees: vec![stump(3), stump(3)] }),
        Classifier::GradientBoosting(BoostedTrees {
            inputs: 2,
            classes: 3,
            link: Link::Softmax,
            base: vec![0.5, 0.25, 0.5],
            trees: vec![stump(1), stump(1), stump(1)],
            targets: vec![0, 1, 2],
        }),
    ];
    let steps = vec![
        Step::Scaler(Scaler { mean: vec![1.0, 2.0, 3.0], deviation: vec![1.0, 0.5, 2.0] }),
        Step::Pca(Pca { mean: vec![0.1; 3], components: vec![1.0, 0.0, 0.0, 0.0, 0.6, 0.8] }),
    ];
    classifiers
        .into_iter()
        .map(|c| Pipeline::new(3, names(3), steps.clone(), c).expect("sizes fit"))
        .collect()
}

#[test]
fn every_classifier_gives_shares_and_survives_storage() {
    for pipeline in examples() {
        let parts = pipeline.to_parts().unwrap();
        let text = parts.description.to_string();
        let again =
            Parts { description: serde_json::from_str(&text).unwrap(), tensors: parts.tensors };
        let again = Pipeline::from_parts(again).unwrap();
        for row in [[0.0, 0.0, 0.0], [3.0, -2.0, 9.0], [1.0, 2.0, 3.0], [1e30, -1e30, 1e30]] {
            let p = pipeline.predict_proba(&row).unwrap();
            assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{text}: {p:?}");
            assert_eq!(p, again.predict_proba(&row).unwrap(), "{text}");
        }
        assert!(pipeline.predict_proba(&[0.0]).is_err());
        let error = pipeline.predict_rows(&[0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0]).unwrap_err();
        assert!(error.to_string().contains("row 1: Value 1 is NaN"), "{error}");
    }
}

#[test]
fn damaged_parts_are_errors() {
    for pipeline in examples() {
        let parts = pipeline.to_parts().unwrap();
        for name in parts.tensors.keys() {
            let mut missing = parts.clone();
            missing.tensors.remove(name);
            assert!(Pipeline::from_parts(missing).is_err(), "without {name}");
            let mut infinite = parts.clone();
            infinite.tensors.get_mut(name).unwrap().data[0] = f32::INFINITY;
            assert!(Pipeline::from_parts(infinite).is_err(), "infinite {name}");
            let mut short = parts.clone();
            let tensor = short.tensors.get_mut(name).unwrap();
            tensor.shape = vec![tensor.data.len() + 1];
            assert!(Pipeline::from_parts(short).is_err(), "short {name}");
        }
        let mut unknown = parts.clone();
        unknown.description["classifier"]["kind"] = "oracle".into();
        assert!(Pipeline::from_parts(unknown).is_err());
        let mut narrow = parts.clone();
        narrow.description["inputs"] = 4.into();
        assert!(Pipeline::from_parts(narrow).is_err());
    }
}

#[test]
fn trees_that_never_end_are_refused() {
    let mut tree = stump(1);
    tree.nodes[0].left = 0;
    tree.nodes[0].right = 0;
    tree.nodes[0].answer = 7;
    assert!(tree.check("tree", 2, 1).is_err());
    let mut tree = stump(1);
    tree.nodes[1] = Node { left: 0, right: 2, ..tree.nodes[0] };
    assert!(tree.check("tree", 2, 1).is_err());
    let mut tree = stump(1);
    tree.nodes[0].column = 2;
    assert!(tree.check("tree", 2, 1).is_err());
}

#[test]
fn missing_values_follow_the_default_direction() {
    let mut boosted = BoostedTrees {
        inputs: 1,
        classes: 2,
        link: Link::Logistic,
        base: vec![0.0],
        trees: vec![stump(1)],
        targets: vec![0],
    };
    assert_eq!(boosted.margins(&[f32::NAN]), [-1.0]);
    assert_eq!(boosted.margins(&[0.4]), [1.0]);
    assert_eq!(boosted.margins(&[0.5]), [-1.0]);
    boosted.trees[0].nodes[0].missing_left = true;
    assert_eq!(boosted.margins(&[f32::NAN]), [1.0]);
}

#[test]
fn xgboost_json_round_trip_and_refusals() {
    let Classifier::GradientBoosting(boosted) = examples().pop().unwrap().classifier().clone()
    else {
        panic!("the last example is boosted trees")
    };
    let text = boosted.to_xgboost_json();
    let again = BoostedTrees::from_xgboost_json(&text).unwrap();
    for row in [[0.0, 0.0], [1.0, 0.0], [f32::NAN, 0.0]] {
        assert_eq!(boosted.margins(&row), again.margins(&row));
    }
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is in the text");
        BoostedTrees::from_xgboost_json(&text.replace(from, to)).unwrap_err()
    };
    assert_eq!(
        refused("multi:softprob", "reg:squarederror").kind,
        ClassifierErrorKind::Unsupported
    );
    assert_eq!(refused("\"gbtree\"", "\"dart\"").kind, ClassifierErrorKind::Unsupported);
    refused("\"left_children\":[1,", "\"left_children\":[0,");
    refused("\"left_children\":[1,", "\"left_children\":[2,");
    refused("\"left_children\":[1,-1,-1]", "\"left_children\":[1,1,-1]");
    refused("\"left_children\":[1,", "\"left_children\":[99,");
    refused("\"split_indices\":[0,", "\"split_indices\":[-3,");
    refused("\"tree_info\":[0,1,2]", "\"tree_info\":[0,1,9]");
    refused("\"num_class\":\"3\"", "\"num_class\":\"99999999999\"");
    assert!(BoostedTrees::from_xgboost_json("{").is_err());
    for cut in (0..text.len()).step_by(37) {
        assert!(BoostedTrees::from_xgboost_json(&text[..cut]).is_err());
    }
}
