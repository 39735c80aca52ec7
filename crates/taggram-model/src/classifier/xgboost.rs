//! Boosted trees in XGBoost's own JSON model format, read and written. Format after
//! XGBoost's documentation, "Introduction to Model IO", and its schema `model.schema`
//! (versions 1.7 to 3): numbers of the model are strings, those of the trees are arrays.

use serde_json::{Map, Value, json};

use super::trees::{BoostedTrees, Link, Node, Tree};
use super::{ClassifierError, ClassifierErrorKind};

/// What XGBoost writes as the parent of a root.
const NO_PARENT: i64 = 2_147_483_647;
/// More trees than this are refused.
const MAX_TREES: usize = 1_000_000;

impl BoostedTrees {
    /// Reads a model that XGBoost saved as JSON (`save_model("….json")`): booster
    /// `gbtree`, objective `multi:softprob`, `multi:softmax` or `binary:logistic`.
    ///
    /// # Errors
    /// Text that is no such model; other boosters or objectives, categorical splits and
    /// vector leaves are unsupported.
    pub fn from_xgboost_json(text: &str) -> Result<Self, ClassifierError> {
        let root: Value = serde_json::from_str(text).map_err(|e| {
            ClassifierError::malformed("XGBoost model", format!("It is not JSON: {e}."))
        })?;
        let learner = get(&root, "learner")?;
        let parameters = get(learner, "learner_model_param")?;
        let inputs: usize = number(parameters, "num_feature")?;
        let (link, classes) = match text_of(get(learner, "objective")?, "name")? {
            "multi:softprob" | "multi:softmax" => (Link::Softmax, number(parameters, "num_class")?),
            "binary:logistic" => (Link::Logistic, 2),
            other => {
                let message = format!(
                    "The objective {other} is not read; multi:softprob, multi:softmax and binary:logistic are."
                );
                return Err(ClassifierError::unsupported("XGBoost model", message));
            }
        };
        let scores = if link == Link::Softmax { classes } else { 1 };
        // Bounds the memory asked for below: a model of this many classes has as many trees.
        if !(1..=100_000).contains(&scores) || inputs == 0 {
            let message = format!("{scores} scores from {inputs} columns make no classifier.");
            return Err(ClassifierError::malformed("XGBoost model", message));
        }
        let booster = get(learner, "gradient_booster")?;
        let name = text_of(booster, "name")?;
        if name != "gbtree" {
            let message = format!("The booster {name} is not read; gbtree is.");
            return Err(ClassifierError::unsupported("XGBoost model", message));
        }
        let model = get(booster, "model")?;
        let stored = array(model, "trees")?;
        if stored.len() > MAX_TREES {
            let message = format!("It has {} trees; at most {MAX_TREES} are read.", stored.len());
            let kind = ClassifierErrorKind::OverLimit;
            return Err(ClassifierError {
                kind,
                ..ClassifierError::malformed("XGBoost model", message)
            });
        }
        let targets = whole_numbers(model, "tree_info")?;
        let targets = targets.into_iter().map(|t| u32::try_from(t).unwrap_or(u32::MAX)).collect();
        let trees = stored
            .iter()
            .enumerate()
            .map(|(i, t)| {
                read_tree(t)
                    .map_err(|e| ClassifierError { place: format!("tree {i}, {}", e.place), ..e })
            })
            .collect::<Result<_, _>>()?;
        let base = base_scores(parameters, scores, link)?;
        let boosted = Self { inputs, classes, link, base, trees, targets };
        boosted.check()?;
        Ok(boosted)
    }

    /// The model as JSON that XGBoost 2 and later load (`load_model`).
    pub fn to_xgboost_json(&self) -> String {
        let scores = self.scores();
        let objective = match self.link {
            Link::Softmax => json!({
                "name": "multi:softprob",
                "softmax_multiclass_param": {"num_class": self.classes.to_string()},
            }),
            Link::Logistic => json!({
                "name": "binary:logistic",
                "reg_loss_param": {"scale_pos_weight": "1"},
            }),
        };
        // One base score is written, as XGBoost 2 knows no more; scores of their own for
        // each class go into the leaves of its first tree, where they add up to the same.
        let base = self.base[0];
        let mut shift: Vec<f32> = self.base.iter().map(|b| b - base).collect();
        let mut trees: Vec<Value> = Vec::new();
        for (i, (tree, &target)) in self.trees.iter().zip(&self.targets).enumerate() {
            trees.push(write_tree(
                tree,
                i,
                self.inputs,
                std::mem::take(&mut shift[target as usize]),
            ));
        }
        let base = match self.link {
            Link::Softmax => base,
            Link::Logistic => 1.0 / (1.0 + (-base).exp()),
        };
        let rounds: Vec<usize> = (0..=self.trees.len()).step_by(scores).collect();
        json!({
            "learner": {
                "attributes": {},
                "feature_names": [],
                "feature_types": [],
                "gradient_booster": {
                    "model": {
                        "gbtree_model_param": {
                            "num_parallel_tree": "1",
                            "num_trees": self.trees.len().to_string(),
                        },
                        "iteration_indptr": rounds,
                        "tree_info": self.targets,
                        "trees": trees,
                    },
                    "name": "gbtree",
                },
                "learner_model_param": {
                    "base_score": format!("{base:E}"),
                    "boost_from_average": "1",
                    "num_class": if self.link == Link::Softmax { self.classes.to_string() } else { "0".to_owned() },
                    "num_feature": self.inputs.to_string(),
                    "num_target": "1",
                },
                "objective": objective,
            },
            "version": [2, 1, 4],
        })
        .to_string()
    }
}

/// `base_score` is one number, or since XGBoost 3.1 one for each score in brackets; for
/// the logistic objective it is a probability.
fn base_scores(parameters: &Value, scores: usize, link: Link) -> Result<Vec<f32>, ClassifierError> {
    let text = text_of(parameters, "base_score")?;
    let bad = || {
        ClassifierError::malformed(
            "base_score",
            format!("“{text}” is not {scores} numbers or one."),
        )
    };
    let mut values: Vec<f32> = text
        .trim_matches(['[', ']'])
        .split(',')
        .map(|t| t.trim().parse::<f32>().ok().filter(|v| v.is_finite()).ok_or_else(bad))
        .collect::<Result<_, _>>()?;
    if values.len() == 1 {
        values.resize(scores, values[0]);
    }
    if values.len() != scores {
        return Err(bad());
    }
    if link == Link::Logistic {
        for v in &mut values {
            if !(*v > 0.0 && *v < 1.0) {
                return Err(bad());
            }
            *v = -(1.0 / *v - 1.0).ln();
        }
    }
    Ok(values)
}

/// One tree, its nodes numbered anew so that children follow their parents: XGBoost may
/// leave deleted nodes in between.
fn read_tree(t: &Value) -> Result<Tree, ClassifierError> {
    if let Ok(size) = text_of(get(t, "tree_param")?, "size_leaf_vector")
        && !matches!(size, "0" | "1")
    {
        let message = format!("Leaves with {size} values are not read.");
        return Err(ClassifierError::unsupported("tree_param", message));
    }
    if t.get("split_type").is_some() && whole_numbers(t, "split_type")?.iter().any(|&s| s != 0) {
        return Err(ClassifierError::unsupported("split_type", "Splits by category are not read."));
    }
    let left = whole_numbers(t, "left_children")?;
    let right = whole_numbers(t, "right_children")?;
    let columns = whole_numbers(t, "split_indices")?;
    let sides = whole_numbers(t, "default_left")?;
    let conditions: Vec<f32> = array(t, "split_conditions")?
        .iter()
        .map(|v| v.as_f64().map(|v| v as f32).filter(|v| v.is_finite()))
        .collect::<Option<_>>()
        .ok_or_else(|| {
            ClassifierError::malformed("split_conditions", "A value is no finite number.")
        })?;
    let n = left.len();
    if n == 0 || [right.len(), columns.len(), sides.len(), conditions.len()].iter().any(|&l| l != n)
    {
        let message = format!(
            "The arrays have {n}, {}, {}, {} and {} entries; they need the same number.",
            right.len(),
            columns.len(),
            sides.len(),
            conditions.len()
        );
        return Err(ClassifierError::malformed("nodes", message));
    }
    let mut tree = Tree { nodes: vec![Node::leaf(0)], values: Vec::new() };
    let mut reached = vec![false; n];
    // (place in the file, place here); children are appended behind all that is known.
    let mut waiting = vec![(0usize, 0usize)];
    while let Some((from, to)) = waiting.pop() {
        if left[from] < 0 {
            tree.nodes[to] = Node::leaf(tree.values.len() as u32);
            tree.values.push(conditions[from]);
            continue;
        }
        let child = |c: i64| usize::try_from(c).ok().filter(|&c| c < n && c != 0);
        let (Some(l), Some(r)) = (child(left[from]), child(right[from])) else {
            let message =
                format!("The children {} and {} lie outside {n} nodes.", left[from], right[from]);
            return Err(ClassifierError::malformed(format!("node {from}"), message));
        };
        if std::mem::replace(&mut reached[l], true) || std::mem::replace(&mut reached[r], true) {
            let message = format!("Of its children {l} and {r} one has two parents.");
            return Err(ClassifierError::malformed(format!("node {from}"), message));
        }
        let next = tree.nodes.len();
        tree.nodes.extend([Node::leaf(0), Node::leaf(0)]);
        tree.nodes[to] = Node {
            column: u32::try_from(columns[from]).unwrap_or(u32::MAX),
            threshold: conditions[from],
            missing_left: sides[from] != 0,
            left: next as u32,
            right: next as u32 + 1,
            answer: 0,
        };
        waiting.extend([(r, next + 1), (l, next)]);
    }
    Ok(tree)
}

fn write_tree(tree: &Tree, id: usize, inputs: usize, shift: f32) -> Value {
    let n = tree.nodes.len();
    let mut parents = vec![NO_PARENT; n];
    for (i, node) in tree.nodes.iter().enumerate().filter(|(_, node)| !node.is_leaf()) {
        parents[node.left as usize] = i as i64;
        parents[node.right as usize] = i as i64;
    }
    let each = |f: &dyn Fn(&Node) -> Value| Value::Array(tree.nodes.iter().map(f).collect());
    let child = |node: &Node, c: u32| if node.is_leaf() { json!(-1) } else { json!(c) };
    let leaf = |node: &Node| tree.values[node.answer as usize] + shift;
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    // Weights, gains and hessians of training serve no prediction and are not kept.
    put("base_weights", json!(vec![0.0; n]));
    for name in ["categories", "categories_nodes", "categories_segments", "categories_sizes"] {
        put(name, json!([]));
    }
    put("default_left", each(&|node| json!(u8::from(node.missing_left))));
    put("id", json!(id));
    put("left_children", each(&|node| child(node, node.left)));
    put("loss_changes", json!(vec![0.0; n]));
    put("parents", json!(parents));
    put("right_children", each(&|node| child(node, node.right)));
    put(
        "split_conditions",
        each(&|node| json!(if node.is_leaf() { leaf(node) } else { node.threshold })),
    );
    put("split_indices", each(&|node| json!(node.column)));
    put("split_type", json!(vec![0; n]));
    put("sum_hessian", json!(vec![0.0; n]));
    put(
        "tree_param",
        json!({"num_deleted": "0", "num_feature": inputs.to_string(), "num_nodes": n.to_string(), "size_leaf_vector": "1"}),
    );
    Value::Object(out)
}

fn get<'a>(value: &'a Value, name: &str) -> Result<&'a Value, ClassifierError> {
    value.get(name).ok_or_else(|| {
        ClassifierError::malformed(name, "The entry is missing from the XGBoost model.")
    })
}

fn text_of<'a>(value: &'a Value, name: &str) -> Result<&'a str, ClassifierError> {
    get(value, name)?
        .as_str()
        .ok_or_else(|| ClassifierError::malformed(name, "The entry is not a text."))
}

fn number(value: &Value, name: &str) -> Result<usize, ClassifierError> {
    let text = text_of(value, name)?;
    text.parse()
        .map_err(|_| ClassifierError::malformed(name, format!("“{text}” is no whole number.")))
}

fn array<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>, ClassifierError> {
    get(value, name)?
        .as_array()
        .ok_or_else(|| ClassifierError::malformed(name, "The entry is not a list."))
}

/// A list of whole numbers; older versions write truth values for some.
fn whole_numbers(value: &Value, name: &str) -> Result<Vec<i64>, ClassifierError> {
    array(value, name)?
        .iter()
        .map(|v| v.as_i64().or(v.as_bool().map(i64::from)))
        .collect::<Option<_>>()
        .ok_or_else(|| ClassifierError::malformed(name, "An entry is no whole number."))
}
