//! Golden training runs through the trainer itself: its step, its optimiser's states, its parameters.

use crate::error::Result;
use crate::model::features::Extents;
use crate::ops::train::Control;
use crate::tensor::{DType, HostTensor};
use crate::train::lists::Recipe;
use crate::train::optimizer;
use crate::train::step::{Arrays, Draw, Step};
use crate::verify::Context;
use crate::verify::alphafold_config::{self, Part};
use crate::verify::golden::Golden;
use crate::verify::host_structure::Outputs;
use crate::verify::trajectory::{Observed, Trajectory};

/// The goldens' names of the terms that the trainer names.
const TERMS: [(&str, &str); 10] = [
    ("structure_module/loss", "structure"),
    ("structure_module/fape", "fape"),
    ("structure_module/sidechain_fape", "sidechain_fape"),
    ("structure_module/chi_loss", "chi"),
    ("structure_module/angle_norm_loss", "angle_norm"),
    ("distogram/loss", "distogram"),
    ("masked_msa/loss", "masked_msa"),
    ("predicted_lddt/loss", "plddt"),
    ("experimentally_resolved/loss", "experimentally_resolved"),
    ("predicted_aligned_error/loss", "predicted_aligned_error"),
];

/// The outputs of a case, or `None` when its module is not this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    (case.module == "train_trajectory").then(|| trajectory(context, case))
}

/// One example's features and labels, which the goldens keep together.
fn example(all: Arrays) -> (Arrays, Arrays) {
    let mut one: Arrays = all
        .into_iter()
        .map(|(n, t)| {
            let inner = t.shape[1..].to_vec();
            (n, t.reshape(&inner))
        })
        .collect();
    one.entry("use_clamped_fape".into()).or_insert_with(|| HostTensor::f32(&[1], vec![1.0]));
    let clamped = one["use_clamped_fape"].as_f32().to_vec();
    one.insert("use_clamped_fape".into(), HostTensor::f32(&[1], clamped));
    let resolution = one["resolution"].as_f32().to_vec();
    one.insert("resolution".into(), HostTensor::f32(&[1], resolution));
    (one.clone(), one)
}

fn trajectory(context: &Context, case: &Golden) -> Result<Outputs> {
    let golden = Trajectory::read(case)?;
    let part = Part::of(case);
    let model = alphafold_config::model(part)?;
    let examples: Vec<(Arrays, Arrays)> = (0..golden.optimizer.batch).map(|i| example(golden.example(i))).collect();
    let shape = |name: &str| examples[0].0[name].shape.clone();
    let (msa, extra) = (shape("msa_feat"), shape("extra_msa"));
    let n_templ = if model.template.is_some() { shape("template_mask")[0] } else { 0 };
    let extents = Extents { n_res: msa[1], n_clust: msa[0], n_extra: extra[0], n_templ };
    let weights = alphafold_config::loss(part)?;
    let recipe = Recipe { model, extents, storage: DType::F32, weights, dropout: false, scaled: false, saving: context.saving };
    let step = Step::new(context.gpu()?, &context.cache, recipe)?;
    optimizer::begin(&step.session, &step.params.pack(&golden.parameters())?);
    let o = &golden.optimizer;
    let control = Control { lr: o.lr, eps: o.eps, clip: o.clip, batch: o.batch, b1: o.b1, b2: o.b2, decay: o.ema_decay };
    let mut seen = Observed::default();
    for at in 0..golden.steps {
        let (losses, norms) = examples_of(&step, &examples, &control, at, Some(&mut seen))?;
        seen.losses.push(losses);
        seen.norms.push(norms);
        if at == 0 {
            let mean = 1.0 / o.batch as f32;
            let total: Vec<f32> = step.session.get("total")?.as_f32().iter().map(|g| g * mean).collect();
            seen.first_gradient = step.params.unpack(&total);
        }
        step.update()?;
        if [1, 3, golden.steps].contains(&(at + 1)) {
            seen.parameters.insert(at + 1, step.params.unpack(step.session.get("parameters")?.as_f32()));
        }
    }
    seen.ema = step.params.unpack(step.session.get("ema")?.as_f32());
    seen.final_losses = examples_of(&step, &examples, &control, golden.steps, None)?.0;
    Ok(seen.outputs())
}

/// Runs every example of a step; gives losses and gradient norms.
fn examples_of(
    step: &Step,
    examples: &[(Arrays, Arrays)],
    control: &Control,
    at: usize,
    mut seen: Option<&mut Observed>,
) -> Result<(Vec<f32>, Vec<f32>)> {
    optimizer::steer(&step.session, control);
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for (number, (features, labels)) in examples.iter().enumerate() {
        let draw = Draw { seed: 0, step: at as u64, number: number as u64 };
        let ran = step.arrays(vec![features.clone()], labels.clone(), draw)?;
        let of = |name: &str| ran.losses.iter().find(|(n, _)| *n == name).map(|(_, x)| *x as f32);
        losses.push(of("total").expect("there is a total"));
        norms.push(ran.status.norm);
        for (golden, ours) in TERMS {
            if let (Some(seen), Some(value)) = (seen.as_deref_mut(), of(ours)) {
                let all = seen.terms.entry(golden.into()).or_default();
                if number == 0 {
                    all.push(Vec::new());
                }
                all.last_mut().expect("just begun").push(value);
            }
        }
    }
    Ok((losses, norms))
}
