//! `anyfold predict` as users call it, with the made-up network in the network's place.

use std::path::{Path, PathBuf};

use anyfold::cli::predict::{Predict, run};
use anyfold::error::{Error, Result};
use anyfold::predict::Run;
use anyfold::predict::parameters::Found;
use clap::Parser;
use serde_json::Value;

use super::fake;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    predict: Predict,
}

fn open(_: &[Found]) -> Result<Box<Run<'static>>> {
    Ok(Box::new(fake::network))
}

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.put("params_model_1_ptm.npz", "made up");
        folder.put("params_model_3.npz", "made up");
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        std::fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        std::fs::write(self.at(name), text).unwrap();
        self.at(name)
    }

    /// Names of files are put into the folder; everything else stays.
    fn run(&self, line: &str) -> Result<u8> {
        let word = |w: &str| {
            if w.contains('.') && !w.starts_with('-') && w.parse::<f64>().is_err() { self.at(w).display().to_string() } else { w.into() }
        };
        let words = ["predict".to_owned()].into_iter().chain(line.split_whitespace().map(word));
        run(&Line::try_parse_from(words).unwrap_or_else(|e| panic!("{e}")).predict, &open)
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.at(name)).unwrap()).unwrap()
    }
}

#[test]
fn relaxation_is_refused_with_its_sentence() {
    let bench = Bench::new();
    bench.put("q.fasta", ">q\nMKTAYIAKQR\n");
    let error = bench.run("q.fasta --out out.d --params params_model_3.npz --single-sequence --relax").unwrap_err();
    assert!(matches!(&error, Error::Config(what) if what.contains("Amber relaxation is an issue of its own")), "{error}");
    assert!(!bench.at("out.d").exists());
}

#[test]
fn a_batch_with_a_bad_record_ends_with_1_and_a_whole_one_with_0() {
    let bench = Bench::new();
    bench.put("q.fasta", ">a\nMKTAYIAKQR\n>b\nMKT1\n");
    bench.put("all.d/a.a3m", ">a\nMKTAYIAKQR\n>x\nMKTAYIAKQW\n");
    let line = "q.fasta --out out.d --params params_model_1_ptm.npz --params params_model_3.npz --alignments all.d --seeds 2 --seed 5 --recycles 1 \
                --max-msa 4:8 --no-plots --json o.json";
    assert_eq!(bench.run(line).unwrap(), 1);
    let outcomes = bench.json("o.json");
    let states: Vec<_> =
        outcomes["targets"].as_array().unwrap().iter().map(|t| (t["name"].as_str().unwrap(), t["state"].clone())).collect();
    assert_eq!((states[0].0, states[1].0, states[1].1.as_str()), ("b", "a", Some("done")));
    assert!(states[0].1["failed"].as_str().unwrap().contains("q.fasta:4: `1` cannot be part"));
    let ranking = bench.json("out.d/a/ranking_debug.json");
    assert_eq!(ranking["order"].as_array().unwrap().len(), 4);
    let record = bench.json("out.d/a/prediction.json");
    assert_eq!(
        (&record["settings"]["seeds"][1], record["settings"]["models"][1]["features"]["max_clusters"].as_u64()),
        (&Value::from(6), Some(4))
    );
    // Models with templates leave four rows to these.
    assert_eq!(record["settings"]["models"][0]["features"]["max_clusters"].as_u64(), Some(1));
    bench.put("q.fasta", ">a\nMKTAYIAKQR\n");
    assert_eq!(bench.run(line).unwrap(), 0);
    assert_eq!(bench.json("o.json")["targets"][0]["state"], "reused");
}

#[test]
fn wrong_options_and_missing_things_are_one_clear_message() {
    let bench = Bench::new();
    bench.put("q.fasta", ">q\nMKTAYIAKQR\n");
    bench.put("odd.npz", "x");
    let fails = |line: &str| bench.run(line).unwrap_err().to_string();
    let base = "q.fasta --out out.d --single-sequence";
    assert!(fails(&format!("{base} --params absent.npz --preset model_1")).contains("absent.npz"));
    assert!(fails(&format!("{base} --params odd.npz")).contains("give --preset"));
    assert!(fails(&format!("{base} --params odd.npz --preset model_7")).contains("no preset `model_7`"));
    assert!(fails(&format!("{base} --params params_model_3.npz --models model_2")).contains("no parameters for model_2"));
    assert!(fails(&format!("{base} --params params_model_3.npz --max-msa 12")).contains("--max-msa 12: expected"));
    assert!(fails(&format!("{base} --params params_model_3.npz --tolerance nan")).contains("--tolerance NaN"));
    assert_eq!(bench.run("q.fasta --out out.d --params params_model_3.npz").unwrap(), 1);
}

#[test]
fn searches_come_first_and_are_kept() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/search");
    if anyfold::search::config::find_program(Path::new("jackhmmer")).is_none() {
        return crate::shared::left_out("jackhmmer is not installed: predict --search was not run");
    }
    let bench = Bench::new();
    let sequences = anyfold::io::text::read_string(here.join("sequences.fasta.gz")).unwrap();
    bench.put("db.fasta", &sequences);
    bench.put("db.toml", "uniref90 = 'db.fasta'\n");
    bench.put("q.fasta", &std::fs::read_to_string(here.join("query.fasta")).unwrap());
    let line = "q.fasta --out out.d --params params_model_3.npz --search --db db.toml --cores 2 --no-plots --recycles 0";
    assert_eq!(bench.run(line).unwrap(), 0);
    assert!(bench.at("out.d/6kwc_A/msas/uniref90_hits.sto").is_file());
    let rows = bench.json("out.d/6kwc_A/prediction.json")["target"]["alignment_rows"].as_u64().unwrap();
    assert!(rows > 10, "{rows}");
    assert_eq!(bench.run(line).unwrap(), 0);
}
