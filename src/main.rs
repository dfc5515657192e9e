//! The binary: parses the command line, prints an error on one line, sets the exit status.

use clap::Parser;

fn main() -> std::process::ExitCode {
    let cli = anyfold::cli::Cli::parse();
    match anyfold::cli::run(cli) {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("error: {error}");
            2.into()
        }
    }
}
