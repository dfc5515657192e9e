//! Template hits and features against AlphaFold's own results, and what becomes of every real file of hits.

use std::path::{Path, PathBuf};

use anyfold::data::templates::{Library, Rules, align_by_identity};
use anyfold::error::Error;
use anyfold::io::{hhr, hmmsearch, msa, text};
use anyfold::verify::golden::Golden;
use anyfold::verify::templates::run;

use crate::data_goldens::compare;
use crate::shared::shared;

#[test]
fn template_goldens_are_reproduced() {
    let Some(folder) = shared("goldens/data") else { return };
    for name in ["parse_hhr", "template_features"] {
        let case = Golden::read(&folder.join(format!("{name}.safetensors"))).unwrap();
        compare(&case, &run(&case).expect("a case of this runner").unwrap());
    }
}

#[test]
fn the_golden_of_the_repository_is_reproduced() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/data/parse_hhr.safetensors");
    let mut case = Golden::read(&path).unwrap();
    compare(&case, &run(&case).unwrap().unwrap());
    // A changed reference is noticed.
    let strings = case.meta.get_mut("strings").unwrap();
    *strings = strings.replace("\"sum_probs\": 13.1", "\"sum_probs\": 13.2");
    assert!(std::panic::catch_unwind(|| compare(&case, &run(&case).unwrap().unwrap())).is_err());
}

/// Every `.hhr` file with its number of hits; -1 where it is refused.
const REPORTS: [(&str, i32); 20] = [
    ("1a00_A/pdb70_hits.hhr.gz", 267),
    ("1a02_F/pdb70_hits.hhr.gz", 500),
    ("1a2y_B/pdb70_hits.hhr.gz", 500),
    ("1a3p_A/pdb70_hits.hhr.gz", 432),
    ("1vh2_A/1vh2_A.hhr", 38),
    ("5ptp_A/5ptpA.hhr.gz", 500),
    ("6kwc_A/hhsearch_output.hhr.gz", 60),
    ("6kwc_A/hhsearch_templates_db.hhr", 10),
    ("FA69B_HUMAN/query.hhr.gz", 124),
    ("MGYP004658859411/concat.hhr.gz", 500),
    ("T1078/t000_.hhr.gz", 100),
    ("misc_hhr/2uvo_hhblits.hhr", 32),
    ("misc_hhr/2uvo_hhblits_emptytable.hhr", 0),
    ("misc_hhr/2uvo_hhblits_onlyheader.hhr", 0),
    ("misc_hhr/2uvo_hhsearch.hhr", 32),
    ("misc_hhr/4p79_hhsearch_server_NOssm.hhr", 8),
    ("misc_hhr/7rbx_A_hhsearch_trunc.hhr", -1),
    ("misc_hhr/allx.hhr", 10),
    ("misc_hhr/hhpred_9590198.hhr", 34),
    ("openfold_test_query73/pdb70_hits.hhr", 10),
];

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn every_report_is_read_or_refused_by_line() {
    let Some(root) = shared("data/msas") else { return };
    let mut seen = 0;
    for file in files_below(&root).iter().filter(|f| text::plain_name(f).ends_with(".hhr")) {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let expected = REPORTS.iter().find(|r| r.0 == name).unwrap_or_else(|| panic!("{name} is not in the table")).1;
        match hhr::read(file) {
            Ok(report) => {
                assert_eq!(report.hits.len() as i32, expected, "{name}");
                println!("{name}: {expected} hits");
            }
            Err(e @ Error::Format { line: Some(140), .. }) if expected < 0 => {
                assert!(e.to_string().contains("the report is cut off: its table lists 57 hits and 1 alignments follow"), "{e}");
                println!("{name}: refused: {e}");
            }
            Err(e) => panic!("{name}: {e}"),
        }
        seen += 1;
    }
    assert_eq!(seen, REPORTS.len());
}

/// Files of hmmsearch with their number of hits.
#[test]
fn every_hmmsearch_output_is_read_for_its_query() {
    let Some(root) = shared("data/msas") else { return };
    let mut seen = 0;
    for file in files_below(&root).iter().filter(|f| ["hmm_output.sto", "pdb_hits.sto"].contains(&text::plain_name(f).as_str())) {
        let folder = file.parent().unwrap();
        let alignment = text::find(folder.join("uniref90_hits.sto")).expect("each such folder has the alignment that was searched with");
        let query = String::from_utf8(msa::read(&alignment).unwrap().query()).unwrap();
        let hits = hmmsearch::read(file, &query).unwrap();
        let rows: usize = msa::read_all(file).unwrap().iter().map(|m| m.n_seq()).sum();
        assert_eq!(hits.len(), rows, "{}", file.display());
        assert!(hits.iter().all(|h| h.indices_query.len() == h.indices_hit.len()));
        println!("{}: {} hits", file.strip_prefix(&root).unwrap().display(), hits.len());
        let shorter = hmmsearch::read(file, &query[1..]).unwrap_err();
        assert!(
            matches!(&shorter, Error::Format { line: Some(_), .. }) && shorter.to_string().contains("hits of another query"),
            "{shorter}"
        );
        seen += 1;
    }
    assert!(seen >= 9, "only {seen} files");
}

/// Cut at every 29th byte, and with bytes changed at places drawn from a fixed sequence: every answer is hits or an error with its file.
#[test]
fn damaged_hits_never_panic() {
    let assets = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets");
    let report = std::fs::read(assets.join("goldens/data/files/pdb70_hits.hhr")).unwrap();
    let stockholm = b"# STOCKHOLM 1.0\n#=GS 1enx_A/3-7 DE mol:protein length:9\n\n1enx_A/3-7  A-CyyE.\n2abc_B/1-4 ACD..E-\n//\n";
    let query = "MAAHKGAEHHHKAAEHHEQAAKHHHAAAEHHEKGEHEQAAHHADTAYAHHKHAEEHAAQAAKHDAEHHAPKPH";
    let mut library = Library::new(&assets.join("search/mmcif"), &align_by_identity).unwrap();
    let (mut read, mut refused) = (0, 0);
    let mut answer = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let path = Path::new("damaged");
        for hits in [hhr::parse(&text, path).map(|r| r.hits), hmmsearch::parse(&text, "ACDE", path)] {
            match hits {
                Ok(mut hits) => {
                    // The library has one entry only: let all hits be of it.
                    hits.iter_mut().for_each(|h| h.name = "1enx_A".into());
                    library.templates(query, &hits, &Rules { min_length: 1, min_align_ratio: 0.0, ..Rules::default() }).unwrap();
                    read += 1;
                }
                Err(e) => {
                    assert!(e.to_string().starts_with("damaged"), "{e}");
                    refused += 1;
                }
            }
        }
    };
    let mut random = 1_u64;
    for whole in [&report[..], &stockholm[..]] {
        (0..whole.len()).step_by(29).for_each(|end| answer(&whole[..end]));
        for _ in 0..600 {
            let mut bytes = whole.to_vec();
            for _ in 0..3 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (random >> 33) as usize % bytes.len();
                bytes[at] = b"0179-A. \n/>(\0\xff"[(random >> 20) as usize % 14];
            }
            answer(&bytes);
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > 300 && refused > 300);
}
