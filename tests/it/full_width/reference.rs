//! One block of the Evoformer, of the extra-MSA stack and of the template pair stack in f64, written from the paper's supplement (Algorithms
//! 6 to 16, 18 and 19) and from what AlphaFold's code does otherwise (QUIRKS). Knows AlphaFold's names of parameters, and nothing of the
//! program's operations.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyfold::model::config::BlockConfig;
use rayon::prelude::*;

use super::dense::{
    Matrix, by_rows, channels_first, channels_last, layer_norm, linear, multiply, project, scale_by, sigmoid, softmax, sum, turn,
};

/// A residual module of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    Row,
    Column,
    GlobalColumn,
    MsaTransition,
    Outer,
    Outgoing,
    Incoming,
    Starting,
    Ending,
    PairTransition,
}

impl Module {
    /// AlphaFold's name.
    pub fn name(self) -> &'static str {
        match self {
            Module::Row => "msa_row_attention_with_pair_bias",
            Module::Column => "msa_column_attention",
            Module::GlobalColumn => "msa_column_global_attention",
            Module::MsaTransition => "msa_transition",
            Module::Outer => "outer_product_mean",
            Module::Outgoing => "triangle_multiplication_outgoing",
            Module::Incoming => "triangle_multiplication_incoming",
            Module::Starting => "triangle_attention_starting_node",
            Module::Ending => "triangle_attention_ending_node",
            Module::PairTransition => "pair_transition",
        }
    }
}

/// What the modules hand on: `m [n_seq, n_res, c_m]`, empty in the template stack, and `z [n_res, n_res, c_z]`.
#[derive(Debug, Clone)]
pub struct State {
    pub m: Arc<Vec<f64>>,
    pub z: Arc<Vec<f64>>,
}

/// Parameters by AlphaFold's names, below the name of the stack.
pub type Weights = BTreeMap<String, Arc<Vec<f64>>>;

/// Parameters below one name.
struct Below<'a> {
    all: &'a Weights,
    path: String,
}

impl Below<'_> {
    fn child(&self, name: &str) -> Self {
        Below { all: self.all, path: format!("{}/{name}", self.path) }
    }

    fn get(&self, name: &str) -> &[f64] {
        let name = format!("{}//{name}", self.path);
        self.all.get(&name).unwrap_or_else(|| panic!("no parameter `{name}`"))
    }

    fn norm(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let norm = self.child(name);
        layer_norm(x, norm.get("scale"), norm.get("offset"))
    }

    fn linear(&self, name: &str, x: &[f64], c: usize) -> Vec<f64> {
        let layer = self.child(name);
        linear(x, c, layer.get("weights"), Some(layer.get("bias")))
    }

    /// `sigmoid(Linear(x))`.
    fn gate(&self, name: &str, x: &[f64], c: usize) -> Vec<f64> {
        let layer = self.child(name);
        let (w, b) = (layer.get("weights"), layer.get("bias"));
        by_rows(x, c, b.len(), |x| {
            let mut gate = project(x, c, w, Some(b));
            sigmoid(&mut gate);
            gate
        })
    }
}

/// Sizes and masks of a block.
#[derive(Debug, Clone)]
pub struct Block {
    pub config: BlockConfig,
    pub n_seq: usize,
    pub n_res: usize,
    pub c_m: usize,
    pub c_z: usize,
    /// `[n_seq, n_res]`.
    pub msa_mask: Vec<f64>,
    /// `[n_res, n_res]`.
    pub pair_mask: Vec<f64>,
}

impl Block {
    /// One module's residual update.
    pub fn forward(&self, module: Module, weights: &Weights, state: &State) -> State {
        let p = &Below { all: weights, path: module.name().into() };
        let (m, z) = (&state.m, &state.z);
        let new_m = |update: Vec<f64>| State { m: Arc::new(sum(m, &update)), z: z.clone() };
        let new_z = |update: Vec<f64>| State { m: m.clone(), z: Arc::new(sum(z, &update)) };
        match module {
            Module::Row => new_m(self.row_attention(p, m, z)),
            Module::Column => new_m(self.column_attention(p, m)),
            Module::GlobalColumn => new_m(self.column_global_attention(p, m)),
            Module::MsaTransition => new_m(transition(p, m, self.c_m)),
            Module::Outer => new_z(self.outer_product_mean(p, m)),
            Module::Outgoing => new_z(self.triangle_multiplication(p, z, true)),
            Module::Incoming => new_z(self.triangle_multiplication(p, z, false)),
            Module::Starting => new_z(self.triangle_attention(p, z, true)),
            Module::Ending => new_z(self.triangle_attention(p, z, false)),
            Module::PairTransition => new_z(transition(p, z, self.c_z)),
        }
    }

    /// Algorithm 7; the pair representation has a norm of its own (QUIRKS 9).
    fn row_attention(&self, p: &Below, m: &[f64], z: &[f64]) -> Vec<f64> {
        let h = self.config.msa_heads;
        let bias = pair_bias(p, &p.norm("feat_2d_norm", z), self.c_z);
        let x = p.norm("query_norm", m);
        attention(&p.child("attention"), &x, &self.msa_mask, Some(&bias), [self.n_res, self.c_m, h, self.c_m / h])
    }

    /// Algorithm 8.
    fn column_attention(&self, p: &Below, m: &[f64]) -> Vec<f64> {
        let (s, r, c, h) = (self.n_seq, self.n_res, self.c_m, self.config.msa_heads);
        let x = turn(&p.norm("query_norm", m), [s, r, c]); // [n_res, n_seq, c_m]
        let mask = turn(&self.msa_mask, [s, r, 1]);
        turn(&attention(&p.child("attention"), &x, &mask, None, [s, c, h, c / h]), [r, s, c])
    }

    /// Algorithm 19, whose query is the average under the mask, and whose masked keys are left out (QUIRKS 5).
    fn column_global_attention(&self, p: &Below, m: &[f64]) -> Vec<f64> {
        let (s, r, c, h) = (self.n_seq, self.n_res, self.c_m, self.config.msa_heads);
        let d = c / h;
        let x = turn(&p.norm("query_norm", m), [s, r, c]); // [n_res, n_seq, c_m]
        let mask = turn(&self.msa_mask, [s, r, 1]);
        let p = p.child("attention");
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(s * c).zip(x.par_chunks(s * c)).zip(mask.par_chunks(s)).for_each(|((y, x), mask)| {
            let mut average = vec![0.0; c];
            multiply(Matrix::new(mask, [1, s]), Matrix::new(x, [s, c]), &mut average, c);
            let count = mask.iter().sum::<f64>() + 1e-10;
            average.iter_mut().for_each(|v| *v /= count);
            let mut q = project(&average, c, p.get("query_w"), None); // [h, d]
            q.iter_mut().for_each(|v| *v /= (d as f64).sqrt());
            let (k, v) = (project(x, c, p.get("key_w"), None), project(x, c, p.get("value_w"), None)); // [n_seq, d]
            let mut weights = vec![0.0; h * s];
            multiply(Matrix::new(&q, [h, d]), Matrix::new(&k, [s, d]).turned(), &mut weights, s);
            leave_out(&mut weights, mask);
            softmax(&mut weights, s);
            let o = project(&weights, s, &v, None); // [h, d]
            let mut gate = project(x, c, p.get("gating_w"), Some(p.get("gating_b"))); // [n_seq, h d]
            sigmoid(&mut gate);
            gate.chunks_mut(c).for_each(|gate| gate.iter_mut().zip(&o).for_each(|(g, o)| *g *= o));
            y.copy_from_slice(&project(&gate, c, p.get("output_w"), Some(p.get("output_b"))));
        });
        turn(&y, [r, s, c])
    }

    /// Algorithm 10, with the mask after the bias, and the output's bias before the division (QUIRKS 8).
    fn outer_product_mean(&self, p: &Below, m: &[f64]) -> Vec<f64> {
        let (s, r, c, f) = (self.n_seq, self.n_res, self.config.outer, self.c_z);
        let x = p.norm("layer_norm_input", m);
        let side = |name: &str| {
            let mut y = p.linear(name, &x, self.c_m); // [n_seq, n_res, c]
            y.par_chunks_mut(c).zip(&self.msa_mask).for_each(|(y, mask)| y.iter_mut().for_each(|v| *v *= mask));
            y
        };
        let (left, right) = (side("left_projection"), side("right_projection"));
        let (w, b) = (p.get("output_w"), p.get("output_b"));
        let mut norms = vec![1e-3; r * r];
        let mask = Matrix::new(&self.msa_mask, [s, r]);
        multiply(mask.turned(), mask, &mut norms, r);
        // A few residues at once, so that the right side is read less often.
        const TOGETHER: usize = 4;
        let mut y = vec![0.0; r * r * f];
        y.par_chunks_mut(TOGETHER * r * f).enumerate().for_each(|(group, y)| {
            let (first, few) = (group * TOGETHER, y.len() / (r * f));
            let a = Matrix::within(&left[first * c..], [s, few * c], r * c).turned();
            let mut outer = vec![0.0; few * c * r * c]; // [i c, j e]
            multiply(a, Matrix::new(&right, [s, r * c]), &mut outer, r * c);
            for (i, y) in y.chunks_mut(r * f).enumerate() {
                let outer = &outer[i * c * r * c..][..c * r * c];
                let flat: Vec<f64> = (0..r * c).flat_map(|jc| &outer[(jc % c * r + jc / c) * c..][..c]).copied().collect(); // [j, c e]
                y.copy_from_slice(&project(&flat, c * c, w, Some(b)));
                let norms = &norms[(first + i) * r..];
                y.chunks_mut(f).zip(norms).for_each(|(y, norm)| y.iter_mut().for_each(|v| *v /= norm));
            }
        });
        y
    }

    /// Algorithms 11 and 12; left and right are swapped for incoming edges, and the mask is on the projections (QUIRKS 11).
    fn triangle_multiplication(&self, p: &Below, z: &[f64], outgoing: bool) -> Vec<f64> {
        let (n, c_z, c) = (self.n_res, self.c_z, self.config.triangle);
        let x = p.norm("layer_norm_input", z);
        let side = |projection: &str, gate: &str| {
            let mut y = p.linear(projection, &x, c_z); // [n_res, n_res, c]
            scale_by(&mut y, &p.gate(gate, &x, c_z));
            y.par_chunks_mut(c).zip(&self.pair_mask).for_each(|(y, mask)| y.iter_mut().for_each(|v| *v *= mask));
            channels_first(&y, c)
        };
        let (left, right) = (side("left_projection", "left_gate"), side("right_projection", "right_gate")); // [c, n_res, n_res]
        let mut y = vec![0.0; left.len()];
        y.par_chunks_mut(n * n).zip(left.par_chunks(n * n)).zip(right.par_chunks(n * n)).for_each(|((y, left), right)| {
            let (left, right) = (Matrix::new(left, [n, n]), Matrix::new(right, [n, n]));
            match outgoing {
                true => multiply(left, right.turned(), y, n),  // y[i, j] = sum_k left[i, k] right[j, k]
                false => multiply(right.turned(), left, y, n), // y[i, j] = sum_k left[k, j] right[k, i]
            }
        });
        let y = p.norm("center_layer_norm", &channels_last(&y, c));
        let mut y = p.linear("output_projection", &y, c);
        scale_by(&mut y, &p.gate("gating_linear", &x, c_z));
        y
    }

    /// Algorithms 13 and 14; the ending node is the starting node of the transposed pairs (QUIRKS 10).
    fn triangle_attention(&self, p: &Below, z: &[f64], starting: bool) -> Vec<f64> {
        let (n, c, h) = (self.n_res, self.c_z, self.config.pair_heads);
        let turned = |x: &[f64], c: usize| if starting { x.to_vec() } else { turn(x, [n, n, c]) };
        let (z, mask) = (turned(z, c), turned(&self.pair_mask, 1));
        let x = p.norm("query_norm", &z);
        let bias = pair_bias(p, &x, c);
        let d = self.config.pair_attention.unwrap_or(c) / h;
        turned(&attention(&p.child("attention"), &x, &mask, Some(&bias), [n, c, h, d]), c)
    }
}

/// `feat_2d_weights [c_z, h]` of pairs that are normed: `[h, n_res, n_res]`.
fn pair_bias(p: &Below, z: &[f64], c_z: usize) -> Vec<f64> {
    let w = p.get("feat_2d_weights");
    channels_first(&linear(z, c_z, w, None), w.len() / c_z)
}

/// A mask of zero replaces a key's logit (QUIRKS 3): without any key the weights are uniform.
fn leave_out(logits: &mut [f64], mask: &[f64]) {
    for row in logits.chunks_mut(mask.len()) {
        row.iter_mut().zip(mask).filter(|(_, mask)| **mask == 0.0).for_each(|(v, _)| *v = -1e9);
    }
}

/// Gated attention of `x [b, n, c]` to itself with `h` heads of `d` channels, under a key mask `[b, n]` and a bias `[h, n, n]`: `[b, n, c]`.
fn attention(p: &Below, x: &[f64], mask: &[f64], bias: Option<&[f64]>, [n, c, h, d]: [usize; 4]) -> Vec<f64> {
    let pitch = h * d;
    let mut y = vec![0.0; x.len()];
    y.par_chunks_mut(n * c).zip(x.par_chunks(n * c)).zip(mask.par_chunks(n)).for_each(|((y, x), mask)| {
        let mut q = project(x, c, p.get("query_w"), None); // [n, h d]
        q.iter_mut().for_each(|v| *v /= (d as f64).sqrt());
        let (k, v) = (project(x, c, p.get("key_w"), None), project(x, c, p.get("value_w"), None));
        let mut o = vec![0.0; n * pitch];
        for head in 0..h {
            let mut weights = bias.map_or_else(|| vec![0.0; n * n], |bias| bias[head * n * n..][..n * n].to_vec());
            let [q, k, v] = [&q, &k, &v].map(|x| Matrix::within(&x[head * d..], [n, d], pitch));
            multiply(q, k.turned(), &mut weights, n);
            leave_out(&mut weights, mask);
            softmax(&mut weights, n);
            multiply(Matrix::new(&weights, [n, n]), v, &mut o[head * d..], pitch);
        }
        let mut gate = project(x, c, p.get("gating_w"), Some(p.get("gating_b")));
        sigmoid(&mut gate);
        o.iter_mut().zip(&gate).for_each(|(o, gate)| *o *= gate);
        y.copy_from_slice(&project(&o, pitch, p.get("output_w"), Some(p.get("output_b"))));
    });
    y
}

/// Algorithms 9 and 15.
fn transition(p: &Below, x: &[f64], c: usize) -> Vec<f64> {
    let x = p.norm("input_layer_norm", x);
    let (first, second) = (p.child("transition1"), p.child("transition2"));
    by_rows(&x, c, c, |x| {
        let mut a = project(x, c, first.get("weights"), Some(first.get("bias")));
        a.iter_mut().for_each(|v| *v = v.max(0.0));
        project(&a, a.len() / (x.len() / c), second.get("weights"), Some(second.get("bias")))
    })
}
