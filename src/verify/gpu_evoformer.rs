//! Runs the larger parts of the trunk on the device: blocks, template embedding, embeddings with both stacks.

use std::collections::BTreeMap;

use crate::data::template_angles::template_angles;
use crate::error::Result;
use crate::model::embed::Previous;
use crate::model::evoformer::{self, Masks};
use crate::model::features::{Features, Templates};
use crate::model::{template, trunk};
use crate::ops::evoformer::pseudo_beta::PseudoBeta;
use crate::verify::Context;
use crate::verify::alphafold_config;
use crate::verify::bench::Bench;
use crate::verify::golden::Golden;
use crate::verify::host_structure::{self, Outputs};

/// The outputs and gradients of a case, or `None` when its module is not one of this file's.
pub fn run(context: &Context, case: &Golden) -> Option<Result<Outputs>> {
    Some(match case.module.as_str() {
        "evoformer_iteration" => Bench::run(context, case, block),
        "pseudo_beta" => pseudo_beta(context, case),
        "single_template_embedding" => Bench::run(context, case, |r| {
            let config = alphafold_config::template(r.config())?;
            let names = ["template_aatype", "template_pseudo_beta", "template_pseudo_beta_mask"];
            let [aatype, beta, beta_mask] = names.map(|n| r.input(n));
            let (atoms, masks) = (r.input("template_all_atom_positions")?, r.input("template_all_atom_masks")?);
            let one = [aatype?, beta?, beta_mask?, atoms, masks].map(|x| x.reshape(&[&[1], x.shape().as_slice()].concat()));
            let scope = r.scope.child(&case.module);
            r.output("output", template::single_template_embedding(&scope, one, r.input("mask_2d")?, &config, None))
        }),
        "template_embedding" => Bench::run(context, case, |r| {
            let config = alphafold_config::template(r.config())?;
            let (z, mask) = (r.input("query_embedding")?, r.input("mask_2d")?);
            r.output("output", template::template_embedding(&r.scope.child(&case.module), z, &templates(r)?, mask, &config, None))
        }),
        "embeddings_and_evoformer" => Bench::run(context, case, trunk),
        _ => return None,
    })
}

fn block(r: &Bench) -> Result<()> {
    let config = alphafold_config::block(r.config(), 1)?;
    let extra = r.config().flag("is_extra_msa")?;
    let scope = r.scope.child(if extra { "extra_msa_stack" } else { "evoformer_iteration" });
    let masks = Masks { msa: r.input("msa_mask")?, pair: r.input("pair_mask")? };
    let mz = (r.input("msa")?, r.input("pair")?);
    let (m, z) = r.graph.recompute(|| evoformer::evoformer_block(&scope, mz, masks, &config, extra, None));
    r.output("msa", m)?;
    r.output("pair", z)
}

/// The position is the network's; its mask is made by the host, which ships it with the ground truth.
fn pseudo_beta(context: &Context, case: &Golden) -> Result<Outputs> {
    let mut out = Bench::run(context, case, |r| {
        r.output("pseudo_beta", r.graph.apply(PseudoBeta, &[r.input("aatype")?, r.input("all_atom_positions")?]))
    })?;
    let host = host_structure::run(case).expect("the host knows the module")?;
    out.tensors.extend(host.tensors.into_iter().filter(|(name, _)| name == "pseudo_beta_mask"));
    Ok(out)
}

/// The template features of a case, those that the host derives included.
fn templates<'g>(r: &Bench<'g>) -> Result<Templates<'g>> {
    let given: BTreeMap<_, _> =
        r.case.with_prefix("in:").filter(|(n, _)| n.starts_with("template_")).map(|(n, t)| (n.to_string(), t.clone())).collect();
    template_angles(&given).into_iter().for_each(|(name, value)| r.derive(&name, value));
    Ok(Templates {
        aatype: r.input("template_aatype")?,
        pseudo_beta: r.input("template_pseudo_beta")?,
        pseudo_beta_mask: r.input("template_pseudo_beta_mask")?,
        all_atom_positions: r.input("template_all_atom_positions")?,
        all_atom_masks: r.input("template_all_atom_masks")?,
        angle_feat: r.input("template_angle_feat")?,
        angle_mask: r.input("template_angle_mask")?,
        mask: r.input("template_mask")?,
        any: r.input("template_any")?,
    })
}

fn trunk(r: &Bench) -> Result<()> {
    let config = alphafold_config::trunk(r.config())?;
    let f = Features {
        aatype: r.input("aatype")?,
        residue_index: r.input("residue_index")?,
        seq_mask: r.input("seq_mask")?,
        target_feat: r.input("target_feat")?,
        msa_feat: r.input("msa_feat")?,
        msa_mask: r.input("msa_mask")?,
        extra_msa: r.input("extra_msa")?,
        extra_has_deletion: r.input("extra_has_deletion")?,
        extra_deletion_value: r.input("extra_deletion_value")?,
        extra_msa_mask: r.input("extra_msa_mask")?,
        templates: if config.template.is_some() { Some(templates(r)?) } else { None },
    };
    let recycled = r.config().flag("recycle_features")?;
    let previous = match recycled {
        true => Some(Previous { pos: r.input("prev_pos")?, msa_first_row: r.input("prev_msa_first_row")?, pair: r.input("prev_pair")? }),
        false => None,
    };
    let out = trunk::embeddings_and_evoformer(&r.scope.child("evoformer"), &f, previous.as_ref(), &config, None);
    let named = [("msa", out.msa), ("msa_first_row", out.msa_first_row), ("pair", out.pair), ("single", out.single)];
    named.into_iter().try_for_each(|(name, x)| r.output(name, x))
}
