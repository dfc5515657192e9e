//! Searches that go wrong: programs that are missing, fail, hang or are stopped; results that are damaged or of another sequence.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::search_programs::anyfold;

/// A program in jackhmmer's place: it writes the query as its only row, except for the sequences `fails` and `hangs`.
const FAKE: &str = r#"#!/bin/sh
while [ $# -gt 2 ]; do [ "$1" = -A ] && out=$2; shift; done
name=$(sed -n 's/^>//p' "$1"); residues=$(sed 1d "$1")
case $name in
fails) echo 'Error: the database is odd' >&2; exit 1;;
hangs) sleep 600 & echo $! > "$2.pid"; wait;;
esac
printf '# STOCKHOLM 1.0\n\n%s %s\n#=GC RF %s\n//\n' "$name" "$residues" "$(echo $residues | tr A-Z x)" > "$out"
"#;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(fasta: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::write(place.at("fake"), FAKE).unwrap();
        std::fs::set_permissions(place.at("fake"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(place.at("u.fasta"), ">a\nACD\n").unwrap();
        std::fs::write(place.at("q.fasta"), fasta).unwrap();
        std::fs::write(place.at("db.toml"), "uniref90 = 'u.fasta'\n[programs]\njackhmmer = './fake'\n").unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn args(&self) -> Vec<String> {
        let at = |n: &str| self.at(n).to_str().unwrap().to_owned();
        vec!["search".into(), at("q.fasta"), "--db".into(), at("db.toml"), "--out".into(), at("out")]
    }

    /// Exit status and what was printed to standard error.
    fn search(&self, more: &[&str]) -> (i32, String) {
        let args = self.args();
        let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let output = anyfold(&args);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn result(&self, query: &str) -> PathBuf {
        self.at("out").join(query).join("uniref90_hits.sto")
    }

    /// Whether nothing unfinished is left behind in the results of a query.
    fn is_clean(&self, query: &str) -> bool {
        let hidden = |p: PathBuf| std::fs::read_dir(p).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().starts_with('.'));
        !hidden(self.at("out")) && !hidden(self.at("out").join(query))
    }
}

#[test]
fn a_failing_search_names_its_cause_and_the_others_go_on() {
    let place = Place::new(">good\nMKTAYIAK\n>fails\nMKTA\n>odd\nMK-A\n>fine\nMKTW\n");
    let (status, printed) = place.search(&["--json", place.at("r.json").to_str().unwrap()]);
    assert_eq!(status, 1, "{printed}");
    assert!(printed.contains("fails: uniref90_hits.sto: fake failed (exit status: 1)"), "{printed}");
    assert!(printed.contains("stderr: Error: the database is odd") && printed.contains("--incE 0.0001"), "{printed}");
    assert!(printed.contains("left out:") && printed.contains("q.fasta:5: `odd`"), "{printed}");
    assert!(place.result("good").is_file() && place.result("fine").is_file() && !place.result("fails").exists());
    assert!(place.is_clean("fails") && place.is_clean("good"));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(place.at("r.json")).unwrap()).unwrap();
    let states: Vec<_> = json["searches"].as_array().unwrap().iter().map(|s| s["state"].is_object()).collect();
    assert_eq!(states, [false, true, false]);
}

#[test]
fn missing_programs_and_databases_are_refused_at_once() {
    let place = Place::new(">a\nMKTA\n");
    std::fs::write(place.at("db.toml"), "uniref90 = 'u.fasta'\n[programs]\njackhmmer = './none'\n").unwrap();
    let (status, printed) = place.search(&[]);
    assert!(status == 2 && printed.contains("error: program jackhmmer:") && printed.contains("none is not there"), "{printed}");
    std::fs::write(place.at("db.toml"), "uniref90 = 'none.fasta'\n").unwrap();
    let (status, printed) = place.search(&[]);
    assert!(status == 2 && printed.contains("db.toml: database `uniref90`:") && printed.contains("none.fasta is not there"), "{printed}");
    assert!(!place.at("out").exists());
    let (status, printed) = place.search(&["--timeout", "0"]);
    assert!(status == 2 && printed.contains("--timeout 0"), "{printed}");
}

#[test]
fn results_of_another_sequence_are_kept_and_reported() {
    let place = Place::new(">a\nMKTA\n");
    assert_eq!(place.search(&[]).0, 0);
    std::fs::write(place.at("q.fasta"), ">a\nMKTW\n").unwrap();
    let before = std::fs::read(place.result("a")).unwrap();
    let (status, printed) = place.search(&[]);
    assert!(status == 1 && printed.contains("of another query") && printed.contains("--overwrite"), "{printed}");
    assert_eq!(std::fs::read(place.result("a")).unwrap(), before);
    assert_eq!(place.search(&["--overwrite"]).0, 0);
    assert_ne!(std::fs::read(place.result("a")).unwrap(), before);
    // A result that was cut off is reported as well.
    std::fs::write(place.result("a"), "# STOCKHOLM 1.0\n\na MK").unwrap();
    assert_eq!(place.search(&[]).0, 1);
}

fn is_running(pid: &str) -> bool {
    let alive = Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().unwrap().success();
    // An orphan that was killed stays in the table until it is waited for.
    alive && !std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z"))
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited for {what} in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_hanging_program_is_stopped_with_its_children() {
    let place = Place::new(">hangs\nMKTA\n>good\nMKTA\n");
    let start = Instant::now();
    let (status, printed) = place.search(&["--timeout", "1", "--cores", "1"]);
    assert!(status == 1 && printed.contains("did not end within 1 s") && printed.contains("--timeout"), "{printed}");
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(place.result("good").is_file() && place.is_clean("hangs"));
    let pid = std::fs::read_to_string(place.at("u.fasta.pid")).unwrap();
    wait_until("the child of the hanging program to end", || !is_running(pid.trim()));
}

fn stopped_by(signal: &str) {
    let place = Place::new(">good\nMKTA\n>hangs\nMKTA\n>later\nMKTA\n");
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_anyfold")).args(place.args()).args(["--cores", "1"]).stderr(Stdio::piped()).spawn().unwrap();
    let pid_file = place.at("u.fasta.pid");
    wait_until("the search to begin", || std::fs::read_to_string(&pid_file).is_ok_and(|t| t.ends_with('\n')));
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let start = Instant::now();
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    wait_until("anyfold to end", || child.try_wait().unwrap().is_some());
    assert!(start.elapsed() < Duration::from_secs(10));
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && printed.contains("stopped on request"), "{printed}");
    wait_until("the program's child to end", || !is_running(pid.trim()));
    assert!(place.result("good").is_file() && !place.result("hangs").exists() && !place.at("out/later").exists());
    assert!(place.is_clean("hangs"));
}

#[test]
fn ctrl_c_stops_programs_and_keeps_what_is_whole() {
    stopped_by("-INT");
}

/// Batch systems send SIGTERM.
#[test]
fn a_termination_request_does_the_same() {
    stopped_by("-TERM");
}

#[test]
fn queries_run_side_by_side_within_the_budget() {
    let place = Place::new(&(0..6).map(|i| format!(">q{i}\nMKTA\n")).collect::<String>());
    // Each run notes when it begins and ends.
    let log = place.at("log");
    let script = FAKE.replace("case $name", &format!("echo + >> {0}; sleep 0.3; echo - >> {0}\ncase $name", log.display()));
    std::fs::write(place.at("fake"), script).unwrap();
    std::fs::write(place.at("db.toml"), "uniref90 = 'u.fasta'\n[options]\ncores_per_search = 2\n[programs]\njackhmmer = './fake'\n")
        .unwrap();
    assert_eq!(place.search(&["--cores", "6"]).0, 0);
    let (mut running, mut most) = (0, 0);
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        running += if line == "+" { 1 } else { -1 };
        most = most.max(running);
    }
    assert_eq!(most, 3);
    assert!(Path::new(&place.result("q5")).is_file());
}
