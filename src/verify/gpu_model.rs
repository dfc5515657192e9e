//! Runs whole models on the device: recycling passes, then the last one with all losses and gradients, as training replays them.

use std::collections::BTreeMap;

use crate::data::template_angles::template_angles;
use crate::error::{Error, Result};
use crate::graph::Tensor;
use crate::graph::run::Session;
use crate::loss::resolution_weight;
use crate::loss::total::total;
use crate::loss::violation::{Metrics, Violations};
use crate::model::alphafold::PREVIOUS;
use crate::model::features::{Extents, member_name};
use crate::model::network::{Network, Pass};
use crate::ops;
use crate::ops::basic::unary::Unary;
use crate::tensor::{DType, HostTensor};
use crate::train::labels::{Labels, Losses, losses};
use crate::verify::Context;
use crate::verify::alphafold_config::{self, Part};
use crate::verify::bench::official;
use crate::verify::diagonal;
use crate::verify::golden::Golden;
use crate::verify::host_structure::Outputs;

/// Outputs by their golden names.
type Named<'g> = Vec<(String, Tensor<'g>)>;

/// The outputs and gradients of a case, or `None` when its module is not one of this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    (case.module == "alphafold").then(|| alphafold(context, case))
}

/// The passes of a case and its extents.
struct Plan {
    passes: usize,
    members: usize,
    extents: Extents,
}

impl Plan {
    fn of(case: &Golden, templates: bool) -> Result<Self> {
        let passes = Part::of(case).size("num_recycle")? + 1;
        let shape = |name: &str| Ok::<_, Error>(case.input(name)?.shape.clone());
        let (msa, extra) = (shape("msa_feat")?, shape("extra_msa")?);
        let n_templ = if templates { shape("template_mask")?[1] } else { 0 };
        let extents = Extents { n_res: msa[2], n_clust: msa[1], n_extra: extra[1], n_templ };
        Ok(Self { passes, members: msa[0] / passes, extents })
    }
}

fn alphafold(context: &Context, case: &Golden) -> Result<Outputs> {
    let part = Part::of(case);
    let (config, weights) = (alphafold_config::model(part)?, alphafold_config::loss(part)?);
    let plan = Plan::of(case, config.template.is_some())?;
    let network = Network::new(config, DType::F32);
    let (early, last) = (ops::graph(DType::F32, 0), ops::graph(DType::F32, 0));
    [&early, &last].iter().for_each(|graph| graph.save(context.saving));
    network.recycling_pass(&early, plan.extents, plan.members, None);
    let wants = |name: &str| case.tensors.contains_key(&format!("gin:{name}"));
    let pass = network.pass(&last, plan.extents, plan.members, None, &wants);
    let labels = Labels::inputs(&last, &pass.ensemble[0]);
    let mut found = losses(&pass.prediction, &labels, pass.residues.atom37_atom_exists, &network.config, &weights);
    if let (Some(exact), Some(logits), Some(loss)) = (diagonal::exact(&case.case), pass.prediction.pae, found.terms.predicted_aligned_error)
    {
        let (mask, weight) = (labels.structure.backbone_affine_mask, labels.resolution_weight);
        found.terms.predicted_aligned_error = Some(diagonal::as_the_reference(loss, logits, mask, weight, exact));
        found.total = total(&weights, &found.terms, labels.structure.seq_mask);
    }
    let named = outputs(&pass, &labels, &found);
    named.iter().for_each(|(name, tensor)| last.output(&format!("out:{name}"), *tensor));
    last.backward(&[(found.total, None)]);

    let session = Session::of(context.gpu()?, &context.cache, &[("pass", &early), ("last", &last)])?;
    let params = network.params.borrow();
    session.set_params(&params.pack(&official(case, &params)?)?);
    PREVIOUS.iter().for_each(|state| session.clear(state));
    for r in 0..plan.passes {
        feed(&session, case, &plan, r)?;
        session.replay_list(if r + 1 == plan.passes { "last" } else { "pass" })?;
    }
    let mut out = Outputs::default();
    let read: Vec<String> = named.iter().map(|(name, _)| format!("out:{name}")).collect();
    let read = session.get_all(&read.iter().map(String::as_str).collect::<Vec<_>>())?;
    out.tensors.extend(named.iter().map(|(name, _)| name.clone()).zip(read));
    host_outputs(case, &network, &mut out)?;
    gradients(&session, case, &plan, &params, &mut out)?;
    leave_out_padding(case, &plan, &mut out)?;
    Ok(out)
}

/// Sets the inputs of pass `r`: rows `r * members ..` of everything with a leading axis.
fn feed(session: &Session, case: &Golden, plan: &Plan, r: usize) -> Result<()> {
    for member in 0..plan.members {
        let row = r * plan.members + member;
        let one = |t: &HostTensor| t.rows(row..row + 1).reshape(&t.shape[1..]);
        let mut values: BTreeMap<String, HostTensor> = case.with_prefix("in:").map(|(n, t)| (n.to_string(), one(t))).collect();
        if plan.extents.n_templ > 0 {
            values.extend(template_angles(&values));
        }
        let resolution = case.input("resolution")?.as_f32()[0];
        values.insert("resolution_weight".into(), HostTensor::f32(&[1], vec![resolution_weight(resolution)]));
        let clamped = case.tensors.get("in:use_clamped_fape").map_or(1.0, |t| t.as_f32()[0]);
        values.insert("use_clamped_fape".into(), HostTensor::f32(&[1], vec![clamped]));
        for (name, value) in values {
            let name = member_name(&name, member);
            if session.takes(&name) {
                session.set(&name, &value);
            }
        }
    }
    Ok(())
}

fn outputs<'g>(pass: &Pass<'g>, labels: &Labels<'g>, l: &Losses<'g>) -> Named<'g> {
    let (p, t) = (&pass.prediction, &l.terms);
    let (r, s) = (&p.representations, &p.structure);
    let graph = p.distogram.graph();
    let last = s.traj.shape()[0] - 1;
    let mut out: Vec<(&str, Tensor<'g>)> = vec![
        ("representations/msa", r.msa),
        ("representations/msa_first_row", r.msa_first_row),
        ("representations/pair", r.pair),
        ("representations/single", r.single),
        ("representations/structure_module", s.s),
        ("distogram/logits", p.distogram),
        ("distogram/loss", t.distogram),
        ("distogram/true_dist", graph.apply(Unary::Sqrt(1e-6), &[l.true_square])),
        ("masked_msa/logits", p.masked_msa),
        ("masked_msa/loss", t.masked_msa),
        ("experimentally_resolved/logits", p.experimentally_resolved),
        ("predicted_lddt/logits", p.plddt),
        ("predicted_lddt/loss", t.plddt),
        ("structure_module/loss", t.structure.loss),
        ("structure_module/fape", t.structure.fape),
        ("structure_module/sidechain_fape", t.structure.sidechain_fape),
        ("structure_module/chi_loss", t.structure.chi_loss),
        ("structure_module/angle_norm_loss", t.structure.angle_norm_loss),
        ("structure_module/alt_naming_is_better", t.structure.renamed.alt_naming_is_better),
        ("structure_module/renamed_atom14_gt_positions", t.structure.renamed.positions),
        ("structure_module/renamed_atom14_gt_exists", t.structure.renamed.exists),
        ("structure_module/final_affines", s.traj.slice(0, last..last + 1).reshape(&s.traj.shape()[1..])),
        ("structure_module/final_atom14_positions", s.atom14_positions),
        ("structure_module/final_atom_positions", s.atom37_positions),
        ("structure_module/final_atom14_mask", labels.structure.atom14_atom_exists),
        ("structure_module/final_atom_mask", pass.residues.atom37_atom_exists),
        ("structure_module/traj", s.traj),
        ("structure_module/sidechains/angles_sin_cos", s.sidechains.angles),
        ("structure_module/sidechains/unnormalized_angles_sin_cos", s.sidechains.unnormalized_angles),
        ("structure_module/sidechains/atom_pos", s.sidechains.positions),
        ("structure_module/sidechains/frames", s.sidechains.frames),
        ("total_loss", l.total),
    ];
    out.extend(t.experimentally_resolved.map(|x| ("experimentally_resolved/loss", x)));
    out.extend(p.pae.map(|x| ("predicted_aligned_error/logits", x)));
    out.extend(t.predicted_aligned_error.map(|x| ("predicted_aligned_error/loss", x)));
    let mut named: Named<'g> = out.into_iter().map(|(n, x)| (n.to_string(), x)).collect();
    named.extend(t.structure.violations.iter().flat_map(|(v, m)| violations(v, m)));
    named
}

/// The violations of a prediction and their metrics.
fn violations<'g>(v: &Violations<'g>, m: &Metrics<'g>) -> Named<'g> {
    let bond = |i: usize| v.bonds.slice(0, i..i + 1).reshape(&[1]);
    let share = |i: usize| m.shares.slice(0, i..i + 1).reshape(&[1]);
    [
        ("violations/between_residues/bonds_c_n_loss_mean", bond(0)),
        ("violations/between_residues/angles_ca_c_n_loss_mean", bond(1)),
        ("violations/between_residues/angles_c_n_ca_loss_mean", bond(2)),
        ("violations/between_residues/connections_per_residue_loss_sum", v.bonds_per_residue),
        ("violations/between_residues/connections_per_residue_violation_mask", v.bonds_mask),
        ("violations/between_residues/clashes_mean_loss", v.clashes_mean),
        ("violations/between_residues/clashes_per_atom_loss_sum", v.clashes),
        ("violations/between_residues/clashes_per_atom_clash_mask", v.clashes_mask),
        ("violations/within_residues/per_atom_loss_sum", v.within),
        ("violations/within_residues/per_atom_violations", v.within_mask),
        ("violations/total_per_residue_violations_mask", m.total_per_residue),
        ("metrics/violations_between_residue_bond", share(0)),
        ("metrics/violations_between_residue_clash", share(1)),
        ("metrics/violations_within_residue", share(2)),
        ("metrics/violations_per_residue", share(3)),
        ("metrics/violations_extreme_ca_ca_distance", m.extreme_ca_ca),
    ]
    .map(|(name, x)| (format!("structure_module/{name}"), x))
    .into()
}

/// What AlphaFold reports that is a function of the configuration or of the losses alone: edges of bins, weighted losses.
fn host_outputs(case: &Golden, network: &Network, out: &mut Outputs) -> Result<()> {
    let edges = |first: f32, last: f32, n: usize| {
        HostTensor::f32(&[n], (0..n).map(|i| (f64::from(first) + f64::from(last - first) * i as f64 / (n - 1) as f64) as f32).collect())
    };
    let heads = &network.config.heads;
    let [first, last] = heads.distogram_edges;
    out.tensors.insert("distogram/bin_edges".into(), edges(first, last, heads.distogram_bins - 1));
    if let Some(pae) = &heads.pae {
        out.tensors.insert("predicted_aligned_error/breaks".into(), edges(0.0, pae.last_edge, pae.bins - 1));
    }
    for (name, _) in case.with_prefix("out:weighted_loss/") {
        let weight = Part::of(case).number(&format!("heads/{name}/weight"))?;
        let loss = out.tensors.get(&format!("{name}/loss")).map(|t| f64::from(t.as_f32()[0]));
        let loss = loss.ok_or_else(|| Error::format(&case.path, format!("no loss `{name}` was made")))?;
        out.tensors.insert(format!("weighted_loss/{name}"), HostTensor::f32(&[1], vec![(weight * loss) as f32]));
    }
    Ok(())
}

/// Gradients of inputs, which the last pass alone has, and of parameters; of full-size cases their norms and products with the parameters.
fn gradients(session: &Session, case: &Golden, plan: &Plan, params: &crate::nn::params::Params, out: &mut Outputs) -> Result<()> {
    for (name, reference) in case.with_prefix("gin:") {
        let mut all = vec![0.0; reference.len()];
        let row = reference.len() / reference.shape[0];
        for member in 0..plan.members {
            let at = ((plan.passes - 1) * plan.members + member) * row;
            let grad = session.get(&format!("d/{}", member_name(name, member)))?;
            all[at..at + row].copy_from_slice(grad.as_f32());
        }
        out.gradients.insert(format!("gin:{name}"), HostTensor::f32(&reference.shape, all));
    }
    let grads = params.unpack(&session.get_grads()?);
    if let Some(norms) = case.json("gparam_norms")?.as_object() {
        let values = official(case, params)?;
        for name in norms.keys() {
            let (Some(g), Some(p)) = (grads.get(name), values.get(name)) else { continue };
            let (g, p) = (g.to_f64(), p.to_f64());
            let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
            let dot = g.iter().zip(&p).map(|(g, p)| g * p).sum::<f64>();
            out.measures.insert(name.clone(), [norm, dot]);
        }
        return Ok(());
    }
    out.gradients.extend(grads.into_iter().map(|(name, g)| (format!("gparam:{name}"), g)));
    Ok(())
}

/// Marks what lies beyond `valid_residues` in the structure module's outputs and what is made of them: AlphaFold's own values there are
/// rounding noise (QUIRKS 24).
fn leave_out_padding(case: &Golden, plan: &Plan, out: &mut Outputs) -> Result<()> {
    let Some(valid) = case.meta.get("valid_residues").and_then(|v| v.parse::<usize>().ok()) else { return Ok(()) };
    let n = plan.extents.n_res;
    for (name, tensor) in &out.tensors {
        let noisy = name.starts_with("structure_module/") || name == "representations/structure_module" || name == "predicted_lddt/logits";
        let Some(axis) = tensor.shape.iter().position(|&e| e == n).filter(|_| noisy && valid < n) else { continue };
        let inner: usize = tensor.shape[axis + 1..].iter().product();
        out.undefined.insert(name.clone(), (0..tensor.len()).map(|i| i / inner % n >= valid).collect());
    }
    Ok(())
}
