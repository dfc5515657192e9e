//! One example's features, compact: what the loader ships to the GPU.
//!
//! The order of steps is the published one (supplement 1.2): block deletion, sampling of centres, masking, clustering and counting over the whole
//! chain, extra rows, crop. One-hot expansion and the assembly of `msa_feat` are not done here.

use std::ops::Range;

use crate::data::alignment::Alignment;
use crate::data::cluster::{self, Summary};
use crate::data::draws::{ALL_PASSES, Draws, Purpose};
use crate::data::example::{Example, Labels, Template};
use crate::data::mask::{self, Masking};

/// What features are made to.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FeatureConfig {
    /// Residues of the crop; `None` keeps the chain whole.
    pub crop: Option<usize>,
    /// Cluster centres, the query among them (without template rows).
    pub max_clusters: usize,
    /// Extra rows.
    pub max_extra: usize,
    /// Templates; 0 for models without.
    pub max_templates: usize,
    /// BERT masking of the centres. Prediction masks as well, as AlphaFold does.
    pub masking: Masking,
    /// What only training does; `None` for prediction.
    pub training: Option<TrainingRules>,
}

/// Rules of training alone.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrainingRules {
    /// Blocks of rows deleted from the alignment (supplement 1.2.6, Algorithm 1).
    pub deleted_blocks: usize,
    /// Rows of a block, as a share of all rows.
    pub block_fraction: f32,
    /// Rows that a distillation example's alignment keeps (supplement 1.3).
    pub distillation_rows: usize,
    /// Share of examples whose backbone loss is not clamped.
    pub unclamped_fraction: f32,
}

impl Default for TrainingRules {
    fn default() -> Self {
        Self { deleted_blocks: 5, block_fraction: 0.3, distillation_rows: 1000, unclamped_fraction: 0.1 }
    }
}

impl FeatureConfig {
    /// Training with everything as published, to the given crop, centres and extra rows; 4 templates.
    pub fn training(crop: usize, clusters: usize, extra: usize) -> Self {
        let training = Some(TrainingRules::default());
        Self { crop: Some(crop), max_clusters: clusters, max_extra: extra, max_templates: 4, masking: Masking::default(), training }
    }

    /// Prediction of whole chains. `clusters` counts template rows, which take their room from the centres: 512 are 508 + 4.
    pub fn prediction(clusters: usize, extra: usize, templates: usize) -> Self {
        let max_clusters = clusters.saturating_sub(templates).max(1);
        Self { crop: None, max_clusters, max_extra: extra, max_templates: templates, masking: Masking::default(), training: None }
    }
}

/// One example, cropped, for all its passes. Sizes are what the example has; [`crate::data::full`] and `tensors` pad.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    /// Name of the chain.
    pub id: String,
    /// Residues of the whole chain.
    pub n_res: usize,
    /// Where the crop lies in it; `n_crop` is its length.
    pub crop: Range<usize>,
    /// Our types 0..=20, `[n_crop]`.
    pub aatype: Vec<u8>,
    /// Residue numbers, `[n_crop]`.
    pub residue_index: Vec<i32>,
    /// Templates, cropped.
    pub templates: Vec<Template>,
    /// One entry per pass: recycling iterations, times members of an ensemble.
    pub passes: Vec<Pass>,
    /// Ground truth, cropped.
    pub labels: Option<Labels>,
    /// Whether this example's backbone loss is clamped.
    pub clamped: bool,
    /// AlphaFold's `random_crop_to_size_seed`, kept for comparison alone.
    pub crop_seed: [i32; 2],
}

/// What differs from pass to pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pass {
    /// Cluster centres after masking, types 0..=22, `[n_clust, n_crop]`.
    pub msa: Vec<u8>,
    /// The same before masking.
    pub true_msa: Vec<u8>,
    /// 1 where a position was chosen for masking.
    pub bert_mask: Vec<u8>,
    /// Deletion counts of the centres, `[n_clust, n_crop]`.
    pub deletions: Vec<u16>,
    /// What the clusters hold.
    pub clusters: Summary,
    /// Extra rows, types 0..=21, `[n_extra, n_crop]`.
    pub extra_msa: Vec<u8>,
    /// Their deletion counts.
    pub extra_deletions: Vec<u16>,
}

impl Features {
    /// Length of the crop.
    pub fn n_crop(&self) -> usize {
        self.crop.len()
    }

    /// Centres of a pass.
    pub fn n_clust(&self) -> usize {
        self.passes.first().map_or(0, |p| p.clusters.size.len())
    }

    /// Extra rows of a pass.
    pub fn n_extra(&self) -> usize {
        self.passes.first().map_or(0, |p| p.extra_msa.len() / self.n_crop().max(1))
    }
}

/// Makes the features of `passes` passes.
pub fn make(example: &Example, config: &FeatureConfig, passes: usize, draws: &dyn Draws) -> Features {
    let n_res = example.n_res();
    let clamped = match &config.training {
        Some(rules) => draws.uniform(ALL_PASSES, Purpose::Clamp, 0) >= rules.unclamped_fraction,
        None => true,
    };
    let crop = crop_range(n_res, config.crop.unwrap_or(n_res), clamped, draws);
    let thinned;
    let alignment = match config.training.as_ref().and_then(|rules| thin(example, rules, draws)) {
        Some(kept) => {
            thinned = example.alignment.select(&kept);
            &thinned
        }
        None => &example.alignment,
    };
    let profile = mask::profile(&alignment.rows, n_res);
    let templates = choose_templates(example.templates.len(), config, draws);
    Features {
        id: example.id.clone(),
        n_res,
        aatype: example.aatype[crop.clone()].to_vec(),
        residue_index: example.residue_index[crop.clone()].to_vec(),
        templates: templates.into_iter().map(|t| example.templates[t].crop(crop.clone())).collect(),
        passes: (0..passes).map(|pass| make_pass(alignment, &profile, config, crop.clone(), draws, pass)).collect(),
        labels: example.labels.as_ref().map(|l| l.crop(crop.clone())),
        clamped,
        crop_seed: [0, 1].map(|i| (draws.word(ALL_PASSES, Purpose::CropSeed, i) >> 32) as i32),
        crop,
    }
}

/// The rows that block deletion, and for distillation the subsampling before it, leave; `None` when nothing is taken out.
fn thin(example: &Example, rules: &TrainingRules, draws: &dyn Draws) -> Option<Vec<u32>> {
    let n_seq = example.alignment.n_seq();
    let distillation = example.labels.as_ref().is_some_and(|l| l.is_distillation);
    let mut rows: Vec<u32> = (0..n_seq as u32).collect();
    if distillation && n_seq > rules.distillation_rows {
        let order = draws.permutation(ALL_PASSES, Purpose::Subsample, n_seq - 1);
        let mut chosen: Vec<u32> = order[..rules.distillation_rows.saturating_sub(1)].iter().map(|&i| i + 1).collect();
        chosen.sort_unstable();
        rows.truncate(1);
        rows.extend(chosen);
    }
    delete_blocks(&mut rows, rules, draws);
    (rows.len() < n_seq).then_some(rows)
}

/// Algorithm 1 MSABlockDeletion. Blocks start anywhere, may overlap and are cut at the end; row 0 stays.
fn delete_blocks(rows: &mut Vec<u32>, rules: &TrainingRules, draws: &dyn Draws) {
    let n_seq = rows.len();
    let block = (rules.block_fraction * n_seq as f32).floor() as usize; // line 1
    let mut deleted = vec![false; n_seq];
    for k in 0..rules.deleted_blocks {
        let start = draws.below(ALL_PASSES, Purpose::BlockDeletion, k as u64, n_seq); // line 5
        deleted[start..(start + block).min(n_seq)].fill(true); // line 6
    }
    deleted[0] = false;
    let mut place = 0;
    rows.retain(|_| {
        place += 1;
        !deleted[place - 1]
    });
}

/// Where a crop of at most `size` residues lies (supplement 1.2.8). Clamped: uniform. Unclamped: biased towards the chain's start.
pub fn crop_range(n_res: usize, size: usize, clamped: bool, draws: &dyn Draws) -> Range<usize> {
    let size = size.min(n_res);
    let slack = n_res - size;
    let x = if clamped { 0 } else { draws.below(ALL_PASSES, Purpose::CropSlack, 0, slack + 1) };
    let start = draws.below(ALL_PASSES, Purpose::CropStart, 0, slack - x + 1);
    start..start + size
}

/// Which templates are used, in order. Prediction takes the first; training a random `min(Uniform[0, n], 4)` of them (supplement 1.2.2).
pub fn choose_templates(n: usize, config: &FeatureConfig, draws: &dyn Draws) -> Vec<usize> {
    if config.training.is_none() || config.max_templates == 0 {
        return (0..n.min(config.max_templates)).collect();
    }
    let skipped = draws.below(ALL_PASSES, Purpose::TemplateStart, 0, n + 1);
    let order = draws.permutation(ALL_PASSES, Purpose::TemplateOrder, n);
    order.into_iter().skip(skipped).take(config.max_templates).map(|t| t as usize).collect()
}

fn make_pass(alignment: &Alignment, profile: &[f32], config: &FeatureConfig, crop: Range<usize>, draws: &dyn Draws, pass: usize) -> Pass {
    let (chosen, others) = sample(alignment.n_seq(), config.max_clusters, draws, pass);
    let truth = alignment.select(&chosen);
    let mut centres = truth.rows.clone();
    let masked = mask::mask(&mut centres, alignment.n_res, profile, &config.masking, draws, pass);
    let assignment = cluster::nearest(&centres, alignment, &others, false);
    let clusters = cluster::summarize(&centres, &chosen, alignment, &others, &assignment, crop.clone());
    let extra: Vec<u32> = extra_rows(others.len(), config.max_extra, draws, pass).into_iter().map(|i| others[i as usize]).collect();
    let extra_msa = extra.iter().flat_map(|&i| &alignment.row(i as usize)[crop.clone()]).copied().collect();
    Pass {
        msa: columns(&centres, alignment.n_res, &crop),
        true_msa: columns(&truth.rows, alignment.n_res, &crop),
        bert_mask: columns(&masked, alignment.n_res, &crop),
        deletions: deletions(alignment, &chosen, &crop),
        clusters,
        extra_msa,
        extra_deletions: deletions(alignment, &extra, &crop),
    }
}

/// Centres (row 0 first, then random rows) and the other rows (`sample_msa`).
pub fn sample(n_seq: usize, max_clusters: usize, draws: &dyn Draws, pass: usize) -> (Vec<u32>, Vec<u32>) {
    let mut order = vec![0];
    order.extend(draws.permutation(pass, Purpose::SampleMsa, n_seq - 1).into_iter().map(|i| i + 1));
    let others = order.split_off(max_clusters.min(n_seq));
    (order, others)
}

/// Which of `n` other rows are extra rows (`crop_extra_msa`).
pub fn extra_rows(n: usize, max_extra: usize, draws: &dyn Draws, pass: usize) -> Vec<u32> {
    let mut order = draws.permutation(pass, Purpose::ExtraMsa, n);
    order.truncate(max_extra);
    order
}

/// The columns `crop` of rows `n_res` wide.
fn columns(rows: &[u8], n_res: usize, crop: &Range<usize>) -> Vec<u8> {
    rows.chunks_exact(n_res).flat_map(|row| &row[crop.clone()]).copied().collect()
}

fn deletions(alignment: &Alignment, rows: &[u32], crop: &Range<usize>) -> Vec<u16> {
    let mut out = vec![0; rows.len() * crop.len()];
    for (&i, row) in rows.iter().zip(out.chunks_exact_mut(crop.len())) {
        alignment.deletions.fill(i as usize, crop.start, row);
    }
    out
}
