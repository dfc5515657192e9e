//! The report of a run: what stands in the page, and that a real browser shows it.

use std::path::Path;
use std::process::Command;

use anyfold::train::log::{Kind, Log, Record};
use anyfold::train::{CONFIG, VALIDATION, presets, report};

use crate::shared::left_out;

/// A peptide of alanines along a line, bent at its middle by `bend`; written as PDB text.
fn peptide(bend: f64, shift: f64) -> String {
    let mut out = String::new();
    let mut serial = 0;
    for i in 0..12 {
        let t = f64::from(i) - 5.5;
        for (atom, dx, dy) in [("N", -1.2, 0.4), ("CA", 0.0, 0.0), ("C", 1.2, 0.4), ("O", 1.4, 1.6)] {
            serial += 1;
            let (x, y, z) = (3.5 * t + dx + shift, dy + bend * t * t, 1.5 * (t * 1.7).sin() - shift);
            let element = &atom[..1];
            out += &format!("ATOM  {serial:5}  {atom:<3} ALA A{:4}    {x:8.3}{y:8.3}{z:8.3}  1.00 50.00           {element}\n", i + 1);
        }
    }
    out + "TER\nEND\n"
}

/// A run's folder with a log of 600 steps and two validations.
fn make(run: &Path, with_structures: bool) {
    let mut log = Log::open(run, 0).unwrap();
    for step in 1..=600u64 {
        let x = step as f64;
        let noise = ((step * 2_654_435_761) % 1000) as f64 / 1000.0;
        let norm = if step == 77 { f64::NAN } else { (1.0 + noise) * 100.0 / x };
        let values =
            [("loss", 20.0 / x.sqrt() + noise), ("loss/distogram", 4.0 / x.sqrt() + 2.0), ("lr", 1e-5 * x.min(100.0)), ("grad_norm", norm)];
        log.write(&Record::new(Kind::Train, step, step * 4, x * 2.0, &values)).unwrap();
        if step % 300 == 0 {
            let lddt = 0.2 + x / 3000.0;
            for (chain, more) in [("1abc_A", 0.01), ("2<b>_B", -0.01)] {
                let values = [("lddt_ca", lddt + more), ("gdt_ts", f64::NAN)];
                log.write(&Record::new(Kind::Chain, step, step * 4, x * 2.0, &values).of_chain(chain)).unwrap();
            }
            let values = [
                ("lddt_ca", lddt),
                ("loss/distogram", 2.5),
                ("distogram", 3.9 - x / 600.0),
                ("distogram_separation", 3.125),
                ("masked_msa", 3.0),
                ("masked_msa_profile", 2.25),
            ];
            log.write(&Record::new(Kind::Validation, step, step * 4, x * 2.0, &values)).unwrap();
        }
    }
    presets::preset("tiny").unwrap().write(&run.join(CONFIG)).unwrap();
    if with_structures {
        let folder = run.join(VALIDATION);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("1abc_A.pdb"), peptide(0.10, 40.0)).unwrap();
        std::fs::write(folder.join("1abc_A.reference.pdb"), peptide(0.12, 0.0)).unwrap();
        std::fs::write(folder.join("9xyz_A.pdb"), "no reference: left out").unwrap();
    }
}

#[test]
fn the_page_holds_every_curve_and_the_configuration() {
    let run = tempfile::tempdir().unwrap();
    make(run.path(), false);
    let page = report::html(run.path()).unwrap();
    for part in [
        "aria-label=\"loss\"",
        "aria-label=\"loss/distogram\"",
        "aria-label=\"lddt_ca\"",
        "aria-label=\"grad_norm\"",
        "aria-label=\"lr\"",
        "0.30: local geometry alone",
        "aria-label=\"masked_msa, against the column profile\"",
        "masked MSA 3.000, not below 2.250 of the column profile; distogram 2.900, below 3.125 of separation alone",
        "600 steps, 2400 samples, 0 h 20 min",
        "best lDDT-Cα 0.400 at step 600",
        "1 steps with a value that is not finite",
        "After step 600",
        "<td>1abc_A</td><td>–</td><td>0.41</td>",
        "2&lt;b&gt;_B",
        "batch = 4",
        "preset = &quot;tiny&quot;",
    ] {
        assert!(page.contains(part), "the page lacks {part}");
    }
    // Training and validation share a chart where they have the same name.
    let chart = page.split("<figure>").find(|f| f.contains("aria-label=\"loss/distogram\"")).unwrap();
    assert!(chart.contains("line train") && chart.contains("line validation"));
    // A baseline is a line in the chart of what it is held against, and has none of its own.
    let chart = page.split("<figure>").find(|f| f.contains("aria-label=\"distogram, against separation alone\"")).unwrap();
    assert!(chart.contains("line validation") && chart.contains("line baseline") && chart.contains(">baseline 3.12<"), "{chart}");
    assert!(!page.contains("aria-label=\"distogram_separation"));
    // Nothing is fetched, and the viewer is only there when it is needed.
    assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("3Dmol") && !page.contains("NaN"));
    assert!(page.len() < 300_000, "{} bytes", page.len());
    std::fs::remove_file(run.path().join(CONFIG)).unwrap();
    assert!(report::html(run.path()).unwrap().contains("has no configuration"));
}

#[test]
fn structures_are_superposed() {
    let run = tempfile::tempdir().unwrap();
    make(run.path(), true);
    let page = report::html(run.path()).unwrap();
    let json = page.split("id=\"structures\">").nth(1).unwrap().split("</script>").next().unwrap();
    let chains: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(chains.as_array().unwrap().len(), 1);
    assert!(chains[0]["caption"].as_str().unwrap().starts_with("1abc_A: 12 residues, Cα RMSD 0."), "{}", chains[0]["caption"]);
    let x =
        |text: &str| -> Vec<f64> { text.lines().filter(|l| l.starts_with("ATOM")).map(|l| l[30..38].trim().parse().unwrap()).collect() };
    let (p, r) = (x(chains[0]["predicted"].as_str().unwrap()), x(chains[0]["reference"].as_str().unwrap()));
    assert_eq!((p.len(), r.len()), (48, 48));
    let apart = p.iter().zip(&r).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 2.0, "moved by 40 Å and superposed: {apart}");
}

#[test]
fn a_folder_without_a_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let what = report::html(folder.path()).unwrap_err().to_string();
    assert!(what.contains("no run here") && what.contains("metrics.jsonl"), "{what}");
    let out = Command::new(env!("CARGO_BIN_EXE_anyfold")).arg("report").arg(folder.path()).output().unwrap();
    assert_eq!(out.status.code(), Some(2));
}

fn browser() -> Option<&'static str> {
    ["chromium", "google-chrome", "chromium-browser"].into_iter().find(|b| Command::new(b).arg("--version").output().is_ok())
}

#[test]
fn a_browser_shows_the_page() {
    let Some(browser) = browser() else { return left_out("there is no Chromium on this machine") };
    let run = tempfile::tempdir().unwrap();
    make(run.path(), true);
    let page = run.path().join("report.html");
    let made = Command::new(env!("CARGO_BIN_EXE_anyfold")).arg("report").arg(run.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&made.stdout).trim(), page.display().to_string());
    let shot = std::env::var_os("ANYFOLD_SCREENSHOT").map_or_else(|| run.path().join("page.png"), Into::into);
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader", "--virtual-time-budget=8000"]);
    command.arg(format!("--user-data-dir={}", run.path().join("profile").display()));
    let url = format!("file://{}", page.display());
    let picture =
        command.args(["--window-size=1500,2600", &format!("--screenshot={}", shot.display()), "--dump-dom", &url]).output().unwrap();
    let dom = String::from_utf8_lossy(&picture.stdout);
    // Scripts have run: the list of chains is filled, and the viewer either drew or said why not.
    assert!(dom.contains("<option value=\"0\">1abc_A</option>"), "{}", String::from_utf8_lossy(&picture.stderr));
    assert!(dom.contains("data-viewer=\"ready\"") && dom.contains("<canvas"), "the viewer did not draw");
    assert!(dom.contains("1abc_A: 12 residues"));
    let paths = dom.matches("<path class=\"line").count();
    assert!(paths >= 6, "{paths} lines are drawn");
}
