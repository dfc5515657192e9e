//! What a pass reads, in the sizes that its command list was recorded for: AlphaFold's arrays, checked and padded with zeros.

use std::collections::BTreeMap;

use crate::data::features::FeatureConfig;
use crate::data::full::Size;
use crate::data::template_angles::template_angles;
use crate::error::{Error, Result};
use crate::model::config::Config;
use crate::model::features::Extents;
use crate::predict::Inputs;
use crate::tensor::{Data, HostTensor};

/// Lengths are padded to multiples of this many residues, so that targets of similar length share a plan.
pub const BUCKET: usize = 32;

/// An axis of a feature.
#[derive(Debug, Clone, Copy)]
enum Axis {
    Residues,
    Clusters,
    Extra,
    Templates,
    Fixed(usize),
}
use Axis::{Clusters, Extra, Fixed, Residues, Templates};

/// A feature by AlphaFold's name: its axes, and the integers that it may hold.
type Feature = (&'static str, &'static [Axis], Option<[i32; 2]>);

/// What every pass reads.
const FEATURES: [Feature; 12] = [
    ("aatype", &[Residues], Some([0, 20])),
    ("residue_index", &[Residues], Some([i32::MIN / 2, i32::MAX / 2])),
    ("residx_atom37_to_atom14", &[Residues, Fixed(37)], Some([0, 13])),
    ("seq_mask", &[Residues], None),
    ("atom37_atom_exists", &[Residues, Fixed(37)], None),
    ("target_feat", &[Residues, Fixed(22)], None),
    ("msa_feat", &[Clusters, Residues, Fixed(49)], None),
    ("msa_mask", &[Clusters, Residues], None),
    ("extra_msa", &[Extra, Residues], Some([0, 22])),
    ("extra_has_deletion", &[Extra, Residues], None),
    ("extra_deletion_value", &[Extra, Residues], None),
    ("extra_msa_mask", &[Extra, Residues], None),
];

/// What a pass with templates reads besides.
const OF_TEMPLATES: [Feature; 6] = [
    ("template_aatype", &[Templates, Residues], Some([0, 21])),
    ("template_pseudo_beta", &[Templates, Residues, Fixed(3)], None),
    ("template_pseudo_beta_mask", &[Templates, Residues], None),
    ("template_all_atom_positions", &[Templates, Residues, Fixed(37), Fixed(3)], None),
    ("template_all_atom_masks", &[Templates, Residues, Fixed(37)], None),
    ("template_mask", &[Templates], None),
];

/// The sizes to record for these inputs. Residues are rounded up to [`BUCKET`], alignments to powers of two below what `rules` allow.
///
/// A target without templates is recorded without them: AlphaFold multiplies what it makes of masked templates by zero.
pub fn extents(inputs: &Inputs, config: &Config, rules: &FeatureConfig) -> Result<Extents> {
    let size = size(inputs)?;
    let rows = |n: usize, most: usize| match n.next_power_of_two().max(4) {
        _ if n > most => n,
        rounded => rounded.min(most.max(1)),
    };
    Ok(Extents {
        n_res: size.n_res.next_multiple_of(BUCKET),
        n_clust: rows(size.n_clust, rules.max_clusters),
        n_extra: rows(size.n_extra, rules.max_extra),
        n_templ: if config.template.is_some() && size.n_templ > 0 { size.n_templ.max(rules.max_templates) } else { 0 },
    })
}

/// What is there, padding of the arrays' own included; no templates where all are masked.
fn size(inputs: &Inputs) -> Result<Size> {
    let arrays = match inputs {
        Inputs::Features(f) => return Ok(Size::of(f)),
        Inputs::Arrays(arrays) => arrays,
    };
    let extent = |name: &str, axis: usize| {
        let found = arrays.get(name).and_then(|t| t.shape.get(axis)).copied();
        found.ok_or_else(|| Error::Data(format!("the features have no `{name}`, or it has too few axes")))
    };
    let any = arrays.get("template_mask").is_some_and(|m| m.to_f64().iter().any(|&m| m > 0.0));
    Ok(Size {
        n_res: extent("aatype", 1)?,
        n_clust: extent("msa_feat", 1)?,
        n_extra: extent("extra_msa", 1)?,
        n_templ: if any { extent("template_mask", 1)? } else { 0 },
    })
}

/// The inputs of one member of a pass, under the names that the network gives them.
pub fn values(mut given: BTreeMap<String, HostTensor>, e: Extents) -> Result<BTreeMap<String, HostTensor>> {
    let templates: &[Feature] = if e.n_templ > 0 { &OF_TEMPLATES } else { &[] };
    let mut all = BTreeMap::new();
    for (name, axes, range) in FEATURES.iter().chain(templates) {
        let shape: Vec<usize> = axes.iter().map(|axis| extent_of(*axis, e)).collect();
        let given = given.remove(*name).ok_or_else(|| Error::Data(format!("the features have no `{name}`, or too few passes of it")))?;
        let typed = match range {
            Some(range) => integers(name, &given, *range)?,
            None => HostTensor::f32(&given.shape, given.to_f32()),
        };
        all.insert((*name).to_owned(), padded(name, &typed, &shape)?);
    }
    if e.n_templ > 0 {
        all.extend(template_angles(&all));
    }
    Ok(all)
}

fn extent_of(axis: Axis, e: Extents) -> usize {
    match axis {
        Residues => e.n_res,
        Clusters => e.n_clust,
        Extra => e.n_extra,
        Templates => e.n_templ,
        Fixed(n) => n,
    }
}

/// Integers within a range: kernels index tables by them.
fn integers(name: &str, given: &HostTensor, [from, to]: [i32; 2]) -> Result<HostTensor> {
    let values = given.to_f64();
    match values.iter().find(|v| !(f64::from(from)..=f64::from(to)).contains(*v)) {
        Some(wrong) => Err(Error::Data(format!("feature `{name}` holds {wrong}, which is not within {from}..={to}"))),
        None => Ok(HostTensor::i32(&given.shape, values.into_iter().map(|v| v as i32).collect())),
    }
}

/// The tensor in the first corner of one of zeros.
fn padded(name: &str, t: &HostTensor, to: &[usize]) -> Result<HostTensor> {
    if t.shape.len() != to.len() || t.shape.iter().zip(to).any(|(have, room)| have > room) {
        return Err(Error::Data(format!("feature `{name}` of a pass is {:?}; at most {to:?} was expected", t.shape)));
    }
    Ok(match &t.data {
        Data::F32(v) => HostTensor::f32(to, corner(v, &t.shape, to)),
        Data::I32(v) => HostTensor::i32(to, corner(v, &t.shape, to)),
    })
}

/// The first corner of a tensor.
pub fn cropped(t: &HostTensor, to: &[usize]) -> HostTensor {
    assert!(t.shape.len() == to.len() && t.shape.iter().zip(to).all(|(have, want)| have >= want), "{to:?} of {:?}", t.shape);
    HostTensor::f32(to, corner(t.as_f32(), &t.shape, to))
}

/// Copies what two shapes share, row by row.
fn corner<T: Copy + Default>(from: &[T], shape: &[usize], to: &[usize]) -> Vec<T> {
    let mut out = vec![T::default(); to.iter().product()];
    let (Some(&width), Some(&pitch)) = (shape.last(), to.last()) else { return from.to_vec() };
    let outer: Vec<usize> = shape.iter().zip(to).map(|(a, b)| *a.min(b)).collect();
    let (outer, shared) = (&outer[..outer.len() - 1], width.min(pitch));
    for row in 0..outer.iter().product::<usize>() {
        let (mut rest, mut source, mut target, mut source_unit, mut target_unit) = (row, 0, 0, width, pitch);
        for axis in (0..outer.len()).rev() {
            let at = rest % outer[axis];
            rest /= outer[axis];
            source += at * source_unit;
            target += at * target_unit;
            source_unit *= shape[axis];
            target_unit *= to[axis];
        }
        out[target..target + shared].copy_from_slice(&from[source..source + shared]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_cropping_are_inverse() {
        let t = HostTensor::f32(&[2, 1, 3], (1..=6).map(|x| x as f32).collect());
        let wide = padded("t", &t, &[3, 2, 4]).expect("it fits");
        assert_eq!(wide.as_f32()[..4], [1.0, 2.0, 3.0, 0.0]);
        assert_eq!(wide.as_f32()[8..12], [4.0, 5.0, 6.0, 0.0]);
        assert_eq!(wide.as_f32().iter().filter(|x| **x != 0.0).count(), 6);
        assert_eq!(cropped(&wide, &[2, 1, 3]), t);
        assert!(padded("t", &t, &[2, 1, 2]).unwrap_err().to_string().contains("`t` of a pass is [2, 1, 3]"));
        let empty = padded("t", &HostTensor::zeros(&[0, 5]), &[4, 8]).expect("nothing fits everywhere");
        assert_eq!(empty, HostTensor::zeros(&[4, 8]));
    }
}
