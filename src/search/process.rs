//! A child process with a time limit, its own process group, and the end of what it printed. The only place that knows signals.
//!
//! A program that hangs, or one that runs when the user stops, is ended with everything that it started.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use wait_timeout::ChildExt;

use crate::error::{Error, Result};

/// Bytes of a program's output that are kept for its error message.
const TAIL: usize = 6000;
/// How long a program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// What ends a program before it ends itself.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest run.
    pub time: Duration,
    /// Set when the user wants to stop.
    pub stop: Arc<AtomicBool>,
}

impl Limits {
    /// Whether the user wants to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// An error when the user wants to stop.
    pub fn check(&self) -> Result<()> {
        if self.stopped() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// One run of a program.
#[derive(Debug, Clone)]
pub struct Call {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl Call {
    /// A call without arguments yet.
    pub fn new(program: &Path) -> Self {
        Self { program: program.to_path_buf(), args: Vec::new() }
    }

    /// Adds arguments.
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The program's name for messages.
    pub fn name(&self) -> String {
        self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy().into_owned()
    }

    fn line(&self) -> String {
        let words = std::iter::once(self.program.as_os_str()).chain(self.args.iter().map(OsString::as_os_str));
        words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Runs the program in `folder` and waits. An error names the command, how it ended and the end of what it printed.
    pub fn run(&self, folder: &Path, limits: &Limits) -> Result<()> {
        limits.check()?;
        tracing::info!("running {}", self.line());
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        own_group(&mut command);
        let child = command.spawn().map_err(|e| Error::Program(format!("{} cannot be started: {e}", self.program.display())))?;
        let mut child = Guard { child, ended: false };
        let tails = [Tail::of(child.child.stdout.take()), Tail::of(child.child.stderr.take())];
        let failed = |how: String| Error::Program(format!("{} {how}\n  command: {}{}", self.name(), self.line(), printed(&tails)));
        let start = Instant::now();
        loop {
            match child.child.wait_timeout(Duration::from_millis(50)) {
                Err(e) => return Err(failed(format!("cannot be waited for: {e}"))),
                Ok(Some(status)) => {
                    child.ended = true;
                    return if status.success() { Ok(()) } else { Err(failed(format!("failed ({status})"))) };
                }
                Ok(None) if limits.stopped() => return Err(Error::Interrupted),
                Ok(None) if start.elapsed() > limits.time => {
                    let how = format!("did not end within {} s and was stopped (--timeout sets the limit)", limits.time.as_secs_f32());
                    return Err(failed(how));
                }
                Ok(None) => {}
            }
        }
    }
}

/// Ends the child and its group unless it ended by itself.
struct Guard {
    child: Child,
    ended: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        signal_group(&mut self.child, false);
        if !matches!(self.child.wait_timeout(GRACE), Ok(Some(_))) {
            tracing::warn!("process {} did not end when asked and was killed", self.child.id());
        }
        // Whatever the program started may outlive it; the group's id stays taken for as long as any of them runs.
        signal_group(&mut self.child, true);
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
}

#[cfg(not(unix))]
fn own_group(_: &mut Command) {}

/// Asks the child's group to end, or kills it.
#[cfg(unix)]
fn signal_group(child: &mut Child, kill: bool) {
    mod c {
        unsafe extern "C" {
            /// POSIX `kill(2)`: a negative `pid` means the process group.
            pub fn kill(pid: i32, signal: i32) -> i32;
        }
    }
    const SIGKILL: i32 = 9;
    const SIGTERM: i32 = 15;
    let group = -(child.id() as i32);
    // SAFETY: kill reads its two integers only. The group is that of a child which we started as its leader, so it is not our own.
    unsafe { c::kill(group, if kill { SIGKILL } else { SIGTERM }) };
}

#[cfg(not(unix))]
fn signal_group(child: &mut Child, kill: bool) {
    if kill {
        let _ = child.kill();
    }
}

/// The end of a stream, read by a thread so that the program never blocks on a full pipe.
struct Tail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    closed: mpsc::Receiver<()>,
}

impl Tail {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(VecDeque::new()));
        let (sender, closed) = mpsc::channel();
        if let Some(mut stream) = stream {
            let bytes = bytes.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    let mut kept = bytes.lock().expect("no thread panics while it holds the tail");
                    kept.extend(&buffer[..n]);
                    let surplus = kept.len().saturating_sub(TAIL);
                    kept.drain(..surplus);
                }
                drop(sender);
            });
        }
        Self { bytes, closed }
    }

    fn text(&self) -> String {
        // The stream closes with the program; a grandchild that keeps it open must not hold up the message.
        let _ = self.closed.recv_timeout(Duration::from_millis(300));
        let bytes: Vec<u8> = self.bytes.lock().expect("no thread panics while it holds the tail").iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_string()
    }
}

/// What was printed last, standard error first.
fn printed([stdout, stderr]: &[Tail; 2]) -> String {
    let parts = [("stderr", stderr.text()), ("stdout", stdout.text())];
    parts.iter().filter(|(_, t)| !t.is_empty()).map(|(name, t)| format!("\n  {name}: {}", t.replace('\n', "\n    "))).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn limits(seconds: f32) -> Limits {
        Limits { time: Duration::from_secs_f32(seconds), stop: Arc::default() }
    }

    fn sh(script: &str, limit: f32) -> Result<()> {
        Call::new(Path::new("/bin/sh")).args(["-c", script]).run(Path::new("/"), &limits(limit))
    }

    #[test]
    fn failures_carry_what_was_printed() {
        sh("exit 0", 10.0).unwrap();
        let message = sh("echo progress; echo 'no such database' >&2; exit 3", 10.0).unwrap_err().to_string();
        assert!(message.starts_with("sh failed (exit status: 3)"), "{message}");
        assert!(message.contains("stderr: no such database") && message.contains("stdout: progress"), "{message}");
        let message = Call::new(Path::new("/no/such/program")).run(Path::new("/"), &limits(1.0)).unwrap_err().to_string();
        assert!(message.contains("/no/such/program cannot be started"), "{message}");
    }

    #[test]
    fn a_hanging_program_is_stopped_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let start = Instant::now();
        // The shell ignores SIGTERM, and its child would run on.
        let script = format!("trap '' TERM; sleep 600 & echo $! > {}; wait", file.display());
        let message = sh(&script, 0.5).unwrap_err().to_string();
        assert!(message.contains("did not end within 0.5 s"), "{message}");
        assert!(start.elapsed() < Duration::from_secs(20));
        let pid = std::fs::read_to_string(&file).unwrap();
        let running = || Command::new("kill").args(["-0", pid.trim()]).stderr(Stdio::null()).status().unwrap().success();
        // A killed orphan stays visible until init reaps it; where nobody reaps, its state is a zombie's.
        let zombie = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|s| s.contains(") Z"));
        assert!((0..100).any(|_| !running() || zombie() || {
            std::thread::sleep(Duration::from_millis(20));
            false
        }));
    }
}
