//! Chains of files that do not say where in the sequence each residue belongs: legacy PDB, and mmCIF without `label_seq_id`.

use std::path::Path;

use super::atoms::{Place, Twice};
use crate::error::Result;
use crate::protein::align::align;
use crate::protein::letters::letter_of_component;
use crate::protein::structure::Chain;

/// A chain of the amino acids among `places`. Where the file lists the sequence's `components`, residues are put where they belong in it, by
/// number when one offset fits all and by alignment otherwise; when they do not fit it, the chain is what was observed, with a warning.
pub fn chain_of_places(
    places: Vec<Place>,
    components: Option<&[&str]>,
    ids: &Chain,
    path: &Path,
    twice: &mut Twice,
    warnings: &mut Vec<String>,
) -> Result<Chain> {
    let places: Vec<Place> = places.into_iter().filter(Place::is_amino_acid).collect();
    let mut chain = ids.clone();
    let Some(components) = components.filter(|_| !places.is_empty()) else {
        places.iter().try_for_each(|p| p.push_to(&mut chain, path, twice))?;
        return Ok(chain);
    };
    let Some(at) = positions_in_sequence(&places, components) else {
        let what = "residues do not fit its listed sequence; only the observed ones are used";
        warnings.push(format!("chain `{}`: {} {what}", chain.id, places.len()));
        places.iter().try_for_each(|p| p.push_to(&mut chain, path, twice))?;
        return Ok(chain);
    };
    chain.has_full_sequence = true;
    let mut observed = places.iter().zip(at).peekable();
    for (i, component) in components.iter().enumerate() {
        match observed.next_if(|(_, at)| *at == i) {
            Some((place, _)) => place.push_to(&mut chain, path, twice)?,
            None => Place { listed: vec![component], atoms: Vec::new() }.push_to(&mut chain, path, twice)?,
        }
    }
    Ok(chain)
}

/// For each place its index in the sequence, rising, with equal letters throughout.
fn positions_in_sequence(places: &[Place], components: &[&str]) -> Option<Vec<usize>> {
    let listed: Vec<u8> = components.iter().map(|c| letter_of_component(c)).collect();
    let observed: Vec<u8> = places.iter().map(|p| letter_of_component(p.component())).collect();
    let numbers: Vec<i64> = places.iter().map(|p| i64::from(p.atoms[0].number)).collect();
    // Numbers count the sequence from some offset in most files; find it by the first residue.
    let rising = numbers.windows(2).all(|w| w[0] < w[1]);
    let fits = |offset: i64| {
        numbers.iter().zip(&observed).all(|(n, letter)| usize::try_from(n - offset).ok().and_then(|i| listed.get(i)) == Some(letter))
    };
    let offsets = || (0..listed.len()).filter(|&i| listed[i] == observed[0]).map(|i| numbers[0] - i as i64);
    if let Some(offset) = offsets().filter(|_| rising).find(|&o| fits(o)) {
        return Some(numbers.iter().map(|n| (n - offset) as usize).collect());
    }
    let pairs = align(&observed, &listed)?;
    let whole = pairs.len() == observed.len() && pairs.iter().all(|&(i, j)| observed[i] == listed[j]);
    whole.then(|| pairs.into_iter().map(|(_, j)| j).collect())
}
