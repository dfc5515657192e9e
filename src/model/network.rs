//! The command lists of one shape: passes without gradient, and predictions. They share parameters and what passes hand on.

use std::cell::RefCell;
use std::rc::Rc;

use crate::graph::{Graph, Tensor};
use crate::model::alphafold::{Prediction, SCOPE, alphafold_iteration, previous, recycle};
use crate::model::config::Config;
use crate::model::features::{Extents, Features, residues};
use crate::model::structure::Residues;
use crate::nn::params::{Params, Scope};
use crate::tensor::DType;

/// What all lists of a model have in common.
#[derive(Debug, Clone)]
pub struct Network {
    /// The model's sizes.
    pub config: Config,
    /// Where its parameters lie, known once a list has been recorded.
    pub params: Rc<RefCell<Params>>,
    /// How activations are stored.
    pub storage: DType,
}

/// What is being recorded of a pass.
#[derive(Debug, Clone)]
pub struct Pass<'g> {
    /// The features of the ensemble's members.
    pub ensemble: Vec<Features<'g>>,
    /// What the structure module reads beside them.
    pub residues: Residues<'g>,
    /// What the pass makes.
    pub prediction: Prediction<'g>,
}

impl Network {
    /// A model of these sizes.
    pub fn new(config: Config, storage: DType) -> Self {
        Self { config, params: Rc::default(), storage }
    }

    /// The root of AlphaFold's names on a graph.
    pub fn scope<'g>(&self, graph: &'g Graph) -> Scope<'g> {
        Scope::new(graph, self.params.clone()).child(SCOPE)
    }

    /// Records a pass over `members` ensemble members; `grads` says of which features gradients are asked for.
    pub fn pass<'g>(
        &self,
        graph: &'g Graph,
        e: Extents,
        members: usize,
        seed: Option<Tensor<'g>>,
        grads: &dyn Fn(&str) -> bool,
    ) -> Pass<'g> {
        let ensemble: Vec<Features<'g>> = (0..members).map(|i| Features::inputs(graph, e, i, grads)).collect();
        let residues = residues(graph, &ensemble[0]);
        let before = previous(graph, e.n_res, &self.config);
        let prediction = alphafold_iteration(&self.scope(graph), &ensemble, &residues, &before, &self.config, seed);
        Pass { ensemble, residues, prediction }
    }

    /// Records a pass without gradient that leaves what it made for the next one.
    pub fn recycling_pass<'g>(&self, graph: &'g Graph, e: Extents, members: usize, seed: Option<Tensor<'g>>) -> Pass<'g> {
        graph.forward_only();
        let pass = self.pass(graph, e, members, seed, &|_| false);
        recycle(graph, &previous(graph, e.n_res, &self.config), &pass.prediction);
        pass
    }

    /// Every parameter's official name and shape, as a recording of the smallest shape declares them.
    pub fn parameters(config: &Config) -> Params {
        let network = Self::new(config.clone(), DType::F32);
        let graph = crate::ops::graph(DType::F32, 0);
        let n_templ = usize::from(config.template.is_some());
        network.pass(&graph, Extents { n_res: 2, n_clust: 1, n_extra: 1, n_templ }, 1, None, &|_| false);
        network.params.take()
    }
}
