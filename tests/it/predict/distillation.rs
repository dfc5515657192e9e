//! Predictions as training examples by the published rule: a reference, judged residues, a set, a mix with experiments.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyfold::data::distill::{Reference, Rules};
use anyfold::data::features::FeatureConfig;
use anyfold::data::loader::{Loader, LoaderConfig};
use anyfold::data::policy::{Filter, Mix, Part};
use anyfold::data::prepare::{self, prepare};
use anyfold::data::set::Set;
use anyfold::io::fasta;
use anyfold::predict::batch::{Distograms, Options, Outcome};
use anyfold::predict::distill::{distill, reference};
use anyfold::predict::input::{Files, targets};

use super::fake::{self, model, options, predict, single};

const ROWS: usize = 5;

/// Real sequences of 100 and more residues with alignments of a few rows; the FASTA file.
fn sequences(folder: &Path, n: usize) -> PathBuf {
    let all = fasta::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/search/sequences.fasta.gz")).unwrap();
    let records: Vec<_> = all.iter().filter(|r| r.sequence.len() > 100 && r.sequence.bytes().all(|b| b != b'X')).take(n).collect();
    std::fs::create_dir_all(folder.join("msa")).unwrap();
    let mut text = String::new();
    for (i, r) in records.iter().enumerate() {
        text += &format!(">t{i}\n{}\n", r.sequence);
        let rows: String = (1..ROWS).map(|k| format!(">row{k}\n{}{}\n", "A".repeat(k), &r.sequence[k..])).collect();
        std::fs::write(folder.join(format!("msa/t{i}.a3m")), format!(">t{i}\n{}\n{rows}", r.sequence)).unwrap();
    }
    let path = folder.join("q.fasta");
    std::fs::write(&path, text).unwrap();
    path
}

/// A reference of distograms that say nothing.
fn flat(folder: &Path, input: &Path) -> Reference {
    let out = folder.join("flat");
    let options = Options { distograms: Distograms::Averaged, seeds: vec![0, 1], ..options(out.clone()) };
    let go = || predict(&[input.to_path_buf()], &single(), &[model("model_1")], &options).unwrap();
    let (outcomes, runs) = go();
    let (made, n) = reference(&outcomes, &out).unwrap();
    assert_eq!((runs, n), (2 * outcomes.len(), outcomes.len()));
    // A second start predicts nothing and makes the same.
    let (again, runs) = go();
    assert!(runs == 0 && reference(&again, &out).unwrap().0 == made);
    made
}

fn judged(folder: &Path, name: &str, reference: &Reference) -> (Vec<Outcome>, Files, PathBuf) {
    let files = Files { alignments: vec![folder.join("msa")], ..Files::default() };
    let out = folder.join(format!("out-{name}"));
    let options = Options { distograms: Distograms::Judged(reference), ..options(out.clone()) };
    let (outcomes, _) = predict(&[folder.join("q.fasta")], &files, &[model(name)], &options).unwrap();
    (outcomes, files, out)
}

#[test]
fn residues_that_the_distogram_places_are_kept_and_mix_with_experiments() {
    let folder = tempfile::tempdir().unwrap();
    let input = sequences(folder.path(), 3);
    let reference = flat(folder.path(), &input);
    let rules = Rules { min_length: 50, min_rows: ROWS, min_mean_plddt: 99.0, ..Rules::default() };
    let set = folder.path().join("set");
    let add = |name: &str, set: &Path| {
        let (outcomes, files, out) = judged(folder.path(), name, &reference);
        let found: Vec<_> = targets(std::slice::from_ref(&input), &files).unwrap().into_iter().flatten().collect();
        distill(&found, &outcomes, (&out, set), &rules, &|_, _| (), &fake::GO_ON).unwrap()
    };
    // The mean pLDDT is far below what our own rule would ask for here: the distogram judges.
    let report = add("sharp_1", &set);
    assert_eq!((report.added, report.skipped.len()), (3, 0), "{report:?}");
    let made = Set::open(&set).unwrap();
    for (i, entry) in made.entries().iter().enumerate() {
        let example = made.example(i).unwrap();
        let labels = example.labels.unwrap();
        let kept: Vec<bool> = labels.mask.iter().map(|m| m[1] == 1.0).collect();
        let half = entry.length / 2;
        assert!(kept[..half].iter().all(|&k| k) && kept[half..].iter().all(|&k| !k), "{}: {kept:?}", entry.id);
        assert!(entry.is_distillation && labels.is_distillation && labels.resolution == 0.0 && example.templates.is_empty());
    }
    // A network that knows nothing gives no example.
    let nothing = add("model_2", &folder.path().join("none"));
    assert!(nothing.added == 0 && nothing.skipped.iter().all(|s| s.why.contains("no residue is confident")), "{nothing:?}");

    let experiments = folder.path().join("experiments");
    let structures = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/data/files");
    let options = prepare::Options::default();
    assert!(prepare(&structures, &experiments, &options, &|_, _| {}, &AtomicBool::new(false)).unwrap().added > 0);
    mixed(&set, &experiments);
}

/// Three of four examples are predictions, and they train without the losses that need a resolution.
fn mixed(predictions: &Path, experiments: &Path) {
    let part = |set: &Path, share| Part { set: set.to_path_buf(), share, filter: Filter::default() };
    let mix = Arc::new(Mix::open(&[part(predictions, 0.75), part(experiments, 0.25)]).unwrap());
    let drawn = (0..4000).filter(|&k| mix.draw(7, k).0 == 0).count();
    assert!((2900..3100).contains(&drawn), "{drawn} of 4000 examples are predictions");
    let features = FeatureConfig::training(64, 8, 8);
    let config = LoaderConfig { features, seed: 7, first: 0, stride: 1, batch: 1, max_passes: 2, threads: 2, queue: 4 };
    let mut loader = Loader::new(mix.clone(), config).unwrap();
    for k in 0..12 {
        let loaded = loader.next().unwrap();
        let labels = loaded.labels.unwrap();
        assert_eq!(labels["resolution"].to_f64()[0] == 0.0, mix.draw(7, k).0 == 0, "example {k}");
    }
}
