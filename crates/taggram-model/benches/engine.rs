//! Inference of whole networks, one example at a time on one thread.

use criterion::{Criterion, criterion_group, criterion_main};
use taggram_model::Engine;

mod networks;

fn inference(c: &mut Criterion) {
    let mut group = c.benchmark_group("inference");
    group.sample_size(20);
    for (name, network) in networks::all() {
        let engine = Engine::new(&network, &networks::weights(&network)).expect("a valid network");
        let input = networks::input(&network);
        group.bench_function(name, |b| b.iter(|| engine.run(&[&input], 1).expect("a valid input")));
    }
    group.finish();
}

criterion_group!(benches, inference);
criterion_main!(benches);
