//! The command lists of training and of prediction, recorded but neither planned nor run.
//!
//! Knows the network and the optimiser's states; must not know a device.

use crate::graph::{Graph, Saving, Tensor};
use crate::loss::total::Weights;
use crate::model::config::Config;
use crate::model::features::Extents;
use crate::model::network::Network;
use crate::nn::dropout::seed_input;
use crate::nn::params::Params;
use crate::ops;
use crate::tensor::DType;
use crate::train::labels::{Labels, Losses, losses};
use crate::train::optimizer;

/// Of training's `predict`: logits `[n_clust, n_res, 23]`.
pub const MASKED_MSA: &str = "logits/masked_msa";
/// Of training's `predict`: logits `[n_res, n_res, 64]`.
pub const DISTOGRAM: &str = "logits/distogram";

/// How a step is recorded.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The model.
    pub model: Config,
    /// Extents of every example: shorter ones are padded and masked.
    pub extents: Extents,
    /// How activations are stored.
    pub storage: DType,
    /// Weights of the losses.
    pub weights: Weights,
    /// Whether dropout is on.
    pub dropout: bool,
    /// Whether there are factors on the learning rate.
    pub scaled: bool,
    /// What is computed again to save memory.
    pub saving: Saving,
}

/// Lists that share parameters and states.
#[derive(Debug)]
pub struct Lists {
    /// Lists by name.
    pub graphs: Vec<(&'static str, Graph)>,
    /// The parameters' places.
    pub params: Params,
    /// The loss terms; each is the output `loss/NAME` of `example`.
    pub terms: Vec<&'static str>,
}

impl Lists {
    /// The lists as sessions and plans take them.
    pub fn graphs(&self) -> Vec<(&'static str, &Graph)> {
        self.graphs.iter().map(|(name, graph)| (*name, graph)).collect()
    }
}

/// The loss terms that a log shows, by name.
fn terms<'g>(l: &Losses<'g>) -> Vec<(&'static str, Tensor<'g>)> {
    let t = &l.terms;
    let mut all = vec![
        ("total", l.total),
        ("fape", t.structure.fape),
        ("sidechain_fape", t.structure.sidechain_fape),
        ("chi", t.structure.chi_loss),
        ("angle_norm", t.structure.angle_norm_loss),
        ("distogram", t.distogram),
        ("masked_msa", t.masked_msa),
        ("plddt", t.plddt),
        ("structure", t.structure.loss),
    ];
    all.extend(t.structure.violation.map(|x| ("violation", x)));
    all.extend(t.experimentally_resolved.map(|x| ("experimentally_resolved", x)));
    all.extend(t.predicted_aligned_error.map(|x| ("predicted_aligned_error", x)));
    all
}

/// A training step: `pass`, without gradient; `example`, with its losses, its gradient and its part of the step's; `update`; and `predict`,
/// a pass without dropout, with the logits that validation measures.
pub fn training(recipe: &Recipe) -> Lists {
    let network = Network::new(recipe.model.clone(), recipe.storage);
    let new = |elements| ops::graph(recipe.storage, elements);
    let (pass, example, predict) = (new(0), new(0), new(0));
    let seed = |graph| recipe.dropout.then(|| seed_input(&network.scope(graph)));
    network.recycling_pass(&pass, recipe.extents, 1, seed(&pass));
    example.save(recipe.saving);
    let last = network.pass(&example, recipe.extents, 1, seed(&example), &|_| false);
    let labels = Labels::inputs(&example, &last.ensemble[0]);
    let found = losses(&last.prediction, &labels, last.residues.atom37_atom_exists, &recipe.model, &recipe.weights);
    let named = terms(&found);
    named.iter().for_each(|(name, x)| example.output(&format!("loss/{name}"), *x));
    let terms = named.iter().map(|(name, _)| *name).collect();
    example.backward(&[(found.total, None)]);
    optimizer::after_example(&example, found.total, recipe.scaled);
    let prediction = network.recycling_pass(&predict, recipe.extents, 1, None).prediction;
    predict.output("plddt", prediction.plddt);
    predict.output(MASKED_MSA, prediction.masked_msa);
    predict.output(DISTOGRAM, prediction.distogram);
    let params = network.params.take();
    let update = new(params.len());
    optimizer::update(&update, recipe.scaled);
    Lists { graphs: vec![("pass", pass), ("example", example), ("update", update), ("predict", predict)], params, terms }
}

/// A prediction: `predict`, a pass whose result the next one reads, with what the heads say of it.
pub fn prediction(model: &Config, extents: Extents, storage: DType) -> Lists {
    let network = Network::new(model.clone(), storage);
    let graph = ops::graph(storage, 0);
    let p = network.recycling_pass(&graph, extents, 1, None).prediction;
    graph.output("plddt", p.plddt);
    if let Some(pae) = p.pae {
        graph.output("pae", pae);
    }
    Lists { graphs: vec![("predict", graph)], params: network.params.take(), terms: Vec::new() }
}
