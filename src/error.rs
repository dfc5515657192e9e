//! What users and machines get wrong, as values. Programmers' mistakes panic instead.
//!
//! Every message names the thing at fault (file and line, adapter, tensor, option) and, where there is one, what to try.
//! The command line prints it on one line and exits with status 2. This module knows no other module of the crate.

use std::path::{Path, PathBuf};

/// A failure that is not the programmer's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read, written or found.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file was read and its content is wrong.
    #[error("{path}{at}: {what}", path = .path.display(), at = .line.map(|l| format!(":{l}")).unwrap_or_default())]
    Format {
        /// The file.
        path: PathBuf,
        /// One-based line, where the format has lines.
        line: Option<usize>,
        /// What is wrong, with the name at fault and what was expected.
        what: String,
    },
    /// No adapter, an adapter that cannot do the work, a lost device.
    #[error("{0}")]
    Device(String),
    /// Something does not fit in memory; the message says what would make it fit.
    #[error("{0}")]
    Memory(String),
    /// A wrong option, configuration key or value.
    #[error("{0}")]
    Config(String),
    /// Input data that was read well but cannot be used.
    #[error("{0}")]
    Data(String),
    /// Another program is missing, failed or hung.
    #[error("{0}")]
    Program(String),
    /// The user asked to stop.
    #[error("stopped on request")]
    Interrupted,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Io`] for `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// An [`Error::Format`] without a line.
    pub fn format(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Error::Format { path: path.as_ref().to_path_buf(), line: None, what: what.into() }
    }

    /// An [`Error::Format`] at a one-based line.
    pub fn at_line(path: impl AsRef<Path>, line: usize, what: impl Into<String>) -> Self {
        Error::Format { path: path.as_ref().to_path_buf(), line: Some(line), what: what.into() }
    }
}
