//! Golden training runs: what they hold, and how a run is judged by them, step by step. The run that is judged here is AlphaFold's own in
//! single precision, which the goldens hold beside the reference.

use anyfold::verify::golden::Golden;
use anyfold::verify::rules::{Compared, Verdict, compare};
use anyfold::verify::trajectory::{Observed, Trajectory};

use crate::shared::shared;

/// A tensor `[step, example]` as rows.
fn rows(golden: &Golden, name: &str) -> Vec<Vec<f32>> {
    let t = golden.get(name).unwrap();
    t.as_f32().chunks(t.shape[1]).map(<[f32]>::to_vec).collect()
}

/// AlphaFold's run in single precision; what it holds only in double precision is the reference itself.
fn single_precision(golden: &Golden) -> Observed {
    let all = |prefix: &str| golden.with_prefix(prefix).map(|(n, t)| (n.to_owned(), t.clone())).collect();
    let terms = golden.with_prefix("out:terms/").map(|(n, _)| (n.to_owned(), rows(golden, &format!("out:terms/{n}"))));
    Observed {
        losses: rows(golden, "out32:total_loss"),
        norms: rows(golden, "out32:grad_norm"),
        terms: terms.collect(),
        final_losses: golden.get("out32:final_total_loss").unwrap().to_f32(),
        first_gradient: all("out:first_update_gradient/"),
        parameters: [(1, all("out:params_after_step1/")), (3, all("out:params_after_step3/")), (20, all("out:final_params/"))].into(),
        ema: all("out:ema_params/"),
    }
}

fn of<'a>(all: &'a [Compared], name: &str) -> Vec<&'a Compared> {
    all.iter().filter(|c| c.name.starts_with(name)).collect()
}

#[test]
fn golden_runs_are_read_and_judged_by_step() {
    for (case, lr, least) in [("train_trajectory", 1e-3, 3), ("train_trajectory_afinit", 1e-3, 5), ("train_trajectory_lr1e-4", 1e-4, 14)] {
        let Some(path) = shared(&format!("goldens/model/{case}.safetensors")) else { continue };
        let golden = Golden::read(&path).unwrap();
        let run = Trajectory::read(&golden).unwrap();
        let o = &run.optimizer;
        assert_eq!((run.steps, o.batch, o.lr, o.clip, o.eps, o.ema_decay), (20, 2, lr, 0.1, 1e-6, 0.999), "{case}");
        let parameters = run.parameters();
        assert_eq!((parameters.len(), parameters.values().map(|t| t.len()).sum::<usize>()), (338, 112_670), "{case}");
        for i in 0..2 {
            let example = run.example(i);
            assert_eq!((example.len(), example["aatype"].shape.as_slice()), (46, &[1, 18][..]), "{case}");
        }
        assert_ne!(run.example(0)["msa_feat"], run.example(1)["msa_feat"]);
        let good = compare(&golden, &single_precision(&golden).outputs()).unwrap();
        let failed: Vec<&Compared> = good.iter().filter(|c| c.verdict == Verdict::Fail).collect();
        assert!(failed.is_empty(), "{case}: {failed:?}");
        let judged = of(&good, "out:total_loss[").iter().filter(|c| c.verdict == Verdict::Pass).count();
        assert!(judged >= least && of(&good, "out:total_loss[").len() == 20, "{case}: {judged} steps are compared");
        assert_eq!(of(&good, "out:params_after_step1/").len(), 338, "{case}");
        wrong_runs_fail(&golden);
    }
}

fn wrong_runs_fail(golden: &Golden) {
    let verdicts = |observed: Observed, name: &str| -> Vec<Verdict> {
        of(&compare(golden, &observed.outputs()).unwrap(), name).into_iter().map(|c| c.verdict).collect()
    };
    let mut wrong = single_precision(golden);
    wrong.losses[1][1] *= 1.001;
    assert_eq!(verdicts(wrong, "out:total_loss[1]"), [Verdict::Fail]);
    let mut wrong = single_precision(golden);
    wrong.norms[0][0] = f32::NAN;
    assert_eq!(verdicts(wrong, "out:grad_norm[0]"), [Verdict::Fail]);
    let mut wrong = single_precision(golden);
    wrong.terms.clear();
    let terms = verdicts(wrong, "out:terms/");
    assert!(terms.len() == 10 && terms.iter().all(|v| *v == Verdict::Fail), "{terms:?}");
    let mut wrong = single_precision(golden);
    wrong.losses.pop();
    assert_eq!(verdicts(wrong, "out:total_loss"), [Verdict::Fail]);
}
