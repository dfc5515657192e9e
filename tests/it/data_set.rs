//! Data sets: what goes in comes out, runs add only what changed, examples do not depend on threads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyfold::data::distill::Rules;
use anyfold::data::features::FeatureConfig;
use anyfold::data::loader::{Loader, LoaderConfig};
use anyfold::data::policy::{Filter, Mix, Part};
use anyfold::data::prepare::{Options, Report, prepare};
use anyfold::data::set::Set;

use crate::shared::shared;

fn run(dir: &Path, out: &Path, options: &Options) -> Report {
    prepare(dir, out, options, &|_, _| {}, &AtomicBool::new(false)).unwrap()
}

fn config(threads: usize) -> LoaderConfig {
    LoaderConfig { features: FeatureConfig::training(64, 16, 32), seed: 5, first: 0, stride: 1, batch: 2, max_passes: 4, threads, queue: 3 }
}

#[test]
fn train_set_holds_what_its_list_states() {
    let (Some(data), Some(list)) = (shared("data"), shared("data/train_set.json")) else { return };
    let out = tempfile::tempdir().unwrap();
    let report = run(&data, out.path(), &Options::default());
    assert_eq!((report.added, report.kept, report.skipped), (131, 0, vec![]));
    let set = Set::open(out.path()).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(list).unwrap()).unwrap();
    for chain in json["chains"].as_array().unwrap() {
        let i = set.find(chain["id"].as_str().unwrap()).unwrap();
        let (entry, example) = (&set.entries()[i], set.example(i).unwrap());
        assert_eq!(entry.sequence, chain["sequence"].as_str().unwrap(), "{}", entry.id);
        assert_eq!(entry.length as u64, chain["length"].as_u64().unwrap(), "{}", entry.id);
        assert_eq!(entry.observed as u64, chain["n_residues_observed"].as_u64().unwrap(), "{}", entry.id);
        assert!((entry.backbone_observed - chain["backbone_observed"].as_f64().unwrap()).abs() < 6e-4, "{}", entry.id);
        assert_eq!(entry.resolution, chain["resolution"].as_f64(), "{}", entry.id);
        assert_eq!(entry.release_date.as_deref(), chain["release_date"].as_str(), "{}", entry.id);
        assert_eq!(entry.cluster, chain["cluster30"].as_str().unwrap(), "{}", entry.id);
        assert_eq!((example.alignment.n_seq(), example.n_res()), (entry.n_seq, entry.length));
        assert!(chain["msa"].as_array().unwrap().is_empty() == (entry.n_seq == 1), "{}", entry.id);
        let labels = example.labels.unwrap();
        let seen = labels.mask.iter().filter(|m| m.contains(&1.0)).count();
        assert!(seen <= entry.observed && seen > 0, "{}", entry.id);
    }
    let again = run(&data, out.path(), &Options::default());
    assert_eq!((again.added, again.kept), (0, 131));
    threads_do_not_matter(out.path());
}

/// The same examples from one worker and from three, and from the middle of a run.
fn threads_do_not_matter(set: &Path) {
    let mix = Arc::new(Mix::open(&[Part { set: set.to_path_buf(), share: 1.0, filter: Filter::default() }]).unwrap());
    let take = |config: LoaderConfig, n: usize| {
        let mut loader = Loader::new(mix.clone(), config).unwrap();
        let all: Vec<_> = (0..n).map(|_| loader.next().unwrap()).collect();
        assert_eq!(loader.report().given, n as u64);
        all
    };
    let one = take(config(1), 8);
    assert_eq!(one, take(config(3), 8));
    assert_eq!(one[5..], take(LoaderConfig { first: 5, ..config(2) }, 3));
    let second = take(LoaderConfig { first: 1, stride: 2, ..config(2) }, 3);
    assert!(second.iter().eq([&one[1], &one[3], &one[5]]), "the second of two processes has every other example");
    assert!(one.iter().zip(&one[1..]).any(|(a, b)| a.features.id != b.features.id));
    for pair in one.chunks(2) {
        assert_eq!(pair[0].features.passes.len(), pair[1].features.passes.len());
    }
}

#[test]
fn templates_are_older_and_of_other_entries() {
    let Some(data) = shared("data") else { return };
    let out = tempfile::tempdir().unwrap();
    let templates = Some(data.join("structures/mmcif"));
    assert_eq!(run(&data, out.path(), &Options { templates, ..Options::default() }).added, 131);
    let set = Set::open(out.path()).unwrap();
    let mut found = 0;
    for (i, entry) in set.entries().iter().enumerate() {
        for template in set.example(i).unwrap().templates {
            let (own, other) = (entry.id.split_once('_').unwrap().0, template.name.split_once('_').unwrap().0);
            assert!(!own.eq_ignore_ascii_case(other), "{}: {}", entry.id, template.name);
            let file = data.join(format!("structures/mmcif/{}.cif.gz", other.to_ascii_lowercase()));
            let released = anyfold::io::mmcif::read(file).unwrap().release_date;
            assert!(released <= entry.release_date, "{}: {} of {released:?}", entry.id, template.name);
            assert!(template.aatype.len() == entry.length && template.mask.iter().any(|m| m[1] == 1.0));
            found += 1;
        }
    }
    // Few entries of the list have hits, and fewer hits a file here.
    assert!(found > 0);
    // Without the folder, chains with hits are made of fewer files: their structures are read again, all others are left alone.
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(data.join("train_set.json")).unwrap()).unwrap();
    let chains = list["chains"].as_array().unwrap();
    let with_hits: Vec<&str> =
        chains.iter().filter(|c| c["template_hits"] != serde_json::json!([])).map(|c| c["file"].as_str().unwrap()).collect();
    let others = chains.iter().filter(|c| !with_hits.contains(&c["file"].as_str().unwrap())).count();
    assert!(!with_hits.is_empty());
    assert_eq!(run(&data, out.path(), &Options::default()).kept, others);
}

#[test]
fn folders_are_scanned_damage_is_listed_and_changes_are_made_anew() {
    let (Some(cif), Some(sto)) = (shared("goldens/data/files/2q2k.cif"), shared("goldens/data/files/2q2k_A_uniprot_hits.sto")) else {
        return;
    };
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    put("mmcif/2q2k.cif", &std::fs::read(&cif).unwrap());
    put("mmcif/1bad.cif", &std::fs::read(&cif).unwrap()[..5000]);
    put("alignments/2q2k_A/bfd_uniclust_hits.sto", &std::fs::read(&sto).unwrap());
    put("alignments/2q2k_B/bfd_uniclust_hits.a3m", b">q\nMGSS\n>r\nMG\n");
    let options = Options::default();
    let report = run(dir.path(), out.path(), &options);
    assert_eq!(report.added, 1);
    let skipped: Vec<_> = report.skipped.iter().map(|s| (s.what.as_str(), s.why.as_str())).collect();
    assert!(skipped.iter().any(|s| s.0 == "2q2k_B" && s.1.contains("bfd_uniclust_hits.a3m:3")), "{skipped:?}");
    assert!(skipped.iter().any(|s| s.0.contains("1bad") && s.1.contains("1bad.cif")), "{skipped:?}");
    let set = Set::open(out.path()).unwrap();
    assert_eq!((set.entries().len(), set.entries()[0].n_seq > 1), (1, true));
    let n_seq = set.entries()[0].n_seq;
    let first = set.example(0).unwrap();

    // A changed alignment is read again; the set's other bytes stay as they are.
    let shorter = anyfold::io::stockholm_text::truncate(&std::fs::read_to_string(&sto).unwrap(), 3);
    put("alignments/2q2k_A/bfd_uniclust_hits.sto", shorter.as_bytes());
    assert_eq!(run(dir.path(), out.path(), &options).added, 1);
    let second = Set::open(out.path()).unwrap();
    assert!(second.entries()[0].n_seq < n_seq && second.entries()[0].shard == 1);
    assert_eq!(set.example(0).unwrap(), first);

    // A damaged shard is noticed.
    let shard = out.path().join("part-00001.bin");
    let mut bytes = std::fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    let e = Set::open(out.path()).unwrap().example(0).unwrap_err().to_string();
    assert!(e.contains("checksum of `2q2k_A`") && e.contains("part-00001.bin"), "{e}");
    std::fs::write(&shard, b"").unwrap();
    assert!(Set::open(out.path()).unwrap_err().to_string().contains("cut off"));
}

#[test]
fn clusters_are_read_from_lines_pairs_and_lists() {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/data/files");
    let folder = tempfile::tempdir().unwrap();
    let prepared = |name: &str, clusters: Option<&str>| {
        let path = folder.path().join(name);
        clusters.iter().for_each(|text| std::fs::write(&path, text).unwrap());
        let out = folder.path().join(format!("{name}.set"));
        let report = run(&files, &out, &Options { clusters: clusters.map(|_| path), ..Options::default() });
        let named = Set::open(&out).unwrap().entries().iter().map(|e| (e.id.clone(), e.cluster.clone())).collect::<Vec<_>>();
        (report.clustering, named)
    };
    let (clustering, named) = prepared("none", None);
    // Both chains of 2RBG have one sequence.
    assert!((clustering.by_sequence, clustering.clusters) == (3, 2) && named[0].1 == named[1].1, "{clustering:?} {named:?}");
    assert_eq!(named.iter().map(|n| n.0.as_str()).collect::<Vec<_>>(), ["2rbg_A", "2rbg_B", "3zee_A"]);
    // All members on a line, MMseqs2's pairs, and a list; case differs between programs.
    for text in ["3ZEE_A 2RBG_A 2RBG_B 9xyz_B\n", "3ZEE_A\t3ZEE_A\n3ZEE_A\t2RBG_A\n3ZEE_A\t2rbg_b\n"] {
        let (clustering, named) = prepared("lines", Some(text));
        assert_eq!((clustering.clusters, clustering.by_sequence), (1, 0), "{text}");
        assert!(named.iter().all(|n| n.1 == "3ZEE_A"), "{named:?}");
    }
    let list = r#"{"chains": [{"id": "3zee_A", "file": "x.cif", "chain_auth": "A", "cluster30": "own"}]}"#;
    let (clustering, named) = prepared("list", Some(list));
    assert_eq!((clustering.clusters, clustering.by_sequence, named[2].1.as_str()), (2, 2, "own"));
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    let options = Options { clusters: Some(folder.path().join("empty")), ..Options::default() };
    let refused = prepare(&files, &folder.path().join("x"), &options, &|_, _| {}, &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(refused.contains("empty: no clusters"), "{refused}");
}

#[test]
fn predictions_become_examples_by_their_confidence() {
    let Some(predictions) = shared("data/predictions") else { return };
    let out = tempfile::tempdir().unwrap();
    let rules = Rules { min_length: 20, min_rows: 1, ..Rules::default() };
    let report = run(&predictions, out.path(), &Options { distillation: Some(rules), ..Options::default() });
    let skipped = |id: &str| report.skipped.iter().find(|s| s.what.starts_with(id)).map(|s| s.why.clone()).unwrap_or_default();
    assert!(skipped("rosetta_model_A").contains("no pLDDT"));
    assert!(skipped("ranked_0_A").contains("mean pLDDT of 65.2"));
    let set = Set::open(out.path()).unwrap();
    assert_eq!(set.entries().len(), report.added);
    let i = set.find("AF-Q5VSL9-F1-model_v4_A").unwrap();
    let (entry, example) = (&set.entries()[i], set.example(i).unwrap());
    let labels = example.labels.unwrap();
    assert!(entry.is_distillation && labels.is_distillation && labels.resolution == 0.0 && example.templates.is_empty());
    // Exactly the residues whose CA line in the file says 50 or more are left.
    let text = anyfold::io::text::read_string(predictions.join("AF-Q5VSL9-F1-model_v4.pdb.gz")).unwrap();
    let plddt: Vec<f64> =
        text.lines().filter(|l| l.starts_with("ATOM") && &l[12..16] == " CA ").map(|l| l[60..66].trim().parse().unwrap()).collect();
    assert_eq!(plddt.len(), labels.mask.len());
    assert!(plddt.iter().zip(&labels.mask).all(|(p, m)| (*p >= 50.0) == m.contains(&1.0)));
    assert!(plddt.iter().any(|p| *p < 50.0) && plddt.iter().any(|p| *p >= 50.0));
}

#[test]
fn distogram_confidence_beside_a_prediction_counts_before_plddt() {
    let Some(file) = shared("data/predictions/AF-P01112-F1-model_v4.cif.gz") else { return };
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::copy(&file, dir.path().join("p.cif.gz")).unwrap();
    let confidence: Vec<f64> = (0..189).map(|i| if i < 10 { 0.49 } else { 0.5 }).collect();
    std::fs::write(dir.path().join("p.confidence.json"), serde_json::json!({ "distogram_confidence": confidence }).to_string()).unwrap();
    let rules = Rules { min_length: 20, min_rows: 1, ..Rules::default() };
    let options = Options { distillation: Some(rules), ..Options::default() };
    assert_eq!(run(dir.path(), out.path(), &options).added, 1);
    let labels = Set::open(out.path()).unwrap().example(0).unwrap().labels.unwrap();
    assert!(labels.mask.iter().enumerate().all(|(i, m)| m.contains(&1.0) == (i >= 10)));
    std::fs::write(dir.path().join("p.confidence.json"), "{}").unwrap();
    let damaged = tempfile::tempdir().unwrap();
    let report = run(dir.path(), damaged.path(), &options);
    assert!(report.skipped[0].why.contains("p.confidence.json: no array of numbers `distogram_confidence`"));
}

#[test]
fn a_stopped_run_leaves_a_whole_set_and_the_next_goes_on() {
    let Some(data) = shared("data") else { return };
    let out = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let progress = |_: usize, _: usize| stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let first = prepare(&data, out.path(), &Options::default(), &progress, &stop).unwrap();
    assert!(first.stopped && first.added > 0 && first.added < 131);
    let set = Set::open(out.path()).unwrap();
    assert!((0..first.added).all(|i| set.example(i).is_ok()));
    let second = run(&data, out.path(), &Options::default());
    assert!(!second.stopped && second.added + second.kept == 131 && second.kept > 0, "{second:?}");
}

#[test]
fn mixes_draw_by_share_cluster_and_length() {
    let Some(data) = shared("data") else { return };
    let out = tempfile::tempdir().unwrap();
    run(&data, out.path(), &Options::default());
    let part = |share| Part { set: out.path().to_path_buf(), share, filter: Filter { split: Some("train".into()), ..Filter::default() } };
    let mix = Mix::open(&[part(1.0), part(3.0)]).unwrap();
    assert_eq!(mix.n_chains(), 222);
    let n = 40_000;
    let mut second = 0;
    let mut clusters = std::collections::HashMap::new();
    for example in 0..n {
        let (set, chain) = mix.draw(1, example);
        second += u64::from(set == 1);
        *clusters.entry(mix.sets[set].entries()[chain].cluster.clone()).or_insert(0u64) += 1;
    }
    // Four standard deviations.
    assert!((second as f64 - 0.75 * n as f64).abs() < 4.0 * (n as f64 * 0.75 * 0.25).sqrt());
    // Each cluster counts as its members' mean length weight, here 1/2 (up to 256 residues) to 3/4 (384).
    let total: u64 = clusters.values().sum();
    let share = 1.0 / clusters.len() as f64;
    for (cluster, count) in &clusters {
        let got = *count as f64 / total as f64;
        assert!(got > 0.6 * share && got < 1.9 * share, "{cluster}: {got:.4} for a share of about {share:.4}");
    }
}

#[test]
fn a_runs_sampler_sees_no_validation_cluster_and_knows_its_sets() {
    use anyfold::train::config::Config;
    use anyfold::train::sampler::{Sampler, SamplerState, check_apart};
    let Some(data) = shared("data") else { return };
    let out = tempfile::tempdir().unwrap();
    assert_eq!(run(&data, out.path(), &Options::default()).added, 131);
    let config = |split: &str, more: &[&str]| {
        let set = format!("data.train.0={{set='{}', split='{split}'}}", out.path().display());
        let sets: Vec<String> = [set.as_str()].iter().chain(more).map(ToString::to_string).collect();
        Config::resolve(Some("tiny"), None, &sets).unwrap()
    };
    let open = |split: &str, more: &[&str]| Sampler::open(&config(split, more)).unwrap();
    let (train, validation) = (open("train", &[]), open("validation", &[]));
    assert_eq!((train.mix.n_chains(), validation.mix.n_chains()), (111, 20));
    check_apart(&train.mix, &validation.mix).unwrap();
    let what = check_apart(&open("", &[]).mix, &validation.mix).unwrap_err().to_string();
    assert!(what.contains("validation chain `") && what.contains("different splits"), "{what}");
    let held_out: Vec<&str> = validation.mix.chains(0).iter().map(|&i| validation.mix.sets[0].entries()[i].cluster.as_str()).collect();
    for number in 0..5000 {
        let entry = &train.mix.sets[0].entries()[train.mix.draw(0, number).1];
        assert!(!held_out.contains(&entry.cluster.as_str()), "example {number} is {} of cluster {}", entry.id, entry.cluster);
    }
    // The state survives its file and is checked against the seed and the sets.
    let state: SamplerState = serde_json::from_str(&serde_json::to_string(&train.state(7)).unwrap()).unwrap();
    assert_eq!(state, train.state(7));
    train.check(&state).unwrap();
    let what = open("train", &["seed=1"]).check(&state).unwrap_err().to_string();
    assert!(what.contains("`seed` is 1 and was 0"), "{what}");
    let what = open("validation", &[]).check(&state).unwrap_err().to_string();
    assert!(what.contains("20 chains") && what.contains("111") && what.contains("prepared anew"), "{what}");
    // Two processes share a step's examples; one that goes on at step 3 has the same ones.
    let (a, b): (Vec<u64>, Vec<u64>) = (train.numbers(3, 0, 2).collect(), train.numbers(3, 1, 2).collect());
    assert_eq!((a, b), (vec![12, 14], vec![13, 15]));
    assert!(train.loader(0, 0, 3).err().unwrap().to_string().contains("`optimizer.batch` is 4"));
    let mut loader = train.loader(3, 1, 2).unwrap();
    let got: Vec<_> = (0..2).map(|_| loader.next().unwrap()).collect();
    assert_eq!(got.iter().map(|l| l.number).collect::<Vec<_>>(), [13, 15]);
    assert!(got.iter().all(|l| l.features.passes.len() == train.passes(3)));
}
