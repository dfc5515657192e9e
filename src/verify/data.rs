//! Golden cases of the group `data`: parsers and transforms of features. Structures and templates are run by other files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::data::alignment::{Alignment, Deletions};
use crate::data::alphabet::{HHBLITS_TO_OURS, X};
use crate::data::cluster::{self, Summary};
use crate::data::draws::{ALL_PASSES, Purpose};
use crate::data::example::{Example, Template};
use crate::data::features::{self, FeatureConfig};
use crate::data::full::{self, Size};
use crate::data::mask::{self, Masking};
use crate::data::raw;
use crate::error::{Error, Result};
use crate::io::{fasta, msa, stockholm_text, text};
use crate::protein::truth::pseudo_beta;
use crate::tensor::{Data, HostTensor};
use crate::verify::golden::Golden;
use crate::verify::host_structure::Outputs;
use crate::verify::replay::Replay;

/// Runs a case; `None` when its module is not one of these. Integers and strings must be equal, floats within 1e-6 of max|reference|.
pub fn run(case: &Golden) -> Option<Result<Outputs>> {
    let run: fn(&Golden) -> Result<Outputs> = match case.module.as_str() {
        "parse_fasta" => parse_fasta,
        "msa_parser" => parse_msa,
        "stockholm_text" => text_of_stockholm,
        "raw_features" => raw_features,
        "squeeze_features" => squeeze_features,
        "correct_msa_restypes" => correct_msa_restypes,
        "fix_templates_aatype" => fix_templates_aatype,
        "make_template_mask" => make_template_mask,
        "make_atom14_masks" => make_atom14_masks,
        // The network's own `pseudo_beta` is another module.
        "make_pseudo_beta" => make_pseudo_beta,
        "make_hhblits_profile" => make_hhblits_profile,
        "sample_msa" => sample_msa,
        "make_masked_msa" => make_masked_msa,
        "nearest_neighbor_clusters" => nearest_neighbor_clusters,
        "summarize_clusters" => summarize_clusters,
        "crop_extra_msa" => crop_extra_msa,
        "make_msa_feat" => make_msa_feat,
        "random_crop_to_size" => random_crop_to_size,
        "make_fixed_size" => make_fixed_size,
        "np_example_to_features" => np_example_to_features,
        _ => return None,
    };
    Some(run(case))
}

fn tensors<const N: usize>(all: [(&str, HostTensor); N]) -> Result<Outputs> {
    Ok(Outputs { tensors: all.into_iter().map(|(n, t)| (n.to_owned(), t)).collect(), ..Outputs::default() })
}

fn strings<const N: usize>(all: [(&str, Value); N]) -> Outputs {
    let empty = HostTensor::i32(&[1], vec![0]);
    let strings = all.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
    Outputs { tensors: BTreeMap::from([("empty".into(), empty)]), strings, ..Outputs::default() }
}

/// The case's files, beside it.
fn files(case: &Golden) -> Result<Vec<PathBuf>> {
    let names = case.json("files")?;
    let folder = case.path.parent().map(PathBuf::from).unwrap_or_default();
    let names = names.as_array().filter(|n| !n.is_empty()).ok_or_else(|| Error::format(&case.path, "metadata `files` names no file"))?;
    Ok(names.iter().filter_map(Value::as_str).map(|n| folder.join(n)).collect())
}

/// A number in the case's note, such as `max_seq=12`.
fn noted(case: &Golden, key: &str) -> Result<usize> {
    let note = case.meta.get("note").map(String::as_str).unwrap_or("");
    note.split(|c: char| !(c.is_ascii_alphanumeric() || "_=.".contains(c)))
        .filter_map(|word| word.split_once('='))
        .find(|(k, _)| *k == key)
        .and_then(|(_, v)| v.trim_end_matches('.').parse().ok())
        .ok_or_else(|| Error::format(&case.path, format!("the note gives no `{key}`")))
}

fn kinds(case: &Golden, tensor: &HostTensor) -> Result<Vec<u8>> {
    let kind = |&t: &i32| u8::try_from(t).ok().filter(|&t| t < 23);
    tensor.as_i32().iter().map(kind).collect::<Option<_>>().ok_or_else(|| Error::format(&case.path, "a residue type outside 0..=22"))
}

fn ints(kinds: &[u8]) -> Vec<i32> {
    kinds.iter().map(|&t| i32::from(t)).collect()
}

/// Deletion counts, which the goldens hold as floats.
fn counts(case: &Golden, tensor: &HostTensor) -> Result<Vec<u16>> {
    let count = |x: f64| (x == x.trunc() && (0.0..65536.0).contains(&x)).then_some(x as u16);
    tensor
        .to_f64()
        .into_iter()
        .map(count)
        .collect::<Option<_>>()
        .ok_or_else(|| Error::format(&case.path, "a deletion count that is no count"))
}

/// Rows and deletions as an alignment. The masks AlphaFold carries along are all ones before padding; other values are refused.
fn alignment(case: &Golden, msa: &str, deletions: Option<&str>) -> Result<Alignment> {
    let rows = case.input(msa)?;
    let n_res = rows.shape[1];
    let counts = match deletions {
        Some(name) => counts(case, case.input(name)?)?,
        None => vec![0; rows.len()],
    };
    for mask in [format!("{msa}_mask"), format!("{msa}_row_mask")] {
        if case.input(&mask).is_ok_and(|m| m.to_f64().iter().any(|&x| x != 1.0)) {
            return Err(Error::format(&case.path, format!("`{mask}` has zeros, which no alignment has before padding")));
        }
    }
    let mut table = Deletions::default();
    counts.chunks_exact(n_res).for_each(|row| table.push_dense(row));
    Ok(Alignment { n_res, rows: kinds(case, rows)?, deletions: table })
}

fn dense(alignment: &Alignment) -> HostTensor {
    let mut out = vec![0u16; alignment.rows.len()];
    for (i, row) in out.chunks_exact_mut(alignment.n_res).enumerate() {
        alignment.deletions.fill(i, 0, row);
    }
    HostTensor::f32(&[alignment.n_seq(), alignment.n_res], out.into_iter().map(f32::from).collect())
}

fn rows(alignment: &Alignment) -> HostTensor {
    HostTensor::i32(&[alignment.n_seq(), alignment.n_res], ints(&alignment.rows))
}

fn ones(shape: &[usize]) -> HostTensor {
    HostTensor::f32(shape, vec![1.0; shape.iter().product()])
}

fn parse_fasta(case: &Golden) -> Result<Outputs> {
    let records = fasta::read(&files(case)?[0])?;
    let sequences: Vec<_> = records.iter().map(|r| r.sequence.clone()).collect();
    let descriptions: Vec<_> = records.iter().map(|r| r.description.clone()).collect();
    Ok(strings([("sequences", json!(sequences)), ("descriptions", json!(descriptions))]))
}

fn parse_msa(case: &Golden) -> Result<Outputs> {
    let msa = msa::read(&files(case)?[0])?;
    let sequences: Vec<_> = (0..msa.n_seq()).map(|i| String::from_utf8_lossy(msa.row(i)).into_owned()).collect();
    let mut out = strings([("sequences", json!(sequences)), ("descriptions", json!(msa.names))]);
    let deletions = msa.deletions.iter().map(|&d| i32::from(d)).collect();
    out.tensors = BTreeMap::from([("deletion_matrix".into(), HostTensor::i32(&[msa.n_seq(), msa.width], deletions))]);
    Ok(out)
}

fn text_of_stockholm(case: &Golden) -> Result<Outputs> {
    let path = files(case)?.remove(0);
    let sto = text::read_string(&path)?;
    let deduplicated = stockholm_text::deduplicate(&sto, &path)?;
    Ok(strings([
        ("a3m", json!(stockholm_text::to_a3m(&sto, None, true, &path)?)),
        ("a3m_max5", json!(stockholm_text::to_a3m(&sto, Some(5), true, &path)?)),
        ("a3m_keep_gaps", json!(stockholm_text::to_a3m(&sto, None, false, &path)?)),
        ("deduplicated_no_empty_columns", json!(stockholm_text::remove_empty_columns(&deduplicated, &path)?)),
        ("deduplicated", json!(deduplicated)),
        ("truncated5", json!(stockholm_text::truncate(&sto, 5))),
    ]))
}

fn raw_features(case: &Golden) -> Result<Outputs> {
    let paths = files(case)?;
    let msas = paths.iter().map(msa::read).collect::<Result<Vec<_>>>()?;
    let (alignment, kept) = Alignment::stack(&msas)?;
    let species: Vec<&str> = kept.iter().map(|&(m, i)| raw::species(&msas[m].names[i])).collect();
    let query = msas[0].query();
    let order: Vec<_> = paths.iter().map(|p| p.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
    let mut tensors = raw::sequence_features(&query);
    tensors.extend(raw::msa_features(&alignment));
    let strings = [
        ("query", json!(String::from_utf8_lossy(&query))),
        ("description", json!(msas[0].names[0])),
        ("msa_species_identifiers", json!(species)),
        ("msa_order", json!(order)),
    ];
    Ok(Outputs { tensors, strings: strings.into_iter().map(|(n, v)| (n.to_owned(), v)).collect(), ..Outputs::default() })
}

fn squeeze_features(case: &Golden) -> Result<Outputs> {
    let squeezed = raw::squeeze(case.with_prefix("in:").map(|(n, t)| (n.to_owned(), t.clone())).collect());
    Ok(Outputs { tensors: squeezed, ..Outputs::default() })
}

fn correct_msa_restypes(case: &Golden) -> Result<Outputs> {
    let msa = case.input("msa")?;
    let mapped = raw::to_our_order(msa.as_i32()).ok_or_else(|| Error::format(&case.path, "a type outside HHblits' 22"))?;
    tensors([("msa", HostTensor::i32(&msa.shape, ints(&mapped)))])
}

fn fix_templates_aatype(case: &Golden) -> Result<Outputs> {
    let one_hot = case.input("template_aatype")?;
    let kinds = raw::template_types(one_hot.as_f32());
    tensors([("template_aatype", HostTensor::i32(&one_hot.shape[..2], ints(&kinds)))])
}

fn make_template_mask(case: &Golden) -> Result<Outputs> {
    // The case has no input but the number of its templates, which the output's shape tells.
    let n = case.get("out:template_mask")?.len();
    let none = Template { aatype: vec![X], positions: vec![[[0.0; 3]; 37]], mask: vec![[0.0; 37]], ..Template::default() };
    let f = features::Features { crop: 0..1, aatype: vec![X], templates: vec![none; n], ..Default::default() };
    let mut all = full::template_features(&f, Size { n_res: 1, n_clust: 0, n_extra: 0, n_templ: n });
    tensors([("template_mask", all.remove("template_mask").expect("template features hold a mask"))])
}

fn make_atom14_masks(case: &Golden) -> Result<Outputs> {
    let kinds = kinds(case, case.input("aatype")?)?;
    if kinds.iter().any(|&t| t > X) {
        return Err(Error::format(&case.path, "`aatype` above 20"));
    }
    Ok(Outputs { tensors: full::atom14_masks(&kinds), ..Outputs::default() })
}

/// Templates of a case, from their types, positions and masks.
fn templates(case: &Golden, kinds: &[u8], n_templ: usize, n_res: usize) -> Result<Vec<Template>> {
    let positions = case.input("template_all_atom_positions")?.as_f32();
    let masks = case.input("template_all_atom_masks")?.as_f32();
    let sum_probs = case.input("template_sum_probs").map(|t| t.as_f32().to_vec()).unwrap_or(vec![0.0; n_templ]);
    let template = |t: usize| Template {
        name: String::new(),
        sum_probs: sum_probs[t],
        aatype: kinds[t * n_res..][..n_res].to_vec(),
        positions: positions[t * n_res * 111..][..n_res * 111].as_chunks::<3>().0.as_chunks::<37>().0.to_vec(),
        mask: masks[t * n_res * 37..][..n_res * 37].as_chunks::<37>().0.to_vec(),
    };
    Ok((0..n_templ).map(template).collect())
}

fn make_pseudo_beta(case: &Golden) -> Result<Outputs> {
    let aatype = case.input("template_aatype")?;
    let (n_templ, n_res) = (aatype.shape[0], aatype.shape[1]);
    let (mut at, mut known) = (Vec::new(), Vec::new());
    for template in templates(case, &kinds(case, aatype)?, n_templ, n_res)? {
        for i in 0..n_res {
            let (beta, mask) = pseudo_beta(usize::from(template.aatype[i]), &template.positions[i], &template.mask[i]);
            at.extend(beta);
            known.push(mask);
        }
    }
    tensors([
        ("template_pseudo_beta", HostTensor::f32(&[n_templ, n_res, 3], at)),
        ("template_pseudo_beta_mask", HostTensor::f32(&[n_templ, n_res], known)),
    ])
}

fn make_hhblits_profile(case: &Golden) -> Result<Outputs> {
    let msa = case.input("msa")?;
    let profile = mask::profile(&kinds(case, msa)?, msa.shape[1]);
    tensors([("hhblits_profile", HostTensor::f32(&[msa.shape[1], 22], profile))])
}

fn sample_msa(case: &Golden) -> Result<Outputs> {
    let all = alignment(case, "msa", Some("deletion_matrix"))?;
    let draws = Replay::new(case).with(0, Purpose::SampleMsa, "draw0_shuffle")?;
    let (chosen, others) = features::sample(all.n_seq(), noted(case, "max_seq")?, &draws, 0);
    draws.finish()?;
    let (chosen, others) = (all.select(&chosen), all.select(&others));
    let (n, c, e) = (all.n_res, chosen.n_seq(), others.n_seq());
    tensors([
        ("msa", rows(&chosen)),
        ("deletion_matrix", dense(&chosen)),
        ("msa_mask", ones(&[c, n])),
        ("msa_row_mask", ones(&[c])),
        ("extra_msa", rows(&others)),
        ("extra_deletion_matrix", dense(&others)),
        ("extra_msa_mask", ones(&[e, n])),
        ("extra_msa_row_mask", ones(&[e])),
    ])
}

fn make_masked_msa(case: &Golden) -> Result<Outputs> {
    let truth = case.input("msa")?;
    let draws = Replay::new(case).with(0, Purpose::MaskPosition, "draw0_uniform")?.with_logits(0, "draw1_categorical_logits")?.with(
        0,
        Purpose::MaskResidue,
        "draw2_categorical",
    )?;
    let mut msa = kinds(case, truth)?;
    let profile = case.input("hhblits_profile")?.as_f32();
    let bert = mask::mask(&mut msa, truth.shape[1], profile, &Masking::default(), &draws, 0);
    draws.finish()?;
    tensors([
        ("msa", HostTensor::i32(&truth.shape, ints(&msa))),
        ("true_msa", truth.clone()),
        ("bert_mask", HostTensor::f32(&truth.shape, bert.into_iter().map(f32::from).collect())),
    ])
}

fn nearest_neighbor_clusters(case: &Golden) -> Result<Outputs> {
    let centres = alignment(case, "msa", None)?;
    let extra = alignment(case, "extra_msa", None)?;
    let others: Vec<u32> = (0..extra.n_seq() as u32).collect();
    let gaps_agree = case.meta.get("note").is_some_and(|n| n.contains("gap_agreement_weight=1.0"));
    let assignment = cluster::nearest(&centres.rows, &extra, &others, gaps_agree);
    tensors([("extra_cluster_assignment", HostTensor::i32(&[others.len()], assignment.iter().map(|&k| k as i32).collect()))])
}

fn summarize_clusters(case: &Golden) -> Result<Outputs> {
    let centres = alignment(case, "msa", Some("deletion_matrix"))?;
    let mut all = alignment(case, "extra_msa", Some("extra_deletion_matrix"))?;
    let (n_extra, n_clust, n_res) = (all.n_seq(), centres.n_seq(), all.n_res);
    for i in 0..n_clust {
        all.rows.extend_from_slice(centres.row(i));
        all.deletions.items.extend_from_slice(centres.deletions.row(i));
        all.deletions.offsets.push(all.deletions.items.len() as u32);
    }
    let others: Vec<u32> = (0..n_extra as u32).collect();
    let chosen: Vec<u32> = (n_extra as u32..(n_extra + n_clust) as u32).collect();
    let cluster = |&k: &i32| u32::try_from(k).ok().filter(|&k| (k as usize) < n_clust);
    let assignment = case.input("extra_cluster_assignment")?.as_i32().iter().map(cluster).collect::<Option<Vec<_>>>();
    let assignment = assignment.ok_or_else(|| Error::format(&case.path, "a cluster that is not there"))?;
    let summary: Summary = cluster::summarize(&centres.rows, &chosen, &all, &others, &assignment, 0..n_res);
    let (profile, mean) = cluster::means(&summary);
    tensors([
        ("cluster_profile", HostTensor::f32(&[n_clust, n_res, 23], profile)),
        ("cluster_deletion_mean", HostTensor::f32(&[n_clust, n_res], mean)),
    ])
}

fn crop_extra_msa(case: &Golden) -> Result<Outputs> {
    let all = alignment(case, "extra_msa", Some("extra_deletion_matrix"))?;
    let draws = Replay::new(case).with(0, Purpose::ExtraMsa, "draw0_shuffle")?;
    let part = all.select(&features::extra_rows(all.n_seq(), noted(case, "max_extra_msa")?, &draws, 0));
    draws.finish()?;
    let n = part.n_seq();
    tensors([
        ("extra_msa", rows(&part)),
        ("extra_deletion_matrix", dense(&part)),
        ("extra_msa_mask", ones(&[n, part.n_res])),
        ("extra_msa_row_mask", ones(&[n])),
    ])
}

fn make_msa_feat(case: &Golden) -> Result<Outputs> {
    let msa = case.input("msa")?;
    let (n_clust, n_res) = (msa.shape[0], msa.shape[1]);
    let float = |name: &str| case.input(name).map(HostTensor::as_f32);
    let feat = full::msa_feat(&kinds(case, msa)?, float("deletion_matrix")?, float("cluster_profile")?, float("cluster_deletion_mean")?);
    let extra = case.input("extra_deletion_matrix")?;
    let each = |f: fn(f32) -> f32| HostTensor::f32(&extra.shape, extra.as_f32().iter().map(|&d| f(d)).collect());
    tensors([
        ("msa_feat", HostTensor::f32(&[n_clust, n_res, 49], feat)),
        ("target_feat", HostTensor::f32(&[n_res, 22], full::target_feat(&kinds(case, case.input("aatype")?)?))),
        ("extra_has_deletion", each(full::has_deletion)),
        ("extra_deletion_value", each(full::deletion_value)),
    ])
}

fn random_crop_to_size(case: &Golden) -> Result<Outputs> {
    let n_res = case.input("aatype")?.len();
    let mut config = FeatureConfig::prediction(1, 0, noted(case, "max_templates")?);
    config.crop = Some(noted(case, "crop_size")?);
    let draws = Replay::new(case).with(ALL_PASSES, Purpose::CropStart, "draw0_stateless_uniform")?;
    let crop = features::crop_range(n_res, config.crop.unwrap_or(n_res), true, &draws);
    let kept = features::choose_templates(case.input("template_mask")?.len(), &config, &draws);
    draws.finish()?;
    let mut out = BTreeMap::new();
    for (name, tensor) in case.with_prefix("in:").filter(|(n, _)| !n.starts_with("draw")) {
        let cropped = match name {
            "seq_length" => HostTensor::i32(&[1], vec![crop.len() as i32]),
            "template_mask" => tensor.rows(0..kept.len()),
            "aatype" | "residue_index" => tensor.rows(crop.clone()),
            "msa_feat" => crop_second_axis(tensor, 0..tensor.shape[0], crop.clone()),
            _ => crop_second_axis(tensor, 0..kept.len(), crop.clone()),
        };
        out.insert(name.to_owned(), cropped);
    }
    Ok(Outputs { tensors: out, ..Outputs::default() })
}

fn crop_second_axis(tensor: &HostTensor, first: std::ops::Range<usize>, second: std::ops::Range<usize>) -> HostTensor {
    let inner = &tensor.shape[1..];
    let mut shape = vec![first.len(), second.len()];
    shape.extend_from_slice(&inner[1..]);
    let rows = first.map(|i| tensor.rows(i..i + 1).reshape(inner).rows(second.clone()));
    match &tensor.data {
        Data::F32(_) => HostTensor::f32(&shape, rows.flat_map(|r| r.to_f32()).collect()),
        Data::I32(_) => HostTensor::i32(&shape, rows.flat_map(|r| r.as_i32().to_vec()).collect()),
    }
}

fn make_fixed_size(case: &Golden) -> Result<Outputs> {
    let size = |key: &str| noted(case, key);
    let (clusters, extra) = (size("msa_cluster_size")?, size("extra_msa_size")?);
    let (n_res, n_templ) = (size("num_res")?, size("num_templates")?);
    let mut out = BTreeMap::new();
    for (name, tensor) in case.with_prefix("in:").filter(|(n, _)| *n != "seq_length") {
        let mut to = tensor.shape.clone();
        match name {
            "aatype" => to[0] = n_res,
            "template_mask" => to[0] = n_templ,
            "extra_msa" => to[..2].copy_from_slice(&[extra, n_res]),
            "template_aatype" => to[..2].copy_from_slice(&[n_templ, n_res]),
            _ => to[..2].copy_from_slice(&[clusters, n_res]),
        }
        let padded = match &tensor.data {
            Data::F32(v) => full::pad_f32(v, &tensor.shape, &to),
            Data::I32(v) => full::pad_i32(v, &tensor.shape, &to),
        };
        out.insert(name.to_owned(), padded);
    }
    Ok(Outputs { tensors: out, ..Outputs::default() })
}

fn np_example_to_features(case: &Golden) -> Result<Outputs> {
    let setting = |path: &str| {
        let value = case.config.pointer(path);
        value
            .and_then(Value::as_u64)
            .map(|v| v as usize)
            .ok_or_else(|| Error::format(&case.path, format!("`config` has no number at {path}")))
    };
    let with_templates = case.config.pointer("/data/common/use_templates").and_then(Value::as_bool).unwrap_or(false);
    let reduced = case.config.pointer("/data/common/reduce_msa_clusters_by_max_templates").and_then(Value::as_bool).unwrap_or(false);
    let (crop, max_templates) = (setting("/crop_size")?, setting("/data/eval/max_templates")?);
    let n_clust = setting("/max_msa_clusters")? - if reduced { max_templates } else { 0 };
    let n_extra = setting("/max_extra_msa")?;
    let n_templ = if with_templates { max_templates } else { 0 };
    let config = FeatureConfig {
        crop: Some(crop),
        max_clusters: n_clust,
        max_extra: n_extra,
        max_templates: n_templ,
        masking: Masking::default(),
        training: None,
    };
    let passes = setting("/num_recycle")? + 1;
    let draws = recorded_passes(case, passes)?;
    let features = features::make(&raw_example(case, with_templates)?, &config, passes, &draws);
    draws.finish()?;
    let mut tensors = full::full(&features, Size { n_res: crop, n_clust, n_extra, n_templ });
    // AlphaFold's configuration of these cases has no such feature.
    tensors.remove("is_distillation");
    // The order of the draws is an input that the metadata keeps among the strings.
    Ok(Outputs {
        tensors,
        strings: BTreeMap::from([("draw_order".into(), case.json("strings")?["draw_order"].clone())]),
        ..Outputs::default()
    })
}

/// The draws of an `np_example_to_features` case. With several passes AlphaFold draws one more first and throws it away.
fn recorded_passes(case: &Golden, passes: usize) -> Result<Replay<'_>> {
    let name = |k: usize, kind: &str| format!("draw{k:02}_{kind}");
    let mut replay = Replay::new(case).with(ALL_PASSES, Purpose::CropSeed, &name(2, "uniform"))?;
    let first = 3 + if passes > 1 { 7 } else { 0 };
    replay = replay.with(ALL_PASSES, Purpose::CropStart, &name(first + 5, "stateless_uniform"))?;
    for pass in 0..passes {
        let k = first + 7 * pass;
        replay = replay
            .with(pass, Purpose::SampleMsa, &name(k, "shuffle"))?
            .with(pass, Purpose::MaskPosition, &name(k + 1, "uniform"))?
            .with_logits(pass, &name(k + 2, "categorical_logits"))?
            .with(pass, Purpose::MaskResidue, &name(k + 3, "categorical"))?
            .with(pass, Purpose::ExtraMsa, &name(k + 4, "shuffle"))?;
    }
    Ok(replay)
}

/// The example behind raw features.
fn raw_example(case: &Golden, with_templates: bool) -> Result<Example> {
    let squeezed = raw::squeeze(BTreeMap::from([("aatype".to_owned(), case.input("aatype")?.clone())]));
    let aatype = kinds(case, &squeezed["aatype"])?;
    let mut alignment = alignment(case, "msa", Some("deletion_matrix"))?;
    alignment.rows.iter_mut().for_each(|t| *t = HHBLITS_TO_OURS[usize::from(*t)]);
    let mut example = Example {
        id: case.case.clone(),
        residue_index: case.input("residue_index")?.as_i32().to_vec(),
        aatype,
        alignment,
        templates: Vec::new(),
        labels: None,
    };
    if with_templates {
        let one_hot = case.input("template_aatype")?;
        let kinds = raw::template_types(one_hot.as_f32());
        example.templates = templates(case, &kinds, one_hot.shape[0], one_hot.shape[1])?;
    }
    Ok(example)
}
