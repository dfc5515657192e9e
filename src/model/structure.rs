//! The structure module (supplement 1.8): positions from the single and pair representations. Everything here is in single precision.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::graph::Tensor;
use crate::nn::dropout::dropout;
use crate::nn::init::Init;
use crate::nn::layers::{layer_norm, linear};
use crate::nn::params::{Decl, Scope};
use crate::ops::basic::concat::Concat;
use crate::ops::basic::gemm::Matmul;
use crate::ops::basic::linear::{Act, Linear};
use crate::ops::basic::softmax::Softmax;
use crate::ops::basic::unary::Unary;
use crate::ops::structure::affine_frames::AffineFrames;
use crate::ops::structure::affine_update::AffineUpdate;
use crate::ops::structure::atom_gather::AtomGather;
use crate::ops::structure::frame_atoms::FrameAtoms;
use crate::ops::structure::ipa_features::IpaFeatures;
use crate::ops::structure::ipa_heads::IpaHeads;
use crate::ops::structure::ipa_logits::IpaLogits;
use crate::ops::structure::stop_rotation::StopRotation;
use crate::ops::structure::torsion_frames::TorsionFrames;
use crate::ops::structure::unit_pairs::UnitPairs;
use crate::protein::tables::{N_TYPES, TABLES};
use crate::tensor::HostTensor;

/// Sizes of the structure module; every released model's by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StructureConfig {
    /// Layers, which share their weights.
    pub layers: usize,
    /// Heads of invariant point attention.
    pub heads: usize,
    /// Scalars of a query or key.
    pub scalar_qk: usize,
    /// Scalars of a value.
    pub scalar_v: usize,
    /// Points of a query or key.
    pub point_qk: usize,
    /// Points of a value.
    pub point_v: usize,
    /// Channels of the single representation inside the module.
    pub channels: usize,
    /// Linear maps in a layer's transition.
    pub transition_layers: usize,
    /// Channels of the side chains' angle net.
    pub sidechain_channels: usize,
    /// Residual blocks of the side chains' angle net.
    pub sidechain_blocks: usize,
    /// Dropout of the single representation, twice in a layer.
    pub dropout: f32,
    /// Angstrom in a unit of the module's own translations.
    pub position_scale: f32,
}

impl Default for StructureConfig {
    fn default() -> Self {
        Self {
            layers: 8,
            heads: 12,
            scalar_qk: 16,
            scalar_v: 16,
            point_qk: 4,
            point_v: 8,
            channels: 384,
            transition_layers: 3,
            sidechain_channels: 128,
            sidechain_blocks: 2,
            dropout: 0.1,
            position_scale: 10.0,
        }
    }
}

/// `log(e - 1)`: the softplus of it is 1.
const SOFTPLUS_INVERSE_OF_ONE: f32 = 0.541_324_85;

/// Side chains of all layers.
#[derive(Debug, Clone, Copy)]
pub struct Sidechains<'g> {
    /// Torsions as (sin, cos) of unit length: pre-omega, phi, psi, chi1 to chi4, `[l, n_res, 7, 2]`.
    pub angles: Tensor<'g>,
    /// The same before they were made so, `[l, n_res, 7, 2]`.
    pub unnormalized_angles: Tensor<'g>,
    /// Frames of the backbone and of the group behind each torsion, `[l, n_res, 8, 12]`, Angstrom.
    pub frames: Tensor<'g>,
    /// `[l, n_res, 14, 3]`, Angstrom; zero where a type has no atom.
    pub positions: Tensor<'g>,
}

/// What one layer makes of its input.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'g> {
    /// The single representation `[n_res, channels]`.
    pub s: Tensor<'g>,
    /// Backbone affines `[n_res, 7]`, in the module's own unit.
    pub affine: Tensor<'g>,
    /// The same for the next layer, whose rotations have no gradient.
    pub next_affine: Tensor<'g>,
}

/// What the structure module reads of the features, by AlphaFold's names.
#[derive(Debug, Clone, Copy)]
pub struct Residues<'g> {
    /// `[n_res]`, integers 0-20.
    pub aatype: Tensor<'g>,
    /// `[n_res]`.
    pub seq_mask: Tensor<'g>,
    /// `[n_res, 37]`, integers.
    pub residx_atom37_to_atom14: Tensor<'g>,
    /// `[n_res, 37]`.
    pub atom37_atom_exists: Tensor<'g>,
}

/// What the structure module makes of a chain. Lengths in Angstrom.
#[derive(Debug, Clone)]
pub struct Structure<'g> {
    /// The single representation after the last layer `[n_res, channels]`, which the pLDDT head reads.
    pub s: Tensor<'g>,
    /// Backbone affines of all layers `[l, n_res, 7]`.
    pub traj: Tensor<'g>,
    /// Torsions, frames and atoms of all layers.
    pub sidechains: Sidechains<'g>,
    /// Frames of all rigid groups in the last layer `[n_res, 8, 12]`.
    pub frames: Tensor<'g>,
    /// Positions in the last layer `[n_res, 14, 3]`.
    pub atom14_positions: Tensor<'g>,
    /// The same as atom37 `[n_res, 37, 3]`, zero where there is no atom.
    pub atom37_positions: Tensor<'g>,
}

/// Algorithm 20 StructureModule: the single and pair representations `s [n_res, c_s], z [n_res, n_res, c_z]` to a structure. `seed`
/// switches dropout on. Losses are in [`crate::loss`].
pub fn structure_module<'g>(
    scope: &Scope<'g>,
    s: Tensor<'g>,
    z: Tensor<'g>,
    residues: &Residues<'g>,
    c: &StructureConfig,
    seed: Option<Tensor<'g>>,
) -> Structure<'g> {
    let graph = scope.graph;
    graph.precise(|| {
        let Affines { s, affine, sidechains } = generate_affines(scope, s, z, residues, c, seed); // lines 1-24
        let unit = [1.0, 1.0, 1.0, 1.0, c.position_scale, c.position_scale, c.position_scale];
        let to_angstrom = graph.constant("position scale", &HostTensor::f32(&[7], unit.to_vec()));
        let atom14_positions = last(sidechains.positions); // [n_res, 14, 3]
        let to_atom37 = [atom14_positions, residues.residx_atom37_to_atom14, residues.atom37_atom_exists];
        Structure {
            s,
            traj: affine * to_angstrom, // [l, n_res, 7]
            sidechains,
            frames: last(sidechains.frames), // [n_res, 8, 12]
            atom14_positions,
            atom37_positions: graph.apply(AtomGather, &to_atom37), // [n_res, 37, 3]
        }
    })
}

/// `[l, n_res, ..]` of the last layer alone.
fn last(x: Tensor) -> Tensor {
    let shape = x.shape();
    x.slice(0, shape[0] - 1..shape[0]).reshape(&shape[1..])
}

/// Tensors of one shape as one with a new first axis.
fn stack<'g>(all: &[Tensor<'g>]) -> Tensor<'g> {
    let row = |x: &Tensor<'g>| x.reshape(&[&[1], x.shape().as_slice()].concat());
    all[0].graph().apply(Concat { axis: 0 }, &all.iter().map(row).collect::<Vec<_>>())
}

/// What all layers make.
#[derive(Debug, Clone, Copy)]
pub struct Affines<'g> {
    /// The single representation after the last layer `[n_res, channels]`.
    pub s: Tensor<'g>,
    /// Backbone affines of all layers `[l, n_res, 7]`, in the module's own unit.
    pub affine: Tensor<'g>,
    /// Side chains.
    pub sidechains: Sidechains<'g>,
}

/// Algorithm 20 StructureModule, lines 1-24. Nothing of a layer's side chains goes into the next layer, so that those of all layers are made
/// at once after the last one.
pub fn generate_affines<'g>(
    scope: &Scope<'g>,
    s: Tensor<'g>,
    z: Tensor<'g>,
    residues: &Residues<'g>,
    c: &StructureConfig,
    seed: Option<Tensor<'g>>,
) -> Affines<'g> {
    let n_res = s.shape()[0];
    let s_initial = layer_norm(&scope.child("single_layer_norm"), s); // line 1  [n_res, c_s]
    let z = layer_norm(&scope.child("pair_layer_norm"), z); // line 2  [n_res, n_res, c_z]
    let mut s = linear(&scope.child("initial_projection"), s_initial, c.channels, Init::Linear, Act::None); // line 3
    let identity = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0].repeat(n_res);
    let mut affine = scope.graph.constant(&format!("{n_res} identity affines"), &HostTensor::f32(&[n_res, 7], identity)); // line 4
    let (mut singles, mut affines) = (Vec::new(), Vec::new());
    for l in 0..c.layers {
        let scope = scope.instance(l).child("fold_iteration"); // line 5: one set of weights
        let layer = fold_iteration(&scope, s, z, affine, residues.seq_mask, c, seed); // lines 6-10, 19-20
        singles.push(layer.s);
        affines.push(layer.affine);
        (s, affine) = (layer.s, layer.next_affine);
    }
    let (singles, affine) = (stack(&singles), stack(&affines)); // [l, n_res, channels], [l, n_res, 7]
    let scope = scope.child("fold_iteration").child("rigid_sidechain");
    let sidechains = multi_rigid_sidechain(&scope, singles, s_initial, affine, residues.aatype, c); // lines 11-14, 24
    Affines { s, affine, sidechains }
}

/// Algorithm 22 InvariantPointAttention: `s [n_res, c_s], z [n_res, n_res, c_z]`, affines `[n_res, 7]` and `mask [n_res]`, to the update
/// of `s`. `c_s` channels come back.
pub fn invariant_point_attention<'g>(
    scope: &Scope<'g>,
    s: Tensor<'g>,
    z: Tensor<'g>,
    affine: Tensor<'g>,
    mask: Tensor<'g>,
    c: &StructureConfig,
) -> Tensor<'g> {
    let StructureConfig { heads, scalar_qk, scalar_v, point_qk, point_v, .. } = *c;
    let graph = scope.graph;
    let c_s = [s.shape()[1]];
    let split = IpaHeads { heads, scalar_qk, scalar_v, point_qk, point_v };
    let widths = split.widths().map(|n| [n]);
    let weights = |i: usize, name| Decl { name, input: &c_s, output: &widths[i], init: Init::Linear };
    let bias = |i: usize, name| Decl { name, input: &[], output: &widths[i], init: Init::Constant(0.0) };
    let (w, starts) = scope.side_by_side(&[
        weights(0, "q_scalar//weights"),
        weights(1, "kv_scalar//weights"),
        weights(2, "q_point_local//weights"),
        weights(3, "kv_point_local//weights"),
    ]);
    assert_eq!(starts, split.starts(), "projections lie where their heads are read");
    let (b, _) = scope.side_by_side(&[
        bias(0, "q_scalar//bias"),
        bias(1, "kv_scalar//bias"),
        bias(2, "q_point_local//bias"),
        bias(3, "kv_point_local//bias"),
    ]);
    let projections = graph.apply(Linear::biased(Act::None), &[s, w, b]); // lines 1-3  [n_res, ..]
    let frames = frames_of(affine, 1.0); // [n_res, 12]
    let qkv = graph.apply_all(Rc::new(split), &[projections, frames]);
    let [q, k, v] = qkv[..] else { unreachable!("queries, keys and values") }; // [n_res, h, scalars + 3 points]
    let b = linear(&scope.child("attention_2d"), z, heads, Init::Linear, Act::None); // line 4  [n_res, n_res, h]
    let init = Init::Constant(SOFTPLUS_INVERSE_OF_ONE);
    let gamma = scope.param(Decl { name: "trainable_point_weights", input: &[], output: &[heads], init }); // [h]
    let logits = IpaLogits { scalars: scalar_qk, points: point_qk, inf: 1e5 };
    let a = graph.apply(Softmax, &[graph.apply(logits, &[q, k, b, mask, gamma])]); // lines 5-7  [n_res, h, n_res]
    let average = Matmul { ta: false, tb: false };
    let o_pair = graph.apply(average, &[a, z]); // line 8  [n_res, h, c_z]
    let o = graph.apply(average, &[a.permute(&[1, 0, 2]), v.permute(&[1, 0, 2])]); // lines 9-10  [h, n_res, scalars + 3 points]
    let o = graph.apply(IpaFeatures { scalars: scalar_v, points: point_v }, &[o, o_pair, frames]); // lines 10-11
    linear(&scope.child("output_projection"), o, c_s[0], Init::Constant(0.0), Act::None) // line 11  [n_res, c_s]
}

/// Frames `[n, 12]` of affines `[n, 7]` with translations `scale` times as long.
fn frames_of(affine: Tensor, scale: f32) -> Tensor {
    affine.graph().apply_all(Rc::new(AffineFrames { scale }), &[affine])[0]
}

/// Algorithm 20 StructureModule, lines 6-10 and 19-20: one layer. `s [n_res, channels]`, `z [n_res, n_res, c_z]`, affines `[n_res, 7]`,
/// `mask [n_res]`.
pub fn fold_iteration<'g>(
    scope: &Scope<'g>,
    s: Tensor<'g>,
    z: Tensor<'g>,
    affine: Tensor<'g>,
    mask: Tensor<'g>,
    c: &StructureConfig,
    seed: Option<Tensor<'g>>,
) -> Layer<'g> {
    let graph = scope.graph;
    let drop = |name: &str, s| dropout(&scope.child(name), s, c.dropout, seed);
    let s = s + invariant_point_attention(&scope.child("invariant_point_attention"), s, z, affine, mask, c); // line 6
    let s = layer_norm(&scope.child("attention_layer_norm"), drop("attention_layer_norm", s)); // line 7
    let s = s + transition(scope, s, c.transition_layers); // line 8
    let s = layer_norm(&scope.child("transition_layer_norm"), drop("transition_layer_norm", s)); // line 9  [n_res, channels]
    let update = linear(&scope.child("affine_update"), s, 6, Init::Constant(0.0), Act::None); // line 10  [n_res, 6]
    let affine = graph.apply(AffineUpdate, &[affine, update]); // line 10  [n_res, 7]
    Layer { s, affine, next_affine: graph.apply(StopRotation, &[affine]) } // line 20
}

/// The name of the map number `i` of one name: Haiku counts from the second on.
fn counted(name: &str, i: usize) -> String {
    if i == 0 { name.into() } else { format!("{name}_{i}") }
}

/// Algorithm 20 line 8 without its residual: `[n_res, channels]` to the same, ReLU between the maps.
fn transition<'g>(scope: &Scope<'g>, s: Tensor<'g>, maps: usize) -> Tensor<'g> {
    let channels = s.shape()[1];
    (0..maps).fold(s, |s, i| {
        let (init, act) = if i + 1 < maps { (Init::Relu, Act::Relu) } else { (Init::Constant(0.0), Act::None) };
        linear(&scope.child(&counted("transition", i)), s, channels, init, act)
    })
}

/// Algorithm 20 lines 11-14 and 24: torsions from `s [l, n_res, channels]` and `s_initial [n_res, c_s]`, then all atoms from them and the
/// backbones' affines `[l, n_res, 7]`. A ReLU comes before every map, the first ones included (QUIRKS 30).
pub fn multi_rigid_sidechain<'g>(
    scope: &Scope<'g>,
    s: Tensor<'g>,
    s_initial: Tensor<'g>,
    affine: Tensor<'g>,
    aatype: Tensor<'g>,
    c: &StructureConfig,
) -> Sidechains<'g> {
    let graph = scope.graph;
    let (l, n_res, width) = (s.shape()[0], s.shape()[1], c.sidechain_channels);
    let relu = |x| graph.apply(Unary::Relu, &[x]);
    let map = |name: &str, x, width, init, act| linear(&scope.child(name), x, width, init, act);
    let a = map("input_projection", relu(s), width, Init::Linear, Act::None)
        + map("input_projection_1", relu(s_initial), width, Init::Linear, Act::None); // line 11  [l, n_res, sidechain_channels]
    let a = (0..c.sidechain_blocks).fold(a, |a, i| {
        let b = map(&counted("resblock1", i), relu(a), width, Init::Relu, Act::Relu);
        a + map(&counted("resblock2", i), b, width, Init::Constant(0.0), Act::None)
    }); // lines 12-13
    let angles = map("unnormalized_angles", relu(a), 14, Init::Linear, Act::None); // line 14  [l, n_res, 14]
    let y = graph.apply_all(Rc::new(UnitPairs { eps: 1e-12 }), &[angles.reshape(&[l * n_res, 14])]);
    let (angles, unnormalized_angles) = (y[0], y[1]); // [l n_res, 7, 2]
    let backbone = frames_of(affine.reshape(&[l * n_res, 7]), c.position_scale); // [l n_res, 12]
    let frames = rigid_group_frames(backbone, angles, aatype); // line 24  [l n_res, 8, 12]
    let positions = atom14_positions(frames, aatype); // line 24  [l n_res, 14, 3]
    let layers = |x: Tensor<'g>| x.reshape(&[&[l, n_res], &x.shape()[1..]].concat());
    Sidechains {
        angles: layers(angles),
        unnormalized_angles: layers(unnormalized_angles),
        frames: layers(frames),
        positions: layers(positions),
    }
}

/// Algorithm 24 computeAllAtomCoordinates, lines 1-10: backbone frames `[l n_res, 12]`, angles `[l n_res, 7, 2]` as (sin, cos)
/// and `aatype [n_res]`, to the frames of all rigid groups `[l n_res, 8, 12]`. Lengths in Angstrom.
pub fn rigid_group_frames<'g>(backbone: Tensor<'g>, angles: Tensor<'g>, aatype: Tensor<'g>) -> Tensor<'g> {
    let literature = TABLES.default_frame.as_flattened().as_flattened().to_vec();
    let literature = backbone.graph().constant("literature frames", &HostTensor::f32(&[N_TYPES, 96], literature));
    backbone.graph().apply(TorsionFrames, &[backbone, angles, aatype, literature]) // [l n_res, 8, 12]
}

/// Algorithm 24 computeAllAtomCoordinates, line 11: frames of all rigid groups `[l n_res, 8, 12]` to positions
/// `[l n_res, 14, 3]`.
pub fn atom14_positions<'g>(frames: Tensor<'g>, aatype: Tensor<'g>) -> Tensor<'g> {
    let graph = frames.graph();
    let groups = graph.constant("atom groups", &HostTensor::i32(&[N_TYPES, 14], TABLES.atom14_group.as_flattened().to_vec()));
    let places = TABLES.atom14_position.as_flattened().as_flattened().to_vec();
    let places = graph.constant("literature positions", &HostTensor::f32(&[N_TYPES, 14, 3], places));
    let exists = graph.constant("atoms of types", &HostTensor::f32(&[N_TYPES, 14], TABLES.atom14_exists.as_flattened().to_vec()));
    graph.apply(FrameAtoms, &[frames, aatype, groups, places, exists]) // [l n_res, 14, 3]
}
