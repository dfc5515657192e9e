//! All searches of all queries: side by side within a budget of cores, with what is there reused, and an orderly end when the user stops.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::config::SearchConfig;
use super::process::Limits;
use super::steps::{Query, Search, Setting, check};
use super::tools;
use crate::error::{Error, Result};
use crate::io::fasta;

/// How queries are searched.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Cores used at one time, over all searches.
    pub cores: usize,
    /// Longest run of one program, and the user's wish to stop.
    pub limits: Limits,
    /// Searches again what is there already.
    pub overwrite: bool,
    /// Puts results into `OUT/<query>/msas`, as AlphaFold does, and not into `OUT/<query>`, as OpenFold does.
    pub msas_folder: bool,
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Searched now.
    Done,
    /// The result was there.
    Reused,
    /// The search went wrong, or one that it builds on did.
    Failed(String),
}

/// The outcome of one search of one query.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Name of the query.
    pub query: String,
    /// The file, by its final name.
    pub file: PathBuf,
    /// How it ended.
    pub state: State,
    /// Rows of the alignment, or hits.
    pub count: usize,
    /// Seconds it took.
    pub seconds: f64,
}

/// The queries of a FASTA file; a record that cannot be searched with is an error of its own, so that the others can go on.
pub fn read_queries(path: &Path) -> Result<Vec<Result<Query>>> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut queries = Vec::new();
    for (record, refused) in fasta::read_each(path)? {
        if let Some(error) = refused {
            queries.push(Err(error));
            continue;
        }
        let wrong = |what: String| Err(Error::at_line(path, record.line, what));
        let id: String = record.id().chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
        let sequence = record.sequence.to_ascii_uppercase();
        let odd = sequence.bytes().find(|b| !b.is_ascii_uppercase());
        queries.push(if id.is_empty() {
            wrong("a record without a name, which its folder needs".into())
        } else if id.starts_with('.') || id.starts_with('-') {
            wrong(format!("`{id}` cannot be the name of a folder of results"))
        } else if let Some(line) = seen.insert(id.to_ascii_lowercase(), record.line) {
            wrong(format!("`{id}` is the name of the record in line {line} as well; their results would lie in the same folder"))
        } else if let Some(b) = odd {
            wrong(format!("`{id}`: {} in a sequence to search with", b as char))
        } else {
            Ok(Query { id, sequence })
        });
    }
    Ok(queries)
}

/// A search of a query, by its number.
#[derive(Debug, Clone, Copy)]
struct Job {
    query: usize,
    search: Search,
}

/// Searches all queries. Fails as a whole only when nothing can be searched (a program is missing) or the user stops; everything else is in
/// the outcomes, in the order of the queries.
pub fn run(queries: &[Query], config: &SearchConfig, out: &Path, options: &RunOptions) -> Result<Vec<Outcome>> {
    let wanted = Search::wanted(config);
    for program in wanted.iter().flat_map(|s| s.programs()) {
        config.program(program)?;
    }
    std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
    let budget = options.cores.max(1);
    let shared = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(out).map_err(|e| Error::io(out, e))?;
    let mut setting = Setting {
        config,
        cores: budget.min(config.options.cores_per_search),
        limits: options.limits.clone(),
        mmseqs: None,
        source: Search::source(&wanted),
    };
    let mut batch = Batch { queries, out, options, bars: Bars::new((queries.len() * wanted.len()) as u64), outcomes: HashMap::new() };
    let mut pending = Vec::new();
    for (query, search) in (0..queries.len()).flat_map(|q| wanted.iter().map(move |&s| (q, s))) {
        let job = Job { query, search };
        if !batch.reuse(job)? {
            pending.push(job);
        }
    }
    if let Some(database) = config.mmseqs.as_ref().filter(|_| pending.iter().any(|j| j.search == Search::Mmseqs)) {
        setting.mmseqs = Some(mmseqs_database(config, database, shared.path(), &options.limits)?);
    }
    batch.work(&setting, pending, budget)?;
    let order = (0..queries.len()).flat_map(|q| wanted.iter().map(move |&s| (q, s)));
    Ok(order.filter_map(|key| batch.outcomes.remove(&key)).collect())
}

/// A database made with `mmseqs createdb` as it is, or one made of FASTA for this run.
fn mmseqs_database(config: &SearchConfig, database: &Path, folder: &Path, limits: &Limits) -> Result<PathBuf> {
    let mut kind = database.as_os_str().to_owned();
    kind.push(".dbtype");
    if Path::new(&kind).is_file() {
        return Ok(database.to_path_buf());
    }
    let made = folder.join("mmseqs_target");
    tools::mmseqs_createdb(&config.program("mmseqs")?, database, &made).run(folder, limits)?;
    Ok(made)
}

struct Batch<'a> {
    queries: &'a [Query],
    out: &'a Path,
    options: &'a RunOptions,
    bars: Bars,
    outcomes: HashMap<(usize, Search), Outcome>,
}

impl Batch<'_> {
    fn folder(&self, query: usize) -> PathBuf {
        let folder = self.out.join(&self.queries[query].id);
        if self.options.msas_folder { folder.join("msas") } else { folder }
    }

    fn finish(&mut self, job: Job, result: Result<usize>, reused: bool, seconds: f64) {
        let query = &self.queries[job.query].id;
        let file = self.folder(job.query).join(job.search.file());
        let (state, count) = match result {
            Ok(count) if reused => (State::Reused, count),
            Ok(count) => (State::Done, count),
            Err(e) => {
                self.bars.say(&format!("{query}: {}: {e}", job.search.file()));
                (State::Failed(e.to_string()), 0)
            }
        };
        self.bars.total.inc(1);
        let outcome = Outcome { query: query.clone(), file, state, count, seconds };
        self.outcomes.insert((job.query, job.search), outcome);
    }

    /// Takes a result that is there. One that is damaged or of another query is a failure, not silently replaced.
    fn reuse(&mut self, job: Job) -> Result<bool> {
        self.options.limits.check()?;
        let path = self.folder(job.query).join(job.search.file());
        if self.options.overwrite || !path.is_file() {
            return Ok(false);
        }
        let found = check(job.search, &path, &self.queries[job.query]);
        let found = found.map_err(|e| Error::Data(format!("{e}; remove the file or search again with --overwrite")));
        self.finish(job, found, true, 0.0);
        Ok(true)
    }

    /// Whether the alignment that a job starts from is there (`Some(true)`), failed (`Some(false)`) or is still to come.
    fn ready(&self, job: Job, source: Option<Search>) -> Option<bool> {
        let Some(source) = source.filter(|_| job.search.is_template()) else { return Some(true) };
        self.outcomes.get(&(job.query, source)).map(|o| !matches!(o.state, State::Failed(_)))
    }

    /// Works off the pending jobs: those that are ready begin in order while cores are free.
    fn work(&mut self, setting: &Setting, mut pending: Vec<Job>, budget: usize) -> Result<()> {
        let queries = self.queries;
        let (sender, results) = mpsc::channel();
        let mut running = 0;
        std::thread::scope(|scope| {
            loop {
                let mut i = 0;
                while i < pending.len() && !setting.limits.stopped() {
                    let job = pending[i];
                    match self.ready(job, setting.source) {
                        Some(false) => {
                            pending.remove(i);
                            let source = setting.source.map_or("", Search::file);
                            self.finish(job, Err(Error::Data(format!("left out, since {source} failed"))), false, 0.0);
                        }
                        Some(true) if (running + 1) * setting.cores <= budget => {
                            pending.remove(i);
                            running += 1;
                            let (folder, sender) = (self.folder(job.query), sender.clone());
                            let bar = self.bars.begin(&format!("{} {}", queries[job.query].id, job.search.file()));
                            scope.spawn(move || {
                                let start = Instant::now();
                                let made = std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e));
                                let result = made.and_then(|()| setting.run(job.search, &queries[job.query], &folder));
                                bar.finish_and_clear();
                                sender
                                    .send((job, result, start.elapsed().as_secs_f64()))
                                    .expect("the receiver outlives the scope's threads");
                            });
                        }
                        _ => i += 1,
                    }
                }
                if running == 0 {
                    break;
                }
                let (job, result, seconds) = results.recv().expect("a sender is kept here");
                running -= 1;
                if !matches!(result, Err(Error::Interrupted)) {
                    self.finish(job, result, false, seconds);
                }
            }
        });
        setting.limits.check()
    }
}

/// Progress: all searches, and a line for each that is running. Nothing is drawn where standard error is no terminal.
struct Bars {
    all: MultiProgress,
    total: ProgressBar,
}

impl Bars {
    fn new(length: u64) -> Self {
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} searches").expect("the template is constant");
        let total = all.add(ProgressBar::new(length).with_style(style));
        Self { all, total }
    }

    fn begin(&self, what: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("  {spinner} {elapsed} {msg}").expect("the template is constant");
        let bar = self.all.insert_before(&self.total, ProgressBar::new_spinner().with_style(style).with_message(what.to_string()));
        bar.enable_steady_tick(Duration::from_millis(500));
        bar
    }

    fn say(&self, line: &str) {
        self.all.suspend(|| eprintln!("{line}"));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.total.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_record_does_not_stop_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q.fasta");
        std::fs::write(&path, ">sp|P1|X some\nacd\n>b\nA-D\n>../x\nACD\n>SP|p1|x\nACD\n>digit\nAC1\n>none\n").unwrap();
        let queries = read_queries(&path).unwrap();
        assert_eq!(queries[0].as_ref().unwrap(), &Query { id: "sp_P1_X".into(), sequence: "ACD".into() });
        let messages: Vec<String> = queries[1..].iter().map(|q| q.as_ref().unwrap_err().to_string()).collect();
        assert!(messages[0].ends_with("q.fasta:3: `b`: - in a sequence to search with"), "{messages:?}");
        assert!(messages[1].contains("q.fasta:5: `.._x` cannot be the name"), "{messages:?}");
        assert!(messages[2].contains("is the name of the record in line 1 as well"), "{messages:?}");
        assert!(messages[3].contains("q.fasta:10: `1` cannot be part") && messages[4].contains("`none` has no sequence"), "{messages:?}");
    }
}
