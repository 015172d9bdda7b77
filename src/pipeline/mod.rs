//! The pipeline: induce, respond, judge, with filters between them.
//!
//! [`Pipeline::process`] is the algorithm for one source text. [`Pipeline::run`] adds concurrency and nothing else: no
//! channels, no spawned tasks, no queue for each stage.

mod gate;
mod memory;
mod observer;
mod ordered;
mod process;
mod run;
mod steps;

use std::{fmt, sync::Arc};

pub use gate::Gate;
pub(crate) use memory::{Given, Memories};
pub use observer::{Event, Observer};

use crate::{
    record::{Draft, PreferencePair, SourceText},
    stage::{
        Filter, Guard, InstructionGenerator, OrderedFilter, PreferenceJudge, ResponseGenerator,
    },
};

/// What to do if the judge prefers the other side of the pair to the expert's response.
///
/// The other side is the source text or, in a pipeline with a counterpart, the counterpart's response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSourceWins {
    /// Drop the source text, with the reason `source_wins` or `counterpart_wins`.
    #[default]
    Drop,
    /// Keep the pair, with the other side as `chosen`. Use it for source texts that may well be good, as in instruction
    /// backtranslation (arXiv 2308.06259).
    Flip,
}

type Memory<T> = Box<dyn Fn() -> Box<dyn OrderedFilter<T>> + Send + Sync>;

/// A pipeline whose stages are chosen at run time. Made by [`Pipeline::boxed`], or from boxed stages.
pub type DynPipeline =
    Pipeline<Box<dyn InstructionGenerator>, Box<dyn ResponseGenerator>, Box<dyn PreferenceJudge>>;

/// Makes preference pairs from source texts.
///
/// A pipeline needs three stages. Everything else has a default, and a `with_*` method that changes it. The steps for
/// one source text are:
///
/// 1. Filter the source text.
/// 2. Induce the instruction, and filter it.
/// 3. Ask the expert for a response (and the counterpart, if there is one), and filter it.
/// 4. If there is a guard, let it assess each side by itself; go on only if both are what the [`Gate`] asks for.
/// 5. Let the judge compare the response with the other side, in an order that is drawn from the lineage.
/// 6. Choose the better side, and filter the pair.
///
/// A blank text, instruction or response is dropped as `empty`. Two identical sides are dropped as `identical`, and the
/// judge is not asked.
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
    guard: Option<Box<dyn Guard>>,
    gate: Gate,
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
    /// How many draws run at the same time by default.
    pub const DEFAULT_CONCURRENCY: usize = 16;

    /// Makes a pipeline from three stages, without filters.
    pub fn new(induce: I, respond: R, judge: J) -> Self {
        let rest = Rest {
            counterpart: None,
            guard: None,
            gate: Gate::default(),
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

    /// Sets a second generator, whose response is the other side of each pair. By default the other side is the source
    /// text.
    ///
    /// Use the model that will be trained: it learns more from its own responses (arXiv 2504.02193).
    #[must_use]
    pub fn with_counterpart(mut self, counterpart: impl ResponseGenerator + 'static) -> Self {
        self.rest.counterpart = Some(Arc::new(counterpart));
        self
    }

    /// Sets the guard that assesses each side of a pair by itself, before the judge compares them. By default there is
    /// none, and a pair may hold two bad answers.
    ///
    /// With a guard, no pair is kept whose sides have not both been found what the [`Gate`] asks for.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Guard + 'static) -> Self {
        self.rest.guard = Some(Box::new(guard));
        self
    }

    /// Sets what the guard must find in each side. By default [`Gate::default`]. Without a guard it has no effect.
    #[must_use]
    pub fn with_gate(mut self, gate: Gate) -> Self {
        self.rest.gate = gate;
        self
    }

    /// Adds a filter on source texts. It runs before any model is asked. By default there is none.
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
    /// The draft has everything: [`chosen`](Draft::chosen) and [`rejected`](Draft::rejected), where they come from, and
    /// the [`judgement`](Draft::judgement). The source text is there too, also with a counterpart.
    #[must_use]
    pub fn with_pair_filter(mut self, filter: impl Filter<Draft> + 'static) -> Self {
        self.rest.pair_filters.push(Box::new(filter));
        self
    }

    /// Adds an ordered filter on source texts, such as [`Distinct`](crate::filters::Distinct). By default there is
    /// none.
    ///
    /// It sees each text once, in input order, before the draws of that text. The closure makes a new filter for every
    /// [`run`](Self::run). [`process`](Self::process) works on one text alone and does not ask it.
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

    /// Adds an ordered filter on finished pairs. By default there is none.
    ///
    /// It sees the pairs in the order of the output. The closure makes a new filter for every [`run`](Self::run).
    /// [`process`](Self::process) works on one text alone and does not ask it.
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

    /// Sets how many draws are made for each source text: independent tries, each with its own outcome. By default 1; 0
    /// counts as 1.
    #[must_use]
    pub fn with_draws(mut self, draws: u32) -> Self {
        self.rest.draws = draws.max(1);
        self
    }

    /// Sets how many draws run at the same time. This changes the speed and never the result. By default
    /// [`DEFAULT_CONCURRENCY`](Self::DEFAULT_CONCURRENCY); 0 counts as 1.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        self.rest.concurrency = concurrency.max(1);
        self
    }

    /// Sets the seed of the run. Every random choice follows from it. By default 0.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.rest.seed = seed;
        self
    }

    /// Sets the observer that receives the events of a run. By default there is none.
    #[must_use]
    pub fn with_observer(mut self, observer: impl Observer + 'static) -> Self {
        self.rest.observer = Some(Arc::new(observer));
        self
    }

    /// How many draws run at the same time.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.rest.concurrency
    }

    /// How many draws are made for each source text.
    #[must_use]
    pub fn draws(&self) -> u32 {
        self.rest.draws
    }

    /// The judge, for its counts after a run.
    pub fn judge(&self) -> &J {
        &self.judge
    }

    /// Erases the types of the stages.
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
