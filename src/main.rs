//! The binary: parses the command line, prints an error on one line, sets the exit status.

use clap::Parser;

fn main() -> std::process::ExitCode {
    // Whoever reads what is printed may have seen enough (`| head`): that is no failure of this program.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload().downcast_ref::<String>();
        if said.is_some_and(|s| s.starts_with("failed printing to stdout")) {
            std::process::exit(0);
        }
        usual(panic);
    }));
    let cli = anyfold::cli::Cli::parse();
    match anyfold::cli::run(cli) {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("error: {error}");
            2.into()
        }
    }
}
