//! Worker threads that prepare examples ahead, so that the GPU never waits.
//!
//! Example number k is a function of (seed, k, configuration, sets) alone; workers take numbers in order, and examples are given out in order, so
//! that nothing depends on how many workers there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::data::draws::{ALL_PASSES, Draws, Keyed, Purpose};
use crate::data::features::{self, FeatureConfig, Features};
use crate::data::policy::Mix;
use crate::data::ship;
use crate::error::{Error, Result};
use crate::tensor::HostTensor;

/// How examples are prepared.
#[derive(Debug, Clone, PartialEq)]
pub struct LoaderConfig {
    /// What features are made to.
    pub features: FeatureConfig,
    /// The run's seed.
    pub seed: u64,
    /// Number of the first example: not 0 when a run goes on, or for any but the first of several processes.
    pub first: u64,
    /// Distance between this process's examples: the number of processes that share a run.
    pub stride: u64,
    /// Examples of a step, over all processes; all examples of one have the same number of passes.
    pub batch: u64,
    /// Most passes; each step draws its number uniformly from 1 to this.
    pub max_passes: usize,
    /// Worker threads.
    pub threads: usize,
    /// Examples held ready, at most.
    pub queue: usize,
}

/// An example, ready for the GPU.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// Its number in the run.
    pub number: u64,
    /// Compact features; [`ship::shared`] and [`ship::pass`] make padded tensors of them.
    pub features: Features,
    /// Ground truth, not padded ([`ship::labels`]).
    pub labels: Option<BTreeMap<String, HostTensor>>,
}

/// How well the loader keeps up, since the last report.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Report {
    /// Examples ready now.
    pub ready: usize,
    /// Examples that can be held ready.
    pub queue: usize,
    /// Examples given out.
    pub given: u64,
    /// Seconds that [`Loader::next`] waited for them.
    pub waited_s: f64,
}

/// The passes of the examples of step number `step`: uniform in 1..=`max_passes`, the same for all of them (supplement 1.10).
pub fn passes_of_step(seed: u64, step: u64, max_passes: usize) -> usize {
    1 + Keyed::new(seed, step).below(ALL_PASSES, Purpose::Passes, 0, max_passes)
}

/// Prepares example number `number` of a run, as any worker would.
pub fn prepare(mix: &Mix, config: &LoaderConfig, number: u64) -> Result<Loaded> {
    let (set, chain) = mix.draw(config.seed, number);
    let passes = passes_of_step(config.seed, number / config.batch.max(1), config.max_passes);
    let example = mix.sets[set].example(chain)?;
    let features = features::make(&example, &config.features, passes, &Keyed::new(config.seed, number));
    let labels = ship::labels(&features, features.n_crop());
    Ok(Loaded { number, features, labels })
}

struct State {
    /// The next number that a worker takes.
    next: u64,
    /// The next number that is given out.
    due: u64,
    /// What workers made; the outer error is a worker's panic, which goes on where the example is asked for.
    ready: BTreeMap<u64, std::thread::Result<Result<Loaded>>>,
    closed: bool,
    given: u64,
    waited: Duration,
}

struct Shared {
    mix: Arc<Mix>,
    config: LoaderConfig,
    state: Mutex<State>,
    /// Signalled whenever the state changes.
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a worker panicked while it held the queue")
    }
}

/// Examples of a run, in order.
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Loader {
    /// Starts the workers.
    pub fn new(mix: Arc<Mix>, mut config: LoaderConfig) -> Result<Self> {
        config.stride = config.stride.max(1);
        let first = config.first;
        let state = State { next: first, due: first, ready: BTreeMap::new(), closed: false, given: 0, waited: Duration::ZERO };
        let threads = config.threads.max(1);
        let shared = Arc::new(Shared { mix, config, state: Mutex::new(state), changed: Condvar::new() });
        let mut loader = Self { shared: shared.clone(), workers: Vec::new() };
        for i in 0..threads {
            let shared = shared.clone();
            let worker = std::thread::Builder::new().name(format!("loader-{i}")).spawn(move || work(&shared));
            loader.workers.push(worker.map_err(|e| Error::Memory(format!("no thread for loader worker {i} of {threads}: {e}")))?);
        }
        Ok(loader)
    }

    /// The next example. One that cannot be read is an error in its place; the one after it comes at the next call.
    #[expect(clippy::should_implement_trait, reason = "an endless, fallible sequence is no iterator")]
    pub fn next(&mut self) -> Result<Loaded> {
        let began = Instant::now();
        let mut state = self.shared.lock();
        loop {
            let due = state.due;
            if let Some(loaded) = state.ready.remove(&due) {
                state.due += self.shared.config.stride;
                state.given += 1;
                state.waited += began.elapsed();
                self.shared.changed.notify_all();
                drop(state);
                return loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
            state = self.shared.changed.wait(state).expect("a worker panicked while it held the queue");
        }
    }

    /// How well it keeps up; starts a new count.
    pub fn report(&self) -> Report {
        let mut state = self.shared.lock();
        Report {
            ready: state.ready.len(),
            queue: self.shared.config.queue,
            given: std::mem::take(&mut state.given),
            waited_s: std::mem::take(&mut state.waited).as_secs_f64(),
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        if let Ok(mut state) = self.shared.state.lock() {
            state.closed = true;
        }
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // A worker's panic has been printed; there is nothing to add while closing.
            let _ = worker.join();
        }
    }
}

fn work(shared: &Shared) {
    loop {
        let number = {
            let mut state = shared.lock();
            // Workers run ahead of what is due by no more than the queue, counting what is under way.
            let ahead = shared.config.queue.max(1) as u64 * shared.config.stride;
            while !state.closed && state.next >= state.due + ahead {
                state = shared.changed.wait(state).expect("a worker panicked while it held the queue");
            }
            if state.closed {
                return;
            }
            let number = state.next;
            state.next += shared.config.stride;
            number
        };
        let loaded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| prepare(&shared.mix, &shared.config, number)));
        shared.lock().ready.insert(number, loaded);
        shared.changed.notify_all();
    }
}
