//! The processes that share a run: each has its own adapter and its own examples, and all hold the same parameters.
//!
//! Example e of a step is process e mod N's, and everything random in it is keyed by its number in the run, so that how many processes there
//! are decides no bit. Process 0 writes what is written. Must not know how messages travel ([`super::link`] does), nor the device.

use super::link::Link;
use crate::error::{Error, Result};

/// Where a process stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub rank: usize,
    /// Processes in all.
    pub count: usize,
    /// Its number among those of its machine.
    pub local: usize,
    /// Processes of its machine.
    pub neighbours: usize,
}

/// That a process ended, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which one.
    pub rank: usize,
    /// What it said.
    pub message: String,
}

/// What all processes' examples of a step came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// Their records, in the order of the examples.
    pub records: Vec<String>,
    /// The sum of their gradients, added in that order.
    pub sum: Vec<f32>,
}

/// This process among those of a run.
#[derive(Debug)]
pub struct Ranks {
    place: Place,
    link: Option<Link>,
}

impl Ranks {
    /// The only process of a run.
    pub fn alone() -> Self {
        Self { place: Place { rank: 0, count: 1, local: 0, neighbours: 1 }, link: None }
    }

    /// Joins the processes that `mpirun` started; once in a program's life.
    pub fn join() -> Result<Self> {
        Ok(match Link::join()? {
            Some(link) => Self { place: link.place(), link: Some(link) },
            None => Self::alone(),
        })
    }

    /// Where this process stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Whether this is the process that writes and prints.
    pub fn first(&self) -> bool {
        self.place.rank == 0
    }

    /// The link to the others, where there are any.
    pub fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// What every process gives, in their order; an error where one has failed.
    pub fn gather(&self, text: String) -> Result<Vec<String>> {
        match &self.link {
            Some(link) => link.gather(text).map_err(|f| self.heard(&f)),
            None => Ok(vec![text]),
        }
    }

    /// Waits until all processes are here.
    pub fn meet(&self) -> Result<()> {
        self.gather(String::new()).map(|_| ())
    }

    /// Whether any process says so.
    pub fn any(&self, flag: bool) -> Result<bool> {
        Ok(self.gather(if flag { "1" } else { "" }.into())?.iter().any(|said| !said.is_empty()))
    }

    /// Refuses to go on when a process has another one of these than process 0.
    pub fn same(&self, what: &str, own: String, advice: &str) -> Result<()> {
        let all = self.gather(own)?;
        match all.iter().position(|other| *other != all[0]) {
            None => Ok(()),
            Some(rank) => Err(Error::Program(format!("{what} of process {rank}: {}; of process 0: {}; {advice}", all[rank], all[0]))),
        }
    }

    /// The end: tells the others when this process failed, and hears when another did. Afterwards no process waits for another.
    pub fn close<T>(self, result: Result<T>) -> Result<T> {
        let Some(link) = &self.link else { return result };
        match result {
            Ok(value) => self.meet().map(|()| value),
            Err(error) => {
                let failure = link.fail(error.to_string());
                Err(if failure.rank == self.place.rank { error } else { self.heard(&failure) })
            }
        }
    }

    /// Another process's failure as an error of this one.
    pub fn heard(&self, failure: &Failure) -> Error {
        Error::Program(format!("process {} of {}: {}", failure.rank, self.place.count, failure.message))
    }
}

/// Adds to a sum, one after the other, as many parts of its length as there are: the order of the examples, and so the bits of one process
/// that adds them up.
pub fn add_in_order(sum: &mut [f32], parts: &[f32]) {
    for part in parts.chunks_exact(sum.len().max(1)) {
        sum.iter_mut().zip(part).for_each(|(total, x)| *total += x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_added_one_after_the_other() {
        // In this order the small numbers are lost one by one; a tree would have kept their sum.
        let mut sum = vec![1.0, 0.0];
        add_in_order(&mut sum, &[3e-8, 1.0, 3e-8, 2.0, 3e-8, 3.0]);
        assert_eq!(sum, [1.0, 6.0]);
        assert_ne!(1.0f32 + (3e-8 + 3e-8 + 3e-8), 1.0);
    }

    #[test]
    fn one_process_hears_itself() {
        let ranks = Ranks::alone();
        assert!(ranks.first() && ranks.any(true).unwrap() && !ranks.any(false).unwrap());
        assert_eq!(ranks.gather("x".into()).unwrap(), ["x"]);
        ranks.same("the adapter", "a".into(), "").unwrap();
        let failed: Result<()> = Err(Error::Data("chain 1".into()));
        assert_eq!(ranks.close(failed).unwrap_err().to_string(), "chain 1");
    }
}
