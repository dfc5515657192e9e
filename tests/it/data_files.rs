//! Every real alignment and sequence file is read, or refused with a message that names file and line.

use std::path::{Path, PathBuf};

use anyfold::data::alignment::Alignment;
use anyfold::data::layout::{Kind, kind};
use anyfold::error::Error;
use anyfold::io::{fasta, msa};

use crate::shared::shared;

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Files that are refused, with the place and a part of the reason.
const REFUSED: [(&str, usize, &str); 2] = [
    ("T1201/T1201.a3m", 3, "row 2 `seq_0` has 50 columns and the query `query` has 210"),
    ("misc_sto/a3m_no_realign.a3m", 7, "has 255 columns and the query `query_A/1-253` has 256"),
];

#[test]
fn every_alignment_is_read_or_refused_by_line() {
    let Some(root) = shared("data/msas") else { return };
    let mut outcome = Vec::new();
    for file in files_below(&root).iter().filter(|f| kind(f).is_some() && !f.to_string_lossy().contains(".hhr")) {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let refused = REFUSED.iter().find(|r| name == r.0);
        match (msa::read_all(file), refused) {
            (Ok(all), None) => {
                let rows: usize = all.iter().map(|m| m.n_seq()).sum();
                // hmmsearch's output has another sequence first; all others stack.
                if kind(file) != Some(Kind::Hits) {
                    all.iter().for_each(|m| assert!(Alignment::stack(std::slice::from_ref(m)).unwrap().0.n_seq() >= 1));
                }
                outcome.push(format!("{name}: {rows} rows in {}", all.len()));
            }
            (Err(e @ Error::Format { line, .. }), Some((_, at, why))) => {
                assert!(line == Some(*at) && e.to_string().contains(why), "{e}");
                outcome.push(format!("{name}: refused: {e}"));
            }
            (Ok(_), Some(_)) => panic!("{name} was read and should be refused"),
            (Err(e), _) => panic!("{name}: {e}"),
        }
    }
    println!("{}", outcome.join("\n"));
    assert!(outcome.len() > 180, "only {} alignment files", outcome.len());
}

#[test]
fn depths_are_those_of_the_list() {
    let Some(list) = shared("data/train_set.json") else { return };
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&list).unwrap()).unwrap();
    let mut compared = 0;
    for chain in json["chains"].as_array().unwrap() {
        for (path, depth) in chain["msa_depth"].as_object().into_iter().flatten() {
            let file = list.with_file_name(path);
            let msa = msa::read_for(&file, chain["sequence"].as_str().unwrap().as_bytes()).unwrap();
            assert_eq!(msa.n_seq() as u64, depth.as_u64().unwrap(), "{path}");
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn every_fasta_file_is_read() {
    let Some(root) = shared("data/fasta") else { return };
    let is_fasta = |f: &&PathBuf| [".fasta", ".fa"].iter().any(|s| anyfold::io::text::plain_name(f).ends_with(s));
    let files = files_below(&root);
    let count = |f: &PathBuf| (f.file_name().unwrap().to_string_lossy().into_owned(), fasta::read(f).unwrap().len());
    let counts: Vec<_> = files.iter().filter(is_fasta).map(count).collect();
    println!("{counts:?}");
    assert!(counts.contains(&("combined.fasta.gz".to_owned(), 118_344)));
    assert!(counts.contains(&("globins45.fa".to_owned(), 45)));
}

#[test]
fn a_deep_alignment_is_read_whole() {
    use std::fmt::Write;
    let (n_seq, width) = (20_000, 400);
    let letters = b"ACDEFGHIKLMNPQRSTVWY-acdef";
    let mut text = String::from(">q\n");
    let mut state = 1u64;
    let mut inserted = 0;
    for row in 0..n_seq {
        let mut columns = 0;
        while columns < width {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let letter = letters[(state >> 33) as usize % if row == 0 { 20 } else { 26 }];
            columns += usize::from(!letter.is_ascii_lowercase());
            inserted += u64::from(letter.is_ascii_lowercase());
            text.push(letter as char);
        }
        write!(text, "\n>row{row}\n").unwrap();
    }
    text.truncate(text.rfind('>').unwrap());
    let began = std::time::Instant::now();
    let all = anyfold::io::a3m::parse(text.as_bytes(), Path::new("deep.a3m")).unwrap();
    println!("{n_seq} rows of {width} columns in {:.3} s", began.elapsed().as_secs_f64());
    assert_eq!((all.len(), all[0].n_seq(), all[0].width), (1, n_seq, width));
    assert_eq!(all[0].deletions.iter().map(|&d| u64::from(d)).sum::<u64>(), inserted);
    // Only a parser of quadratic cost takes this long, in any build.
    assert!(began.elapsed().as_secs() < 20);
}

#[test]
fn every_feature_file_is_read_and_those_of_openfold_agree() {
    use anyfold::data::{full, raw_example};
    let Some(root) = shared("data/features") else { return };
    let texts: serde_json::Value = serde_json::from_slice(&std::fs::read(root.join("features.json")).unwrap()).unwrap();
    for (name, n_seq, n_templ) in [("8d27_A", 2048, 4), ("openfold_59aa", 7435, 8), ("T1026", 22, 8)] {
        let example = raw_example::read(root.join(format!("{name}.npz"))).unwrap();
        assert_eq!(anyfold::data::alphabet::to_letters(&example.aatype), texts[name]["sequence"].as_str().unwrap(), "{name}");
        assert_eq!((example.alignment.n_seq(), example.templates.len()), (n_seq, n_templ), "{name}");
        assert_eq!(example.alignment.row(0), example.aatype, "{name}: both orders give the same query");
        assert_eq!(example.labels.is_some(), name == "8d27_A");
        for (template, letters) in example.templates.iter().zip(texts[name]["template_sequences"].as_array().unwrap()) {
            assert_eq!(anyfold::data::alphabet::to_letters(&template.aatype), letters.as_str().unwrap(), "{name}");
        }
    }
    // OpenFold's own processed features: what follows from the types alone must be what we make of them.
    let theirs = anyfold::io::npz::read(root.join("openfold_sample_feats_item0.npz")).unwrap();
    let kinds: Vec<u8> = theirs["aatype"].as_i32().iter().map(|&t| t as u8).collect();
    for (name, ours) in full::atom14_masks(&kinds) {
        assert_eq!(ours.to_f64(), theirs[&name].to_f64(), "{name}");
    }
    assert_eq!(full::target_feat(&kinds), theirs["target_feat"].as_f32());
    let e = raw_example::read(root.join("openfold_sample_feats_item0.npz")).unwrap_err().to_string();
    assert!(e.contains("openfold_sample_feats_item0.npz: feature `target_feat` shows that these are processed"), "{e}");
}

#[test]
fn another_query_is_refused_by_residue() {
    let Some(file) = shared("data/msas/hemoglobin_AB/pair.a3m.gz") else { return };
    let all = msa::read_all(&file).unwrap();
    assert_eq!(all.iter().map(|m| m.width).collect::<Vec<_>>(), [141, 146]);
    let second = all[1].query();
    assert_eq!(msa::read_for(&file, &second).unwrap(), all[1]);
    let mut unknown = second.clone();
    unknown[3] = b'X';
    let read = msa::read_for(&file, &unknown).unwrap();
    assert!(read.row(0) == unknown && read.row(1) == all[1].row(1));
    let mut other = all[0].query();
    other[9] = b'W';
    let e = msa::read_for(&file, &other).unwrap_err().to_string();
    assert!(e.contains("pair.a3m.gz") && e.contains("residue 10"), "{e}");
}
