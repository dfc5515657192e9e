//! `cargo bench --bench ops -- [OPTIONS]` is `anyfold bench ops [OPTIONS]`.

use clap::Parser;

fn main() -> std::process::ExitCode {
    // Cargo itself passes `--bench`.
    let options = std::env::args().skip(1).filter(|a| a != "--bench");
    let cli = anyfold::cli::Cli::parse_from(["anyfold", "bench", "ops"].map(String::from).into_iter().chain(options));
    match anyfold::cli::run(cli) {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("error: {error}");
            2.into()
        }
    }
}
