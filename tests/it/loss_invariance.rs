//! What the structural losses must not notice, and what they must: a real structure, with noise, as its own prediction; moved as a whole,
//! padded, mirrored. And their golden cases that the repository holds.

use std::collections::BTreeMap;
use std::path::Path;

use anyfold::gpu::Gpu;
use anyfold::gpu::device::Choice;
use anyfold::gpu::program::Cache;
use anyfold::graph::Graph;
use anyfold::graph::run::Session;
use anyfold::io;
use anyfold::loss::structure::{AtomTruth, Prediction, StructureTruth, structure_module_loss};
use anyfold::loss::total::{Terms, Weights, total};
use anyfold::ops;
use anyfold::protein::rigid::{Rigid, quat_to_rot};
use anyfold::protein::tables::TABLES;
use anyfold::protein::truth::{GroundTruth, ground_truth};
use anyfold::protein::{Mask37, Positions37};
use anyfold::tensor::{DType, HostTensor};
use anyfold::verify::report::Outcome;
use anyfold::verify::{Context, run_file};
use glam::DVec3;

/// Residues that are looked at, and layers of the trajectory.
const N_RES: usize = 40;
const LAYERS: usize = 2;

struct Chain {
    aatype: Vec<usize>,
    positions: Vec<Positions37>,
    mask: Vec<Mask37>,
    /// Torsions: they stay as they are where the chain is moved as a whole. (Those that atoms do not define are noise, which moving changes.)
    angles: Vec<[[f32; 2]; 7]>,
}

fn chain() -> Chain {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/goldens/data/files/2rbg.pdb.gz");
    let structure = io::structure::read(&path).expect("a structure of the repository");
    let chain = &structure.chains[0];
    let (positions, mask) = (chain.positions[..N_RES].to_vec(), chain.mask[..N_RES].to_vec());
    let aatype = chain.aatype()[..N_RES].to_vec();
    let angles = ground_truth(&aatype, &positions, &mask).torsions.sin_cos;
    Chain { aatype, positions, mask, angles }
}

impl Chain {
    /// The same atoms, each moved by `f`, which sees its number too.
    fn moved(&self, f: impl Fn(usize, DVec3) -> DVec3) -> Self {
        let mut positions = self.positions.clone();
        for (i, atom) in positions.as_flattened_mut().iter_mut().enumerate() {
            *atom = f(i, DVec3::from(atom.map(f64::from))).to_array().map(|x| x as f32);
        }
        Self { aatype: self.aatype.clone(), mask: self.mask.clone(), angles: self.angles.clone(), positions }
    }

    /// Each atom off by up to 0.6 Angstrom in each coordinate.
    fn noisy(&self) -> Self {
        let wave = |i: usize, k: usize| 0.6 * ((i * 3 + k) as f64 * 12.9898).sin();
        let noisy = self.moved(|i, x| x + DVec3::new(wave(i, 0), wave(i, 1), wave(i, 2)));
        Self { angles: noisy.truth().torsions.sin_cos, ..noisy }
    }

    fn truth(&self) -> GroundTruth {
        ground_truth(&self.aatype, &self.positions, &self.mask)
    }
}

/// Rows of a chain as a tensor, followed by zeros for residues of padding.
fn rows(values: &[f32], inner: &[usize], pad: usize) -> HostTensor {
    let width = inner.iter().product::<usize>();
    let data = [values, &vec![0.0; pad * width]].concat();
    HostTensor::f32(&[&[N_RES + pad], inner].concat(), data)
}

/// The same for every layer.
fn layers(x: HostTensor) -> HostTensor {
    HostTensor::f32(&[&[LAYERS], x.shape.as_slice()].concat(), x.as_f32().repeat(LAYERS))
}

fn inputs(pred: &Chain, truth: &Chain, pad: usize) -> BTreeMap<&'static str, HostTensor> {
    let (p, t) = (pred.truth(), truth.truth());
    let put = |values: &[f32], inner: &[usize]| rows(values, inner, pad);
    let integers = |values: Vec<i32>| HostTensor::i32(&[N_RES + pad], [values, vec![0; pad]].concat());
    let exists: Vec<f32> = truth.aatype.iter().flat_map(|&a| TABLES.atom14_exists[a]).collect();
    let angles = pred.angles.as_flattened().as_flattened();
    let long: Vec<f32> = angles.iter().map(|x| 1.3 * x).collect();
    BTreeMap::from([
        ("traj", layers(put(p.backbone_affine_tensor.as_flattened(), &[7]))),
        ("frames", put(p.groups.frames.as_flattened().as_flattened(), &[8, 12])),
        ("positions", put(p.atom14_gt_positions.as_flattened().as_flattened(), &[14, 3])),
        ("angles", layers(put(angles, &[7, 2]))),
        ("long", layers(put(&long, &[7, 2]))),
        ("aatype", integers(truth.aatype.iter().map(|&a| a as i32).collect())),
        ("residue_index", integers((0..N_RES as i32).collect())),
        ("seq_mask", put(&[1.0; N_RES], &[])),
        ("atom14_atom_exists", put(&exists, &[14])),
        ("atom14_gt_positions", put(t.atom14_gt_positions.as_flattened().as_flattened(), &[14, 3])),
        ("atom14_alt_gt_positions", put(t.atom14_alt_gt_positions.as_flattened().as_flattened(), &[14, 3])),
        ("atom14_gt_exists", put(t.atom14_gt_exists.as_flattened(), &[14])),
        ("atom14_alt_gt_exists", put(t.atom14_alt_gt_exists.as_flattened(), &[14])),
        ("atom14_atom_is_ambiguous", put(t.atom14_atom_is_ambiguous.as_flattened(), &[14])),
        ("backbone_affine_tensor", put(t.backbone_affine_tensor.as_flattened(), &[7])),
        ("backbone_affine_mask", put(&t.backbone_affine_mask, &[])),
        ("rigidgroups_gt_frames", put(t.groups.frames.as_flattened().as_flattened(), &[8, 12])),
        ("rigidgroups_alt_gt_frames", put(t.groups.alt_frames.as_flattened().as_flattened(), &[8, 12])),
        ("rigidgroups_gt_exists", put(t.groups.exists.as_flattened(), &[8])),
        ("chi_angles", put(t.chi_angles.as_flattened(), &[4])),
        ("chi_mask", put(t.chi_mask.as_flattened(), &[4])),
        ("use_clamped_fape", HostTensor::f32(&[1], vec![0.9])),
        ("distogram", HostTensor::f32(&[1], vec![3.0])),
        ("masked_msa", HostTensor::f32(&[1], vec![1.5])),
        ("plddt", HostTensor::f32(&[1], vec![4.0])),
        ("experimentally_resolved", HostTensor::f32(&[1], vec![0.6])),
        ("predicted_aligned_error", HostTensor::f32(&[1], vec![2.5])),
    ])
}

const TERMS: [&str; 7] = ["loss", "fape", "sidechain_fape", "chi_loss", "angle_norm_loss", "violation", "total"];

/// The terms of the loss of `pred` against `truth`, by [`TERMS`].
fn losses(gpu: &Gpu, cache: &Cache, pred: &Chain, truth: &Chain, pad: usize) -> [f32; 7] {
    let values = inputs(pred, truth, pad);
    let graph: Graph = ops::graph(DType::F32, 1);
    let input = |name: &str| {
        let value = &values[name];
        let dtype = if matches!(value.data, anyfold::tensor::Data::I32(_)) { DType::I32 } else { DType::F32 };
        graph.input(name, &value.shape, dtype, false)
    };
    let prediction = Prediction {
        traj: input("traj"),
        frames: input("frames"),
        positions: input("positions"),
        angles: input("angles"),
        unnormalized_angles: input("long"),
    };
    let atoms = AtomTruth {
        atom14_gt_positions: input("atom14_gt_positions"),
        atom14_alt_gt_positions: input("atom14_alt_gt_positions"),
        atom14_gt_exists: input("atom14_gt_exists"),
        atom14_alt_gt_exists: input("atom14_alt_gt_exists"),
        atom14_atom_is_ambiguous: input("atom14_atom_is_ambiguous"),
    };
    let target = StructureTruth {
        aatype: input("aatype"),
        residue_index: input("residue_index"),
        seq_mask: input("seq_mask"),
        atom14_atom_exists: input("atom14_atom_exists"),
        atoms,
        backbone_affine_tensor: input("backbone_affine_tensor"),
        backbone_affine_mask: input("backbone_affine_mask"),
        rigidgroups_gt_frames: input("rigidgroups_gt_frames"),
        rigidgroups_alt_gt_frames: input("rigidgroups_alt_gt_frames"),
        rigidgroups_gt_exists: input("rigidgroups_gt_exists"),
        chi_angles: input("chi_angles"),
        chi_mask: input("chi_mask"),
        use_clamped_fape: input("use_clamped_fape"),
    };
    let weights = Weights::fine_tuning();
    let y = structure_module_loss(&weights.structure(), prediction, &target);
    let violation = y.violation.expect("violations have a weight");
    let terms = Terms {
        structure: y,
        distogram: input("distogram"),
        masked_msa: input("masked_msa"),
        plddt: input("plddt"),
        experimentally_resolved: Some(input("experimentally_resolved")),
        predicted_aligned_error: Some(input("predicted_aligned_error")),
    };
    let all = total(&weights, &terms, target.seq_mask);
    let terms = [y.loss, y.fape, y.sidechain_fape, y.chi_loss, y.angle_norm_loss, violation, all];
    TERMS.iter().zip(terms).for_each(|(name, x)| graph.output(name, x));
    let session = Session::new(gpu, cache, &graph).expect("fits");
    values.iter().for_each(|(name, value)| session.set(name, value));
    session.replay().expect("runs");
    TERMS.map(|name| session.get(name).expect("reads").as_f32()[0])
}

fn same(what: &str, a: [f32; 7], b: [f32; 7], tolerance: f32) {
    for ((name, a), b) in TERMS.iter().zip(a).zip(b) {
        assert!((a - b).abs() <= tolerance * a.abs(), "{what}: {name} was {a}, is {b}");
    }
}

#[test]
fn structural_losses_see_shape_and_not_place() {
    let gpu = Gpu::open(&Choice::default()).expect("a Vulkan, Metal or DX12 adapter");
    let cache = Cache::default();
    let (truth, pred) = (chain(), chain().noisy());
    let plain = losses(&gpu, &cache, &pred, &truth, 0);
    assert!(plain.iter().all(|v| v.is_finite() && *v > 1e-3), "every term has something to say: {plain:?}");

    // Supplement 1.9, equation 7, with the weights of fine-tuning and the root of the length.
    let [loss, _, sidechain, chi, angle_norm, violation, all] = plain;
    let heads = 0.3 * 3.0 + 2.0 * 1.5 + 0.01 * 4.0 + 0.01 * 0.6 + 0.1 * 2.5;
    assert!((all / ((N_RES as f32).sqrt() * (loss + heads)) - 1.0).abs() < 1e-6, "the total is {all} with {loss} of structure");
    let backbone = (loss - 0.5 * sidechain - 0.5 * chi - 0.01 * angle_norm - violation) / 0.5;
    assert!((backbone - plain[1]).abs() < 1e-3 * plain[1], "all layers are the same, and so is their mean: {backbone} of {plain:?}");

    let q = [0.4_f64, -0.5, 0.6, 0.2];
    let norm = q.iter().map(|x| x * x).sum::<f64>().sqrt();
    let turn = Rigid { rot: quat_to_rot(q.map(|x| x / norm)), trans: DVec3::new(31.0, -17.0, 8.0) };
    let elsewhere = |c: &Chain| c.moved(|_, x| turn.apply(x));
    // Coordinates and frames are rounded anew where they are moved to; nothing else may differ.
    same("the prediction was moved", plain, losses(&gpu, &cache, &elsewhere(&pred), &truth, 0), 1e-4);
    same("the truth was moved", plain, losses(&gpu, &cache, &pred, &elsewhere(&truth), 0), 1e-4);
    same("residues of padding were added", plain, losses(&gpu, &cache, &pred, &truth, 7), 1e-6);

    // Every distance of a mirrored structure is right; the frames know better.
    let [_, itself, all_atoms, ..] = losses(&gpu, &cache, &truth, &truth, 0);
    let mirrored = truth.moved(|_, x| DVec3::new(-x.x, x.y, x.z));
    let [_, backbone, sidechain, ..] = losses(&gpu, &cache, &mirrored, &truth, 0);
    // sqrt(1e-4) / 10: AlphaFold's epsilon.
    assert!(itself < 0.00101 && all_atoms < 0.00101, "the structure itself has a FAPE of {itself}, {all_atoms}");
    assert!(backbone > 0.3 && sidechain > 0.3, "its mirror image has a FAPE of {backbone}, {sidechain}");
}

#[test]
fn structural_losses_agree_with_alphafold() {
    let cases = [
        ("losses/structure_module_loss_given_mix_small", 16),
        ("losses/structural_violation_loss_small", 18),
        ("structure/between_residue_bond_loss_small", 6),
        ("structure/between_residue_clash_loss_small", 4),
        ("structure/within_residue_violations_small", 3),
        ("structure/extreme_ca_ca_small", 1),
    ];
    let context = Context::default();
    for (case, compared) in cases {
        let report = run_file(&context, &Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets/goldens/{case}.safetensors")));
        assert_eq!(report.outcome, Outcome::Pass, "{}", report.row());
        assert_eq!(report.compared.len(), compared, "{case}: outputs and gradients");
    }
}
