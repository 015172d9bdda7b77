//! Gradients of whole models, on files that are made in the test.

use super::*;
use crate::backends::candle::{
    CandleModel,
    kernels::tests::values,
    tests::tiny::{Tiny, write},
};

const ALL: [usize; 7] = [0, 1, 2, 3, 4, 5, 6];

pub(super) fn branches(targets: &[usize], dropout: f32) -> Branches {
    Branches {
        targets: targets.to_vec(),
        rank: 3,
        scale: 2.0,
        dropout,
    }
}

fn load(targets: &[usize], dropout: f32, threads: usize) -> Trainable {
    let (_, bytes) = Tiny::new().bytes();
    let file = write(&bytes);
    Trainable::load(
        &file.path,
        &branches(targets, dropout),
        64,
        Some(threads),
        &mut |_, _| {},
    )
    .unwrap()
}

fn tokens(len: usize, step: u32) -> Vec<u32> {
    (0..len as u32).map(|n| (n * step + 3) % 32).collect()
}

/// Parameters none of which is zero.
fn random(model: &Trainable) -> Vec<f32> {
    values(model.layout.len, 5)
        .iter()
        .map(|x| x * 0.3)
        .collect()
}

#[test]
fn the_gradient_of_every_matrix_is_its_slope() {
    for (targets, dropout) in [(ALL.as_slice(), 0.0), (&[0, 2, 5], 0.0), (&ALL, 0.25)] {
        let model = load(targets, dropout, 2);
        let (a, b) = (tokens(40, 7), tokens(9, 5));
        let sequences = [
            Sequence {
                tokens: &a,
                scored: 30,
            },
            Sequence {
                tokens: &b,
                scored: 8,
            },
        ];
        let weights: Vec<f64> = values(38, 9).iter().map(|x| f64::from(*x)).collect();
        let seed = (dropout > 0.0).then_some(11);
        let run = |parameters: &[f32]| {
            let mut gradient = vec![0.0; parameters.len()];
            let logprobs = model
                .gradient(&sequences, parameters, seed, &mut gradient, |logprobs| {
                    assert_eq!(logprobs.len(), 38);
                    weights.clone()
                })
                .unwrap();
            let loss: f64 = logprobs.iter().zip(&weights).map(|(l, w)| l * w).sum();
            (loss, gradient)
        };
        let parameters = random(&model);
        let (_, gradient) = run(&parameters);
        assert_eq!(model.layout.matrices.len(), targets.len() * 2 * 2);
        for matrix in &model.layout.matrices {
            // Along the gradient of the matrix itself, so that the slope is its length.
            let part = &gradient[matrix.range.clone()];
            let length = part
                .iter()
                .map(|x| f64::from(*x).powi(2))
                .sum::<f64>()
                .sqrt();
            assert!(length > 1e-4, "{matrix:?} has no gradient");
            let moved = |step: f64| {
                let mut moved = parameters.clone();
                for (to, from) in moved[matrix.range.clone()].iter_mut().zip(part) {
                    *to += (f64::from(*from) * step / length) as f32;
                }
                run(&moved).0
            };
            let step = 0.002;
            let slope = (moved(step) - moved(-step)) / (2.0 * step);
            assert!(
                (slope - length).abs() < 0.01 * length + 2e-4,
                "{targets:?} {dropout} {matrix:?}: slope {slope}, gradient {length}"
            );
        }
    }
}

#[test]
fn a_sequence_is_the_same_in_company_and_as_inference_sees_it() {
    let (_, bytes) = Tiny::new().bytes();
    let file = write(&bytes);
    let model = load(&ALL, 0.0, 1);
    let (a, b) = (tokens(33, 7), tokens(20, 5));
    let parameters = model.initial(1);
    let alone = |tokens| {
        let sequence = Sequence { tokens, scored: 12 };
        model.logprobs(&[sequence], &parameters).unwrap()
    };
    let (first, second) = (alone(&a), alone(&b));
    let both = [&a, &b].map(|tokens| Sequence { tokens, scored: 12 });
    let both = model.logprobs(&both, &parameters).unwrap();
    assert_eq!([first.as_slice(), &second].concat(), both);

    // B is zero at first, so that this is the model of the file.
    let gguf = Gguf::open(&file.path).unwrap();
    let plan = Plan {
        device: Device::Cpu.open().unwrap(),
        precision: Precision::F32,
        kernels: true,
        positions: 64,
        adapter: None,
    };
    let config = Config::read(&gguf).unwrap();
    let graph = read::read(&gguf, config, &plan, &model.pool, &mut |_, _| Ok(())).unwrap();
    let mut chunk = [crate::backends::candle::graph::kv_cache::Chunk {
        tokens: &a[..32],
        cache: &mut graph.new_cache().unwrap(),
        wanted: 12,
        states: None,
    }];
    let logits = graph.forward(&mut chunk).unwrap().unwrap();
    let logits = logits.to_vec2::<f32>().unwrap();
    for ((logits, token), ours) in logits.iter().zip(&a[21..]).zip(first) {
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        let right = f64::from(logits[*token as usize]) - sum.ln();
        assert!((right - ours).abs() < 1e-4, "{right} {ours}");
    }
    drop(CandleModel::load(&file.path).unwrap());
}

#[test]
fn gradients_are_the_same_bits_at_any_number_of_threads() {
    let bits = |threads| {
        let model = load(&ALL, 0.1, threads);
        let a = tokens(64, 7);
        let sequence = Sequence {
            tokens: &a,
            scored: 60,
        };
        let mut gradient = vec![0.0; model.layout.len];
        let parameters = random(&model);
        model
            .gradient(&[sequence], &parameters, Some(3), &mut gradient, |x| {
                vec![1.0; x.len()]
            })
            .unwrap();
        gradient.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    assert!(bits(1) == bits(3));
}
