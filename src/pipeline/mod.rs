//! The pipeline: induce, respond, judge, with filters between them.
//!
//! [`Pipeline::process`] is the algorithm for one source text; [`Pipeline::run`] is concurrency around it and nothing else: no
//! channels, no spawned tasks, no queue per stage.

mod memory;
mod observer;
mod ordered;
mod process;
mod run;
mod steps;

use std::{fmt, sync::Arc};

#[cfg(feature = "run")]
pub(crate) use memory::{Given, Memories};
pub use observer::{Event, Observer};

use crate::{
    record::{Draft, PreferencePair, SourceText},
    stage::{Filter, InstructionGenerator, OrderedFilter, PreferenceJudge, ResponseGenerator},
};

/// What to do if the judge prefers the other side of the pair to the expert's response.
///
/// The other side is the source text or, in a pipeline with a counterpart, the counterpart's response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSourceWins {
    /// Drop the source text, with the reason `source_wins` or `counterpart_wins`.
    #[default]
    Drop,
    /// Keep the pair with the other side as `chosen`. That is ordinary instruction backtranslation, where the source
    /// text is the good one.
    Flip,
}

type Memory<T> = Box<dyn Fn() -> Box<dyn OrderedFilter<T>> + Send + Sync>;

/// A pipeline whose stages are chosen at run time; made by [`Pipeline::boxed`] or from boxed stages.
pub type DynPipeline =
    Pipeline<Box<dyn InstructionGenerator>, Box<dyn ResponseGenerator>, Box<dyn PreferenceJudge>>;

/// Makes preference pairs of source texts.
///
/// The three stages are what it needs; all else has a default and is set by a `with_*` method. For each source text the
/// steps are:
///
/// 1. filters on the source text;
/// 2. the instruction is induced, then filters on it;
/// 3. the expert responds (and the counterpart, if there is one), then filters on the response;
/// 4. the judge compares the response with the other side, in an order drawn from the lineage;
/// 5. the verdict decides which side is `chosen`, then filters on the pair.
///
/// A blank text, instruction or response never becomes part of a pair: it is dropped as `empty`. Two identical sides are
/// dropped as `identical` without asking the judge.
///
/// ```
/// use futures::{StreamExt, executor::block_on, stream};
/// use safer_instruct::{
///     Instruction, Judgement, Outcome, Pipeline, Response, SourceText, induce_fn, judge_fn, respond_fn,
/// };
///
/// let pipeline = Pipeline::new(
///     induce_fn(|_| async { Ok(Instruction::new("What do you say to a beginner?")) }),
///     respond_fn(|_| async { Ok(Response::new("Keep at it. The first weeks are the hardest.")) }),
///     judge_fn(|_, first: Response, second: Response| async move {
///         // A toy: the longer answer wins.
///         Ok(match first.text().len().cmp(&second.text().len()) {
///             std::cmp::Ordering::Greater => Judgement::first(),
///             std::cmp::Ordering::Less => Judgement::second(),
///             std::cmp::Ordering::Equal => Judgement::tie(),
///         })
///     }),
/// );
/// let texts = stream::iter([SourceText::new("post-1", "You will never learn it.")]);
/// let outcomes: Vec<Outcome> = block_on(pipeline.run(texts).collect());
/// let pair = outcomes[0].pair().unwrap();
/// assert_eq!(pair.rejected, "You will never learn it.");
/// assert_eq!(pair.chosen, "Keep at it. The first weeks are the hardest.");
/// ```
pub struct Pipeline<I, R, J> {
    induce: I,
    respond: R,
    judge: J,
    rest: Rest,
}

/// Everything but the three stages, so that they can be exchanged in one step.
struct Rest {
    counterpart: Option<Arc<dyn ResponseGenerator>>,
    source_filters: Vec<Box<dyn Filter<SourceText>>>,
    instruction_filters: Vec<Box<dyn Filter<Draft>>>,
    response_filters: Vec<Box<dyn Filter<Draft>>>,
    pair_filters: Vec<Box<dyn Filter<Draft>>>,
    ordered_source_filters: Vec<Memory<SourceText>>,
    ordered_pair_filters: Vec<Memory<PreferencePair>>,
    on_source_wins: OnSourceWins,
    draws: u32,
    concurrency: usize,
    seed: u64,
    observer: Option<Arc<dyn Observer>>,
}

impl<I, R, J> Pipeline<I, R, J>
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
{
    /// How many source texts are worked on at once by default.
    pub const DEFAULT_CONCURRENCY: usize = 16;

    /// A pipeline of three stages, without filters.
    pub fn new(induce: I, respond: R, judge: J) -> Self {
        let rest = Rest {
            counterpart: None,
            source_filters: Vec::new(),
            instruction_filters: Vec::new(),
            response_filters: Vec::new(),
            pair_filters: Vec::new(),
            ordered_source_filters: Vec::new(),
            ordered_pair_filters: Vec::new(),
            on_source_wins: OnSourceWins::default(),
            draws: 1,
            concurrency: Self::DEFAULT_CONCURRENCY,
            seed: 0,
            observer: None,
        };
        Self {
            induce,
            respond,
            judge,
            rest,
        }
    }

    /// Takes the other side of a pair from a second generator, such as the model that will be trained: pairs of its own
    /// making teach it more (arXiv 2504.02193). By default the other side is the source text.
    #[must_use]
    pub fn with_counterpart(mut self, counterpart: impl ResponseGenerator + 'static) -> Self {
        self.rest.counterpart = Some(Arc::new(counterpart));
        self
    }

    /// Adds a filter on source texts, before anything is spent on them. By default there is none.
    #[must_use]
    pub fn with_source_filter(mut self, filter: impl Filter<SourceText> + 'static) -> Self {
        self.rest.source_filters.push(Box::new(filter));
        self
    }

    /// Adds a filter on induced instructions. By default there is none.
    ///
    /// The draft has its source text and its instruction, which a filter reads with
    /// [`draft.instruction()?`](Draft::instruction).
    #[must_use]
    pub fn with_instruction_filter(mut self, filter: impl Filter<Draft> + 'static) -> Self {
        self.rest.instruction_filters.push(Box::new(filter));
        self
    }

    /// Adds a filter on the expert's responses. By default there is none.
    ///
    /// The draft has [`response`](Draft::response) too and, if the pipeline has a counterpart,
    /// [`counterpart`](Draft::counterpart).
    #[must_use]
    pub fn with_response_filter(mut self, filter: impl Filter<Draft> + 'static) -> Self {
        self.rest.response_filters.push(Box::new(filter));
        self
    }

    /// Adds a filter on judged drafts, before they become pairs. By default there is none.
    ///
    /// The draft has everything: [`chosen`](Draft::chosen) and [`rejected`](Draft::rejected), where they come from, and the
    /// [`judgement`](Draft::judgement). The source text is there too, also with a counterpart.
    #[must_use]
    pub fn with_pair_filter(mut self, filter: impl Filter<Draft> + 'static) -> Self {
        self.rest.pair_filters.push(Box::new(filter));
        self
    }

    /// Adds a filter with a memory on source texts, such as [`Distinct`](crate::filters::Distinct). It sees each text once, in input
    /// order, before its draws; every [`run`](Self::run) begins with a new memory. [`process`](Self::process) knows no
    /// other texts and does not ask it. By default there is none.
    #[must_use]
    pub fn with_ordered_source_filter<F>(
        mut self,
        filter: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: OrderedFilter<SourceText> + 'static,
    {
        self.rest
            .ordered_source_filters
            .push(Box::new(move || Box::new(filter())));
        self
    }

    /// Adds a filter with a memory on finished pairs. It sees the pairs in the order in which they are given out, and every
    /// [`run`](Self::run) begins with a new memory. [`process`](Self::process) does not ask it. By default there is none.
    #[must_use]
    pub fn with_ordered_pair_filter<F>(
        mut self,
        filter: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: OrderedFilter<PreferencePair> + 'static,
    {
        self.rest
            .ordered_pair_filters
            .push(Box::new(move || Box::new(filter())));
        self
    }

    /// Sets what happens if the judge prefers the source text, or the counterpart's response, to the expert's response.
    /// By default [`OnSourceWins::Drop`].
    #[must_use]
    pub fn with_on_source_wins(mut self, policy: OnSourceWins) -> Self {
        self.rest.on_source_wins = policy;
        self
    }

    /// Sets how many independent tries are made at each source text; each has an outcome of its own. By default 1; 0 counts as 1.
    #[must_use]
    pub fn with_draws(mut self, draws: u32) -> Self {
        self.rest.draws = draws.max(1);
        self
    }

    /// Sets how many draws are worked on at once. It changes the speed, never the result. By default
    /// [`DEFAULT_CONCURRENCY`](Self::DEFAULT_CONCURRENCY); 0 counts as 1.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.rest.concurrency = concurrency.max(1);
        self
    }

    /// Sets the seed of the run, from which every random choice follows. By default 0.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.rest.seed = seed;
        self
    }

    /// Sets who is told of progress. By default nobody.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer + 'static) -> Self {
        self.rest.observer = Some(Arc::new(observer));
        self
    }

    /// How many draws are worked on at once.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.rest.concurrency
    }

    /// How many independent tries are made at each source text.
    #[must_use]
    pub fn draws(&self) -> u32 {
        self.rest.draws
    }

    /// The judge, to ask it for its counts after a run.
    pub fn judge(&self) -> &J {
        &self.judge
    }

    /// The same pipeline with its stages' types erased.
    #[must_use]
    pub fn boxed(self) -> DynPipeline
    where
        I: 'static,
        R: 'static,
        J: 'static,
    {
        Pipeline {
            induce: Box::new(self.induce),
            respond: Box::new(self.respond),
            judge: Box::new(self.judge),
            rest: self.rest,
        }
    }

    fn tell(&self, event: &Event<'_>) {
        if let Some(observer) = &self.rest.observer {
            observer.observe(event);
        }
    }
}

impl<I, R, J> fmt::Debug for Pipeline<I, R, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("on_source_wins", &self.rest.on_source_wins)
            .field("draws", &self.rest.draws)
            .field("concurrency", &self.rest.concurrency)
            .field("seed", &self.rest.seed)
            .finish_non_exhaustive()
    }
}
