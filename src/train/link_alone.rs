//! What stands in the place of the link between processes in a program that is built without MPI: there is never one.

use super::ranks::{Failure, Place, Taken};
use crate::error::{Error, Result};

/// A link to other processes, which no value has.
#[derive(Debug)]
pub enum Link {}

impl Link {
    /// None; an error when a launcher started several processes, since each would take itself for the only one.
    pub fn join() -> Result<Option<Self>> {
        // OpenMPI's launcher and MPICH's tell the processes how many they are.
        let told = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].iter().find_map(|name| std::env::var(name).ok()?.parse::<usize>().ok());
        match told {
            Some(n) if n > 1 => Err(Error::Config(format!(
                "this is one of {n} processes that a launcher started, and the program was built without MPI; build it with `--features mpi`"
            ))),
            _ => Ok(None),
        }
    }

    /// This process's place.
    pub fn place(&self) -> Place {
        match *self {}
    }

    /// What every process gives, in their order.
    pub fn gather(&self, _: String) -> Result<Vec<String>, Failure> {
        match *self {}
    }

    /// An example's record and clipped gradient.
    pub fn give(&self, _: String, _: Vec<f32>) -> Result<(), Failure> {
        match *self {}
    }

    /// Records and sum of all examples that were given.
    pub fn take(&self) -> Result<Taken, Failure> {
        match *self {}
    }

    /// Tells the others that this process ends.
    pub fn fail(&self, _: String) -> Failure {
        match *self {}
    }
}
