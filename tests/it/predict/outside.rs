//! Other programs on what predictions write: Biopython, gemmi and python-modelcif read the structures, a browser runs the page.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyfold::error::Result;
use anyfold::io::structure;
use anyfold::predict::batch::Options;
use anyfold::predict::input::{Files, targets};
use anyfold::predict::{Cycle, Inputs, Raw, Request};
use anyfold::tensor::HostTensor;

use super::fake::{self, model, options};
use crate::shared::left_out;

/// A real prediction in place of the made-up helix, where residues fit.
fn real_structure(inputs: Inputs, request: &Request) -> Result<Raw> {
    let mut raw = fake::network(inputs, request)?;
    let known = structure::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/examples/6kwc_predicted.pdb.gz"))?;
    let chain = known.chain(None)?;
    assert_eq!(chain.len(), request.n_res);
    (raw.positions, raw.mask) = (chain.positions.clone(), chain.mask.clone());
    let peak = |k: usize| -0.4 * ((k % 50) as f32 + 0.5 - chain.b_factors[k / 50][1] / 2.0).abs();
    raw.plddt_logits = HostTensor::f32(&[chain.len(), 50], (0..chain.len() * 50).map(peak).collect());
    raw.history =
        (0..4).map(|p| Cycle { plddt: Some(90.0 + p as f64), ptm: Some(0.8), change: (p > 0).then_some(0.5 / p as f64) }).collect();
    Ok(raw)
}

/// The xylanase 6KWC with a few rows, under a header that means harm.
fn xylanase(folder: &Path) -> PathBuf {
    let known = structure::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/examples/6kwc_predicted.pdb.gz")).unwrap();
    let sequence = known.chain(None).unwrap().sequence.clone();
    let row = |k: usize| -> String {
        let keep = |(i, c): (usize, char)| {
            if (i + k).is_multiple_of(k + 2) {
                'A'
            } else if i < 3 * k || i + 2 * k > 180 {
                '-'
            } else {
                c
            }
        };
        sequence.chars().enumerate().map(keep).collect()
    };
    let rows: String = (1..40).map(|k| format!(">row{k}\n{}\n", row(k))).collect();
    let fasta = folder.join("in.fasta");
    std::fs::write(
        &fasta,
        format!(">6kwc <script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">\n{sequence}\n"),
    )
    .unwrap();
    std::fs::write(folder.join("in.a3m"), format!(">q\n{sequence}\n{rows}")).unwrap();
    let files = Files { msa: vec![folder.join("in.a3m")], ..Files::default() };
    let options = Options { plots: true, seeds: vec![0, 1], ..options(folder.join("out")) };
    let all = targets(&[fasta], &files).unwrap();
    let models = [model("model_1_ptm"), model("model_2_ptm")];
    let mut first = true;
    let mut network = |inputs: Inputs, request: &Request| {
        // The second and later ones are helices, so that ranks differ to the eye.
        if std::mem::take(&mut first) { real_structure(inputs, request) } else { fake::network(inputs, request) }
    };
    let outcomes = anyfold::predict::batch::run(all, &models, &options, &mut network, &|_| ()).unwrap();
    assert!(outcomes[0].best.is_some(), "{outcomes:?}");
    folder.join("out/6kwc")
}

/// Set `ANYFOLD_PYTHON` to a Python that has the packages; otherwise `python3` is asked.
#[test]
fn biopython_gemmi_and_modelcif_read_every_structure() {
    let python = std::env::var("ANYFOLD_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python).args(["-c", "import Bio, gemmi, modelcif"]).output();
    if !has.is_ok_and(|o| o.status.success()) {
        return left_out("no Python with Biopython, gemmi and modelcif (set ANYFOLD_PYTHON): predictions were not read by them");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = xylanase(folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/read_predictions.py");
    let read = Command::new(&python).arg(script).arg(&out).output().unwrap();
    let said = String::from_utf8_lossy(&read.stdout);
    assert!(read.status.success() && said.contains("4 ranks read"), "{said}{}", String::from_utf8_lossy(&read.stderr));
}

/// Set `ANYFOLD_DICTIONARIES` to the wwPDB's `mmcif_pdbx` and ModelCIF's `mmcif_ma_ext` dictionaries, with a colon between the files.
#[test]
fn modelcif_holds_against_its_dictionaries() {
    let Some(dictionaries) = std::env::var_os("ANYFOLD_DICTIONARIES") else {
        return left_out("ANYFOLD_DICTIONARIES names no dictionary: ModelCIF files were not held against one");
    };
    let python = std::env::var("ANYFOLD_PYTHON").unwrap_or_else(|_| "python3".into());
    let folder = tempfile::tempdir().unwrap();
    let out = xylanase(folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/validate_modelcif.py");
    let held = Command::new(&python).arg(script).arg(&out).args(std::env::split_paths(&dictionaries)).output().unwrap();
    let said = String::from_utf8_lossy(&held.stdout);
    assert!(held.status.success() && said.contains("4 files hold"), "{said}{}", String::from_utf8_lossy(&held.stderr));
}

/// The browser's own view of the page after its script ran. `ANYFOLD_SCREENSHOT` names a PNG file to keep a picture in.
#[test]
fn a_browser_runs_the_page_and_the_header_stays_text() {
    let Some(browser) =
        ["chromium", "chromium-browser", "google-chrome"].iter().find(|b| Command::new(b).arg("--version").output().is_ok())
    else {
        return left_out("no Chromium: the report was not run");
    };
    let folder = tempfile::tempdir().unwrap();
    let out = xylanase(folder.path());
    let page = format!("file://{}", out.join("report.html").display());
    let run = |more: &[&str]| {
        let profile = tempfile::tempdir().unwrap();
        let common =
            ["--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--virtual-time-budget=20000"];
        let mut command = Command::new(browser);
        command.args(common).arg("--enable-logging=stderr").arg(format!("--user-data-dir={}", profile.path().display()));
        command.args(more).arg(&page).output().unwrap()
    };
    let ran = run(&["--dump-dom"]);
    let (dom, log) = (String::from_utf8_lossy(&ran.stdout).into_owned(), String::from_utf8_lossy(&ran.stderr).into_owned());
    assert!(ran.status.success(), "{log}");
    let complaints: Vec<&str> = log.lines().filter(|l| l.contains("CONSOLE") && (l.contains("rror") || l.contains("efuse"))).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(dom.contains("<title>6kwc</title>"), "the header's script ran");
    assert!(dom.contains("6kwc &lt;script&gt;document.title='broken'&lt;/script&gt;&lt;img src=x onerror="));
    assert!(
        dom.contains("Rank 0 of 4 (by pLDDT): model_1_ptm, seed 0. 191 residues"),
        "the script did not fill the page: {}",
        &dom[dom.find("id=\"about\"").unwrap()..][..300]
    );
    assert!(dom.contains("40 sequences, the target included"));
    let viewer = dom.split("id=\"viewer\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(viewer.contains("<canvas"), "the viewer drew nothing");
    if let Some(picture) = std::env::var_os("ANYFOLD_SCREENSHOT") {
        let ran = run(&[&format!("--screenshot={}", Path::new(&picture).display()), "--window-size=1300,1900", "--hide-scrollbars"]);
        assert!(ran.status.success() && Path::new(&picture).is_file());
        std::fs::create_dir_all(Path::new(&picture).with_extension("files")).unwrap();
        for entry in std::fs::read_dir(&out).unwrap() {
            let from = entry.unwrap().path();
            std::fs::copy(&from, Path::new(&picture).with_extension("files").join(from.file_name().unwrap())).unwrap();
        }
    }
}
