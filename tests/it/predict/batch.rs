//! Many targets: resuming, failing, staying inside the folder, the same bytes twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyfold::data::distill::Rules;
use anyfold::data::set::Set;
use anyfold::error::Error;
use anyfold::io::{fasta, text};
use anyfold::predict::batch::{Event, Options, State, run};
use anyfold::predict::distill::distill;
use anyfold::predict::input::{Files, targets};
use anyfold::predict::{Inputs, Request};

use super::fake::{self, failure, model, options, predict, single};

/// Files below a folder with their bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => drop(found.insert(path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found
}

/// Twenty records of real sequences, of which the 4th holds a digit and the 9th is DNA.
fn twenty(folder: &Path) -> PathBuf {
    let records = fasta::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/search/sequences.fasta.gz")).unwrap();
    let mut all = String::new();
    for (i, record) in records.iter().take(20).enumerate() {
        let sequence = match i {
            3 => format!("{}7{}", &record.sequence[..10], &record.sequence[10..]),
            8 => "ACGTTGCAAGGTCCAATTGGCA".into(),
            _ => record.sequence.clone(),
        };
        all += &format!(">{}\n{sequence}\n", record.description);
    }
    let path = folder.join("twenty.fasta");
    std::fs::write(&path, all).unwrap();
    path
}

#[test]
fn a_batch_of_twenty_with_two_bad_ones_gives_eighteen_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (twenty(folder.path()), folder.path().join("out"));
    let (options, models) = (options(out.clone()), [model("model_1_ptm")]);
    let (outcomes, runs) = predict(std::slice::from_ref(&input), &single(), &models, &options).unwrap();
    assert_eq!((outcomes.len(), runs), (20, 18));
    let failed: Vec<&str> = outcomes.iter().filter(|o| o.state != State::Done).map(failure).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].contains("twenty.fasta:8: `7` cannot be part of a sequence (after residue 10)"), "{failed:?}");
    assert!(failed[1].contains("twenty.fasta:17:") && failed[1].contains("looks like DNA or RNA"), "{failed:?}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 18);

    let before = contents(&out);
    let (again, runs) = predict(std::slice::from_ref(&input), &single(), &models, &options).unwrap();
    assert_eq!((again.iter().filter(|o| o.state == State::Reused).count(), runs), (18, 0));
    assert!(again.iter().filter(|o| o.state == State::Reused).all(|o| o.best.is_some()));
    assert!(before == contents(&out), "a second start changed something");

    // One folder is gone and one was interrupted: these two are done, and nothing else.
    let done: Vec<&str> = outcomes.iter().filter(|o| o.state == State::Done).map(|o| o.name.as_str()).collect();
    std::fs::remove_dir_all(out.join(done[2])).unwrap();
    let record = out.join(done[5]).join("prediction.json");
    std::fs::write(&record, std::fs::read_to_string(&record).unwrap().replace("\"finished\": true", "\"finished\": false")).unwrap();
    let (third, runs) = predict(&[input], &single(), &models, &options).unwrap();
    let predicted: Vec<&str> = third.iter().filter(|o| o.state == State::Done).map(|o| o.name.as_str()).collect();
    assert_eq!((runs, predicted), (2, vec![done[2], done[5]]));
}

#[test]
fn the_same_prediction_gives_the_same_bytes_but_for_the_timings() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("q.fasta");
    std::fs::write(&input, ">q a protein\nMKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV\n").unwrap();
    let files = |out: &str| {
        let out = folder.path().join(out);
        let options = Options { seeds: vec![3, 5], tensors: true, plots: true, ..options(out.clone()) };
        predict(std::slice::from_ref(&input), &single(), &[model("model_1_ptm"), model("model_3")], &options).unwrap();
        let named = contents(&out).into_iter().map(|(p, b)| (p.strip_prefix(&out).unwrap().to_path_buf(), b));
        named.filter(|(p, _)| !p.ends_with("timings.json")).collect::<BTreeMap<_, _>>()
    };
    let (first, second) = (files("a"), files("b"));
    assert!(first.len() > 25, "{:?}", first.keys());
    for (path, bytes) in &first {
        assert!(second[path] == *bytes, "{} differs", path.display());
    }
    assert_eq!(first.len(), second.len());
}

#[test]
fn hostile_headers_stay_inside_the_folder_and_inert_in_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let headers = [
        "../../../escaped".to_owned(),
        "/etc/passwd".into(),
        "<script>alert('x')</script> \"quoted\" </script><!--".into(),
        "x".repeat(10_000),
        "prötein–日本 naïve".into(),
        "CON".into(),
        "a/b\\c:d*e?f|g".into(),
        "..".into(),
        String::new(),
    ];
    let text: String = headers.iter().map(|h| format!(">{h}\nMKTAYIAKQRQISFVKSHFSRQ\n")).collect();
    let input = folder.path().join("hostile.fasta");
    std::fs::write(&input, text).unwrap();
    let out = folder.path().join("deep/er/out");
    let (outcomes, _) = predict(&[input], &single(), &[model("model_1_ptm")], &options(out.clone())).unwrap();
    assert!(outcomes.iter().all(|o| o.state == State::Done), "{outcomes:?}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), headers.len());
    let outside = |p: &Path| std::fs::read_dir(p).unwrap().count();
    assert_eq!((outside(folder.path()), outside(&folder.path().join("deep")), outside(&folder.path().join("deep/er"))), (2, 1, 1));
    for outcome in &outcomes {
        let page = std::fs::read_to_string(out.join(&outcome.name).join("report.html")).unwrap();
        assert!(!page.contains("<script>alert") && page.matches("</script>").count() == 3 && page.matches("<script").count() >= 3);
        assert!(outcome.name.len() <= 80, "{}", outcome.name);
    }
}

#[test]
fn a_failing_target_and_a_stop_leave_the_others_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("q.fasta");
    std::fs::write(&input, ">a\nMKTAYIAKQR\n>b\nMKTAYIAKQRW\n>c\nMKTAYIAKQRWW\n>nan\nMKTAYIAKQRWWW\n").unwrap();
    let out = folder.path().join("out");
    let all = || targets(std::slice::from_ref(&input), &single()).unwrap();
    let mut fails_at_11 = |inputs: Inputs, request: &Request| match request.n_res {
        11 => Err(Error::Memory("11 residues need more memory than there is; 10 fit".into())),
        13 => fake::network(inputs, request).map(|mut raw| {
            raw.positions[4][1][0] = f32::NAN;
            raw
        }),
        _ => fake::network(inputs, request),
    };
    let outcomes = run(all(), &[model("model_1")], &options(out.clone()), &mut fails_at_11, &|_: Event| ()).unwrap();
    let states: Vec<bool> = outcomes.iter().map(|o| o.state == State::Done).collect();
    assert_eq!(states, [true, false, true, false]);
    assert!(failure(&outcomes[1]).contains("10 fit") && failure(&outcomes[3]).contains("coordinates are not finite"));
    assert!(!out.join("b/ranked_0.pdb").exists() && !out.join("nan/ranked_0.pdb").exists());

    let stop = AtomicBool::new(false);
    let stops = Options { stop: &stop, overwrite: true, ..options(out.clone()) };
    let mut presses = |inputs: Inputs, request: &Request| {
        if request.n_res == 11 {
            stop.store(true, Ordering::Relaxed);
        }
        fake::network(inputs, request)
    };
    let ended = run(all(), &[model("model_1")], &stops, &mut presses, &|_: Event| ());
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    // The third target's earlier result was not reached, and the second start does what is missing.
    assert!(out.join("c/ranked_0.pdb").exists() && !out.join("b/ranked_0.pdb").exists());
    let (outcomes, runs) = predict(&[input], &single(), &[model("model_1")], &options(out)).unwrap();
    assert_eq!((runs, outcomes.iter().filter(|o| o.state == State::Done).count()), (2, 2));
}

/// Two models and two seeds, stopped after the third prediction: the second start makes the fourth, and the bytes are those of one run.
#[test]
fn a_stop_among_seeds_loses_one_prediction_and_no_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("q.fasta");
    std::fs::write(&input, ">q\nMKTAYIAKQRQISFVKSHFSRQ\n").unwrap();
    let models = [model("model_1_ptm"), model("model_3")];
    let whole = |out: &str| Options { seeds: vec![3, 5], tensors: true, ..options(folder.path().join(out)) };
    assert_eq!(predict(std::slice::from_ref(&input), &single(), &models, &whole("whole")).unwrap().1, 4);

    let stop = AtomicBool::new(false);
    let mut runs = 0;
    let mut presses = |inputs: Inputs, request: &Request| {
        runs += 1;
        stop.store(runs == 4, Ordering::Relaxed);
        fake::network(inputs, request)
    };
    let stops = Options { stop: &stop, ..whole("stopped") };
    let all = targets(std::slice::from_ref(&input), &single()).unwrap();
    assert!(matches!(run(all, &models, &stops, &mut presses, &|_: Event| ()), Err(Error::Interrupted)));
    assert!(!folder.path().join("stopped/q/ranked_0.pdb").exists());
    assert_eq!(predict(std::slice::from_ref(&input), &single(), &models, &whole("stopped")).unwrap().1, 1);
    let files = |out: &str| {
        let out = folder.path().join(out);
        let named = contents(&out).into_iter().map(|(p, b)| (p.strip_prefix(&out).unwrap().to_path_buf(), b));
        named.filter(|(p, _)| !p.ends_with("timings.json")).collect::<BTreeMap<_, _>>()
    };
    let (first, second) = (files("whole"), files("stopped"));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    assert!(first.keys().all(|p| !p.to_string_lossy().contains("partial")));
    first.iter().for_each(|(path, bytes)| assert!(second[path] == *bytes, "{} differs", path.display()));

    // What another run left unfinished is not taken up.
    let record = folder.path().join("stopped/q/prediction.json");
    std::fs::write(&record, std::fs::read_to_string(&record).unwrap().replace("\"finished\": true", "\"finished\": false")).unwrap();
    std::fs::write(folder.path().join("stopped/q/partial_model_1_ptm_pred_0.npz"), "damaged").unwrap();
    assert_eq!(predict(&[input], &single(), &models, &whole("stopped")).unwrap().1, 4);
}

#[test]
fn results_of_others_are_not_touched_unless_asked() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("q.fasta");
    std::fs::write(&input, ">q\nMKTAYIAKQR\n").unwrap();
    let out = folder.path().join("out");
    std::fs::create_dir_all(out.join("q")).unwrap();
    std::fs::write(out.join("q/ranked_0.pdb"), "theirs").unwrap();
    let go = |models: &[&str], overwrite| {
        let models: Vec<_> = models.iter().map(|m| model(m)).collect();
        predict(std::slice::from_ref(&input), &single(), &models, &Options { overwrite, ..options(out.clone()) }).unwrap().0.remove(0)
    };
    assert!(failure(&go(&["model_1"], false)).contains("another program's prediction"));
    assert_eq!(std::fs::read(out.join("q/ranked_0.pdb")).unwrap(), b"theirs");
    assert_eq!(go(&["model_1", "model_2", "model_3"], true).state, State::Done);
    assert!(out.join("q/ranked_2.pdb").exists());
    assert!(failure(&go(&["model_1"], false)).contains("other inputs, parameters or options"));
    assert!(out.join("q/ranked_2.pdb").exists());
    std::fs::create_dir(out.join("own")).unwrap();
    std::fs::write(out.join("own/pae_of_mine.json"), "mine").unwrap();
    std::fs::write(&input, ">own\nMKTAYIAKQR\n").unwrap();
    assert_eq!((go(&["model_1"], false).state, out.join("own/pae_of_mine.json").exists()), (State::Done, true));
    std::fs::write(&input, ">q\nMKTAYIAKQR\n").unwrap();
    assert_eq!(go(&["model_1"], true).state, State::Done);
    // No rank of the larger run stays beside the one rank of this.
    assert!(out.join("q/ranked_0.pdb").exists() && !out.join("q/ranked_1.pdb").exists() && !out.join("q/ranked_2.pdb").exists());
}

#[test]
fn confident_predictions_become_a_training_set() {
    let folder = tempfile::tempdir().unwrap();
    let all = fasta::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/search/sequences.fasta.gz")).unwrap();
    let records: Vec<_> = all.iter().filter(|r| r.sequence.len() > 100 && r.sequence.bytes().all(|b| b != b'X')).take(3).collect();
    let input = folder.path().join("q.fasta");
    let text: String = records.iter().enumerate().map(|(i, r)| format!(">t{i}\n{}\n", r.sequence)).collect();
    std::fs::write(&input, text).unwrap();
    for (i, r) in records.iter().enumerate().take(2) {
        let path = folder.path().join(format!("msa/t{i}.a3m"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!(">t{i}\n{0}\n>row\nA{1}\n", r.sequence, &r.sequence[1..])).unwrap();
    }
    let files = Files { alignments: vec![folder.path().join("msa")], ..Files::default() };
    let (out, set) = (folder.path().join("out"), folder.path().join("set"));
    let (outcomes, _) = predict(std::slice::from_ref(&input), &files, &[model("model_1")], &options(out.clone())).unwrap();
    let found: Vec<_> = targets(&[input], &files).unwrap().into_iter().flatten().collect();
    let rules = Rules { min_length: 50, min_rows: 2, min_residue_plddt: 75.0, min_mean_plddt: 50.0, ..Rules::default() };
    let go = || distill(&found, &outcomes, (&out, &set), &rules, &|_, _| (), &fake::GO_ON).unwrap();
    let report = go();
    assert_eq!((report.added, report.skipped.len()), (2, 1), "{report:?}");
    assert!(report.skipped[0].why.contains("an alignment of 1 rows"));
    let made = Set::open(&set).unwrap();
    let example = made.example(made.find("t0").unwrap()).unwrap();
    let labels = example.labels.unwrap();
    let scores = std::fs::read(out.join("t0/confidence_model_1_pred_0.json")).unwrap();
    let scores: serde_json::Value = serde_json::from_slice(&scores).unwrap();
    for (i, mask) in labels.mask.iter().enumerate() {
        let confident = scores["confidenceScore"][i].as_f64().unwrap() >= 75.0;
        assert_eq!(mask[1] == 1.0, confident, "residue {}", i + 1);
    }
    assert!(labels.is_distillation && example.alignment.n_seq() == 2 && labels.mask.iter().any(|m| m[1] == 0.0));
    assert_eq!(go().kept, 2);
}

#[test]
fn a_folder_that_cannot_be_written_is_said_first() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    text::write_whole(&file, b"x").unwrap();
    std::fs::write(folder.path().join("q.fasta"), ">q\nMKTAYIAKQR\n").unwrap();
    let error = predict(&[folder.path().join("q.fasta")], &single(), &[model("m")], &options(file.join("out"))).unwrap_err();
    assert!(error.to_string().contains("file/out"), "{error}");
}
