//! The tape: the architecture with a record of what was computed, for the backward pass.

use std::sync::Arc;

use candle_core::{Error, Result, Tensor};

use crate::backends::candle::{
    graph::{
        architecture::Operations,
        ops::{HeadNorms, RmsNorm, with_values},
    },
    kernels::{attention::Angles, backward, blocks::Shape, causal::Packed, gemm::Write, rows},
};

use super::projection::{Projection, mix};

/// What one pass runs over.
pub(super) struct Input<'w> {
    pub(super) shape: &'w Shape,
    pub(super) angles: Angles<'w>,
    pub(super) parameters: &'w [f32],
    /// Tokens of all sequences, one after the other.
    pub(super) tokens: Vec<u32>,
    /// Tokens of each sequence.
    pub(super) lengths: Vec<usize>,
    /// Of each sequence the tokens at its end whose logits are wanted.
    pub(super) wanted: Vec<usize>,
    /// Chooses what dropout leaves out; `None` outside of training.
    pub(super) dropout: Option<u64>,
}

/// One pass over sequences.
pub(super) struct Tape<'w> {
    input: Arc<Input<'w>>,
    steps: Option<Vec<Step<'w>>>,
    values: usize,
}

/// `(rows, width)`, with a number if a gradient can reach it.
#[derive(Clone)]
pub(super) struct Value {
    number: Option<usize>,
    pub(super) data: Arc<Vec<f32>>,
    width: usize,
}

/// The backward pass of a value: from its gradient to the gradients of its inputs.
type Back<'w> = Box<dyn FnOnce(&Arc<Vec<f32>>, &mut Gradients<'_>) -> Result<()> + Send + 'w>;

struct Step<'w> {
    value: usize,
    back: Back<'w>,
}

/// Gradients during the backward pass.
pub(super) struct Gradients<'g> {
    /// Shared where a value is added to another: both have the same gradient.
    values: Vec<Option<Arc<Vec<f32>>>>,
    parameters: &'g mut [f32],
}

/// The gradient of a value so far, of so many numbers, and how to write to it.
fn place(
    values: &mut [Option<Arc<Vec<f32>>>],
    number: usize,
    len: usize,
) -> (&mut [f32], Write<'static>) {
    let Some(place) = values.get_mut(number) else {
        return (&mut [], Write::Over);
    };
    let write = if place.is_some() {
        Write::Add
    } else {
        Write::Over
    };
    let gradient = place.get_or_insert_with(|| Arc::new(vec![0.0; len]));
    (Arc::make_mut(gradient).as_mut_slice(), write)
}

impl Gradients<'_> {
    /// The gradient of a value so far, to be added to.
    fn of(&mut self, number: usize, len: usize) -> &mut [f32] {
        place(&mut self.values, number, len).0
    }

    /// Adds a gradient that another value may have too.
    fn share(&mut self, number: usize, gradient: &Arc<Vec<f32>>) {
        match self.values.get_mut(number) {
            Some(Some(place)) => {
                backward::add_to(Arc::make_mut(place).as_mut_slice(), gradient.as_slice());
            }
            Some(place) => *place = Some(Arc::clone(gradient)),
            None => {}
        }
    }
}

impl<'w> Tape<'w> {
    /// A forward pass; one that is `recorded` allows a backward pass.
    pub(super) fn new(input: Input<'w>, recorded: bool) -> Self {
        Self {
            input: Arc::new(input),
            steps: recorded.then(Vec::new),
            values: 0,
        }
    }

    /// Runs the backward pass from a value whose gradient is given, and adds the gradient of the parameters.
    pub(super) fn backward(
        self,
        value: &Value,
        gradient: Vec<f32>,
        parameters: &mut [f32],
    ) -> Result<()> {
        let mut gradients = Gradients {
            values: vec![None; self.values],
            parameters,
        };
        if let Some(number) = value.number {
            gradients.share(number, &Arc::new(gradient));
        }
        for step in self.steps.into_iter().flatten().rev() {
            let gradient = gradients.values.get_mut(step.value).and_then(Option::take);
            if let Some(gradient) = gradient {
                (step.back)(&gradient, &mut gradients)?;
            }
        }
        Ok(())
    }

    /// A value without a backward pass.
    fn constant(data: Vec<f32>, width: usize) -> Value {
        Value {
            number: None,
            data: Arc::new(data),
            width,
        }
    }

    /// A value, and its backward pass if it depends on what is trained.
    fn value(
        &mut self,
        data: Vec<f32>,
        width: usize,
        depends: bool,
        back: impl FnOnce(&Arc<Vec<f32>>, &mut Gradients<'_>) -> Result<()> + Send + 'w,
    ) -> Value {
        let mut value = Self::constant(data, width);
        if let Some(steps) = self.steps.as_mut().filter(|_| depends) {
            value.number = Some(self.values);
            steps.push(Step {
                value: self.values,
                back: Box::new(back),
            });
            self.values += 1;
        }
        value
    }

    fn packed<'i>(input: &'i Input<'w>) -> Packed<'i> {
        Packed {
            shape: input.shape,
            lengths: &input.lengths,
            angles: input.angles,
        }
    }
}

impl<'w> Operations<'w> for Tape<'w> {
    type Linear = Projection;
    type Value = Value;

    fn embed(&mut self, embedding: &'w Tensor) -> Result<Value> {
        let (vocab, width) = embedding.dims2()?;
        let tokens = &self.input.tokens;
        let rows = with_values(embedding, |values| {
            let row = |token: &u32| values.chunks_exact(width).nth(*token as usize);
            tokens
                .iter()
                .map(row)
                .collect::<Option<Vec<_>>>()
                .map(|rows| rows.concat())
        })?;
        match rows {
            Some(rows) => Ok(Self::constant(rows, width)),
            None => candle_core::bail!("a token beyond the {vocab} of the vocabulary"),
        }
    }

    fn norm(&mut self, norm: &'w RmsNorm, x: &Value) -> Result<Value> {
        let (width, eps) = (x.width, norm.eps);
        let gain = norm.gain.as_ref().map(Tensor::to_vec1::<f32>).transpose()?;
        let y = rows::rms_norm(&x.data, width, gain.as_deref(), eps);
        let source = x.clone();
        Ok(
            self.value(y, width, x.number.is_some(), move |dy, gradients| {
                if let Some(number) = source.number {
                    let dx = gradients.of(number, source.data.len());
                    backward::rms_norm(&source.data, dy, width, gain.as_deref(), eps, dx);
                }
                Ok(())
            }),
        )
    }

    fn linear(&mut self, linear: &'w Projection, x: &Value) -> Result<Value> {
        let input = Arc::clone(&self.input);
        // A seed for each layer: the values so far tell them apart.
        let seed = input.dropout.map(|seed| mix(seed ^ self.values as u64));
        let (y, kept) = linear
            .forward(&x.data, input.parameters, seed)
            .map_err(Error::wrap)?;
        let depends = x.number.is_some() || linear.low_rank.is_some();
        let x = x.clone();
        Ok(
            self.value(y, linear.outputs(), depends, move |dy, gradients| {
                let Gradients { values, parameters } = gradients;
                let dx = x.number.map(|number| place(values, number, x.data.len()));
                linear
                    .backward(&x.data, dy, kept, (input.parameters, parameters), dx)
                    .map_err(Error::wrap)
            }),
        )
    }

    fn head_norms(&mut self, norms: &'w HeadNorms, qkv: &Value) -> Result<Value> {
        let (width, eps) = (qkv.width, norms.eps);
        let gains = [norms.q.to_vec1::<f32>()?, norms.k.to_vec1::<f32>()?];
        let heads = [self.input.shape.heads, self.input.shape.kv_heads];
        let y = {
            let [q, k] = &gains;
            rows::head_norms(&qkv.data, width, [(heads[0], q), (heads[1], k)], eps)
        };
        let source = qkv.clone();
        Ok(
            self.value(y, width, qkv.number.is_some(), move |dy, gradients| {
                if let Some(number) = source.number {
                    let [q, k] = &gains;
                    let gains = [(heads[0], q.as_slice()), (heads[1], k.as_slice())];
                    let dx = gradients.of(number, source.data.len());
                    backward::head_norms(&source.data, dy, width, gains, eps, dx);
                }
                Ok(())
            }),
        )
    }

    fn attend(&mut self, _: usize, qkv: &Value) -> Result<Value> {
        let input = Arc::clone(&self.input);
        let out = Self::packed(&input)
            .forward(&qkv.data)
            .map_err(Error::wrap)?;
        let width = input.shape.heads * input.shape.head_dim;
        let out = Arc::new(out);
        let (source, result) = (qkv.clone(), Arc::clone(&out));
        let mut value = self.value(
            Vec::new(),
            width,
            qkv.number.is_some(),
            move |dy, gradients| {
                if let Some(number) = source.number {
                    let gradient = Self::packed(&input)
                        .backward(&source.data, &result, dy)
                        .map_err(Error::wrap)?;
                    gradients.share(number, &Arc::new(gradient));
                }
                Ok(())
            },
        );
        value.data = out;
        Ok(value)
    }

    fn swiglu(&mut self, gate_up: &Value) -> Result<Value> {
        let width = gate_up.width / 2;
        let y = rows::swiglu(&gate_up.data, width);
        let source = gate_up.clone();
        Ok(
            self.value(y, width, gate_up.number.is_some(), move |dy, gradients| {
                if let Some(number) = source.number {
                    // It has no other use, so that there is nothing to add to.
                    let to = gradients.of(number, source.data.len());
                    backward::swiglu(&source.data, dy, width, to);
                }
                Ok(())
            }),
        )
    }

    fn add(&mut self, x: &Value, y: &Value) -> Result<Value> {
        let sum = rows::add(&x.data, &y.data);
        let numbers = [x.number, y.number];
        let depends = numbers.iter().any(Option::is_some);
        Ok(self.value(sum, x.width, depends, move |dy, gradients| {
            for number in numbers.into_iter().flatten() {
                gradients.share(number, dy);
            }
            Ok(())
        }))
    }

    fn wanted(&mut self, x: &Value) -> Result<Option<Value>> {
        let width = x.width;
        let mut ranges = Vec::new();
        let mut end = 0;
        for (length, wanted) in self.input.lengths.iter().zip(&self.input.wanted) {
            end += length;
            ranges.push((end - wanted.min(length)) * width..end * width);
        }
        let parts = ranges.iter().filter_map(|range| x.data.get(range.clone()));
        let rows = parts.collect::<Vec<_>>().concat();
        if rows.is_empty() {
            return Ok(None);
        }
        let (number, len) = (x.number, x.data.len());
        let value = self.value(rows, width, number.is_some(), move |dy, gradients| {
            let Some(number) = number else { return Ok(()) };
            let mut dy = dy.as_slice();
            let dx = gradients.of(number, len);
            for range in ranges {
                let (mine, rest) = dy.split_at(range.len());
                if let Some(dx) = dx.get_mut(range) {
                    backward::add_to(dx, mine);
                }
                dy = rest;
            }
            Ok(())
        });
        Ok(Some(value))
    }
}
