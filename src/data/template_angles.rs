//! What the host derives from templates for the network: torsion angles as features (supplement 1.2.9, Table 1 `template_angle_feat`).

use std::collections::BTreeMap;

use crate::protein::torsions::torsions;
use crate::protein::{Mask37, Positions37};
use crate::tensor::{Data, HostTensor};

/// Features of a residue: 22 types, seven torsions and their alternatives as (sin, cos), seven masks.
pub const ANGLE_FEATURES: usize = 22 + 14 + 14 + 7;

/// From `template_aatype [t, n]`, `template_all_atom_positions [t, n, 37, 3]`, `template_all_atom_masks [t, n, 37]` and `template_mask [t]`:
/// `template_angle_feat [t, n, 57]`, `template_angle_mask [t, n]` (psi's, which needs one residue alone), and `template_any [1, 1, 1]`.
pub fn template_angles(templates: &BTreeMap<String, HostTensor>) -> BTreeMap<String, HostTensor> {
    let get = |name: &str| templates.get(name).unwrap_or_else(|| panic!("templates without `{name}`"));
    let kinds = get("template_aatype");
    let [t, n] = kinds.shape[..] else { panic!("template_aatype is {:?}, not [n_templ, n_res]", kinds.shape) };
    let Data::I32(kinds) = &kinds.data else { panic!("template_aatype holds integers") };
    let positions = get("template_all_atom_positions").as_f32();
    let masks = get("template_all_atom_masks").as_f32();
    let (mut feat, mut psi) = (Vec::with_capacity(t * n * ANGLE_FEATURES), Vec::with_capacity(t * n));
    for i in 0..t {
        let of = |values: &'_ [f32], width: usize| values[i * n * width..(i + 1) * n * width].to_vec();
        let kinds: Vec<usize> = kinds[i * n..(i + 1) * n].iter().map(|&k| usize::try_from(k).expect("types are not negative")).collect();
        let positions: Vec<Positions37> = of(positions, 111).chunks(111).map(residue).collect();
        let masks: Vec<Mask37> = of(masks, 37).chunks(37).map(|m| std::array::from_fn(|a| m[a])).collect();
        let angles = torsions(&kinds, &positions, &masks, false);
        for (r, &kind) in kinds.iter().enumerate() {
            feat.extend((0..22).map(|k| f32::from(u8::from(k == kind))));
            feat.extend(angles.sin_cos[r].as_flattened());
            feat.extend(angles.alt_sin_cos[r].as_flattened());
            feat.extend(angles.mask[r]);
            psi.push(angles.mask[r][2]);
        }
    }
    let any = get("template_mask").as_f32().iter().any(|&m| m > 0.0);
    BTreeMap::from([
        ("template_angle_feat".into(), HostTensor::f32(&[t, n, ANGLE_FEATURES], feat)),
        ("template_angle_mask".into(), HostTensor::f32(&[t, n], psi)),
        ("template_any".into(), HostTensor::f32(&[1, 1, 1], vec![f32::from(u8::from(any))])),
    ])
}

fn residue(flat: &[f32]) -> Positions37 {
    std::array::from_fn(|a| std::array::from_fn(|x| flat[a * 3 + x]))
}
