//! The link between the processes of a run, by MPI.
//!
//! All of MPI happens on one thread, from its beginning to its end, which takes jobs from the trainer in order: so what is exchanged is on its
//! way while the trainer runs its next example, and moves, which MPI's operations in the background do only within calls of MPI. The thread
//! polls and sleeps in between rather than spin, for the cores have other work.
//!
//! Every job begins with one exchange of what each process is about and how much it has to say. A process that ends with an error takes part in
//! one more such exchange, so that the others, wherever they are, hear of it in place of what they waited for, and nobody waits for ever. A
//! process that is killed or panics never says goodbye to MPI, upon which the launcher ends the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mpi::Threading;
use mpi::request::{Request, Scope, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence};

use super::ranks::{Failure, Place, Taken, add_in_order};
use crate::error::{Error, Result};

/// Between two looks at an exchange that is under way.
const PAUSE: Duration = Duration::from_micros(100);

/// What the trainer asks of the thread.
enum Job {
    Gather(String, Sender<Result<Vec<String>, Failure>>),
    Give(String, Vec<f32>),
    Take(Sender<Result<Taken, Failure>>),
    Fail(String, Sender<Failure>),
}

/// What a process is about, as the first exchange of a job says it.
const FAIL: u64 = 0;
const GATHER: u64 = 1;
const GIVE: u64 = 2;
const TAKE: u64 = 3;

/// A link to the other processes of a run.
#[derive(Debug)]
pub struct Link {
    place: Place,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    failed: Arc<AtomicBool>,
}

impl Link {
    /// Joins the processes that the launcher started; none when this is the only one. Once in a program's life.
    pub fn join() -> Result<Option<Self>> {
        let (told, place) = channel();
        // One example may wait while the one before it is on its way; more would only take memory.
        let (jobs, todo) = sync_channel(1);
        let failed = Arc::new(AtomicBool::new(false));
        let flag = failed.clone();
        let body = move || {
            let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else { return };
            let world = universe.world();
            let near = world.split_shared(world.rank());
            let size = |n: i32| usize::try_from(n).expect("MPI counts from 0");
            let place =
                Place { rank: size(world.rank()), count: size(world.size()), local: size(near.rank()), neighbours: size(near.size()) };
            if told.send(place).is_ok() && place.count > 1 {
                Talk { world, place, failure: None, failed: flag, records: Vec::new(), slice: Vec::new(), elements: 0 }.serve(&todo);
            }
        };
        let thread = std::thread::Builder::new().name("mpi".into()).spawn(body);
        let thread = thread.map_err(|e| Error::Memory(format!("no thread for MPI: {e}")))?;
        let place: Place = place.recv().map_err(|_| Error::Program("MPI could not be initialised".into()))?;
        let link = Self { place, jobs: Some(jobs), thread: Some(thread), failed };
        Ok((place.count > 1).then_some(link))
    }

    /// This process's place.
    pub fn place(&self) -> Place {
        self.place
    }

    fn send(&self, job: Job) {
        self.jobs.as_ref().expect("open until dropped").send(job).expect("the MPI thread lives as long as its link");
    }

    fn ask<T>(&self, job: impl FnOnce(Sender<T>) -> Job) -> T {
        let (reply, answer) = channel();
        self.send(job(reply));
        answer.recv().expect("the MPI thread answers")
    }

    /// What every process gives, in their order.
    pub fn gather(&self, text: String) -> Result<Vec<String>, Failure> {
        self.ask(|reply| Job::Gather(text, reply))
    }

    /// An example's record and clipped gradient. They go on their way and nothing is waited for; an error only if one is known already.
    pub fn give(&self, record: String, gradient: Vec<f32>) -> Result<(), Failure> {
        if self.failed.load(Ordering::Relaxed) {
            return self.take().map(|_| ());
        }
        self.send(Job::Give(record, gradient));
        Ok(())
    }

    /// Records and sum of all examples that were given since the last time, in the order of their numbers.
    pub fn take(&self) -> Result<Taken, Failure> {
        self.ask(Job::Take)
    }

    /// Tells the others that this process ends; gives the failure that they all hear of, of the first process when several end.
    pub fn fail(&self, message: String) -> Failure {
        self.ask(|reply| Job::Fail(message, reply))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.jobs = None;
        // After a panic the others may wait in another exchange for ever: the process must end without MPI's goodbye.
        if !std::thread::panicking()
            && let Some(thread) = self.thread.take()
        {
            // The thread's own panic has been printed.
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Talk {
    world: SimpleCommunicator,
    place: Place,
    failure: Option<Failure>,
    failed: Arc<AtomicBool>,
    records: Vec<String>,
    /// The sum of this process's part of the gradients so far.
    slice: Vec<f32>,
    /// Elements of a gradient.
    elements: usize,
}

impl Talk {
    // The trainer drops an answer's receiver only when it panics, so that answers that cannot be sent are nobody's loss.
    fn serve(mut self, todo: &Receiver<Job>) {
        for job in todo {
            match job {
                Job::Gather(text, reply) => drop(reply.send(self.round(GATHER, text))),
                Job::Give(record, gradient) => {
                    if let Ok(all) = self.round(GIVE, record) {
                        self.records.extend(all);
                        self.add(gradient);
                    }
                }
                Job::Take(reply) => {
                    let taken = self.round(TAKE, String::new()).map(|_| self.total());
                    drop(reply.send(taken));
                }
                Job::Fail(message, reply) => {
                    let failure = self.round(FAIL, message).expect_err("the exchange holds a failure");
                    drop(reply.send(failure));
                }
            }
        }
    }

    /// What all processes say, unless one fails or has failed.
    fn round(&mut self, about: u64, text: String) -> Result<Vec<String>, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let heads = self.exchange(&[about, text.len() as u64], 0);
        let (abouts, lengths): (Vec<u64>, Vec<usize>) = heads.chunks(2).map(|h| (h[0], h[1] as usize)).unzip();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut bytes = text.into_bytes();
        bytes.resize(longest, 0);
        let all = if longest == 0 { Vec::new() } else { self.exchange(&bytes, 0) };
        let said = |rank: usize| String::from_utf8_lossy(&all[rank * longest..][..lengths[rank]]).into_owned();
        if let Some(rank) = abouts.iter().position(|&a| a == FAIL) {
            let failure = Failure { rank, message: said(rank) };
            self.failure = Some(failure.clone());
            self.failed.store(true, Ordering::Relaxed);
            return Err(failure);
        }
        assert!(abouts.iter().all(|&a| a == about), "processes are about different things: {abouts:?}");
        Ok((0..self.place.count).map(said).collect())
    }

    /// The elements of all processes, one process after the other.
    fn exchange<T: Equivalence + Clone>(&self, own: &[T], blank: T) -> Vec<T> {
        let mut all = vec![blank; own.len() * self.place.count];
        scope(|s| wait(self.world.immediate_all_gather_into(s, own, &mut all[..])));
        all
    }

    /// Every process sums a part of the arena over all examples of the round, in their order, as the first half of an all-reduce does.
    fn add(&mut self, mut gradient: Vec<f32>) {
        let count = self.place.count;
        self.elements = gradient.len();
        let part = gradient.len().div_ceil(count);
        gradient.resize(part * count, 0.0);
        let mut parts = vec![0.0f32; part * count];
        scope(|s| wait(self.world.immediate_all_to_all_into(s, &gradient[..], &mut parts[..])));
        self.slice.resize(part, 0.0);
        add_in_order(&mut self.slice, &parts);
    }

    /// The second half: every process has all parts.
    fn total(&mut self) -> Taken {
        let slice = std::mem::take(&mut self.slice);
        let mut sum = self.exchange(&slice, 0.0);
        sum.truncate(self.elements);
        Taken { records: std::mem::take(&mut self.records), sum }
    }
}

fn wait<'a, D: ?Sized, S: Scope<'a>>(mut request: Request<'a, D, S>) {
    while let Err(pending) = request.test() {
        request = pending;
        std::thread::sleep(PAUSE);
    }
}
