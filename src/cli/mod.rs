//! The command line: one file per subcommand, each thin. The only user of clap and of exit codes.

use clap::{Parser, Subcommand};

pub mod bench;
mod bench_step;
mod checkpoint;
pub mod data;
pub mod devices;
pub mod evaluate;
pub mod inspect;
mod measure;
pub mod params;
pub mod plan;
pub mod predict;
pub mod report;
pub mod search;
pub mod stop;
pub mod templates;
pub mod train;
pub mod verify;

/// AlphaFold 2 training and prediction on any GPU.
#[derive(Debug, Parser)]
#[command(name = "anyfold", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands, one file each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure how fast this machine computes.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Data sets and features.
    #[command(subcommand)]
    Data(data::Data),
    /// List adapters and say which would be chosen.
    Devices(devices::Devices),
    /// Compare a predicted structure with a reference.
    Evaluate(evaluate::Evaluate),
    /// Look into what runs on the adapter.
    #[command(subcommand)]
    Inspect(inspect::Inspect),
    /// Look into, make and convert files of parameters.
    #[command(subcommand)]
    Params(params::Params),
    /// Predict structures from sequences, alignments or features.
    Predict(Box<predict::Predict>),
    /// Say what a training step or a prediction will take.
    Plan(plan::Plan),
    /// Make one HTML page of a training run.
    Report(report::Report),
    /// Train a network on data sets.
    Train(train::Train),
    /// Compare golden cases with what this program computes.
    Verify(verify::Verify),
    /// Search databases for alignments and templates.
    Search(search::Search),
}

/// Runs the command line and gives the exit status: 0 done, 1 some of the work failed, 2 refused.
pub fn run(cli: Cli) -> crate::error::Result<u8> {
    match cli.command {
        Command::Bench(command) => bench::run(&command),
        Command::Data(command) => data::run(command),
        Command::Devices(args) => devices::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Inspect(command) => inspect::run(&command),
        Command::Params(command) => params::run(&command),
        Command::Predict(args) => predict::on_device(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Search(args) => search::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Verify(args) => verify::run(&args),
    }
}
